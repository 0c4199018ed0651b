"""Counts watches that begin anew. kopf keeps them going by itself and tells nobody but its log, at DEBUG."""

import logging
import re
from collections.abc import Callable
from typing import Final

_LOGGER: Final = "kopf._cogs.clients.watching"
_BEGAN: Final = re.compile(r"Starting the watch-stream for (\S+?)(?:\.\S+)? ")
_AGAIN: Final = re.compile(r"(?:Restarting the watch-stream|Watch-stream) for (\S+?)(?:\.\S+)? ")


class WatchLog(logging.Handler):
    """`count` is told the plural of what is watched, and whether the watch had begun before."""

    def __init__(self, count: Callable[[str, bool], None]) -> None:
        super().__init__(logging.DEBUG)
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        """Counts, and hands on what the root logger would have printed."""
        text = record.getMessage()
        for pattern, again in ((_BEGAN, False), (_AGAIN, True)):
            found = pattern.match(text)
            if found is not None:
                self._count(found[1], again)
        root = logging.getLogger()
        if record.levelno >= root.level:
            root.handle(record)


def count_watches(count: Callable[[str, bool], None]) -> None:
    """From now on, for the whole process."""
    logger = logging.getLogger(_LOGGER)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers[:] = [WatchLog(count)]
