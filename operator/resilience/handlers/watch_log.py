"""Counts watches that start again. kopf restarts them by itself and reports it only in its log, at DEBUG."""

import logging
import re
from collections.abc import Callable
from typing import Final

_LOGGER: Final = "kopf._cogs.clients.watching"
_BEGAN: Final = re.compile(r"Starting the watch-stream for (\S+?)(?:\.\S+)? ")
_RESTARTED: Final = re.compile(r"(?:Restarting the watch-stream|Watch-stream) for (\S+?)(?:\.\S+)? ")


class WatchLog(logging.Handler):
    """`count` receives the plural of the watched kind, and whether the watch is a restart."""

    def __init__(self, count: Callable[[str, bool], None]) -> None:
        super().__init__(logging.DEBUG)
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        """Counts the watch, and passes on records that the root logger would have printed."""
        text = record.getMessage()
        for pattern, is_restart in ((_BEGAN, False), (_RESTARTED, True)):
            match = pattern.match(text)
            if match is not None:
                self._count(match[1], is_restart)
        root = logging.getLogger()
        if record.levelno >= root.level:
            root.handle(record)


def count_watches(count: Callable[[str, bool], None]) -> None:
    """Counts watches from now on, for the whole process."""
    logger = logging.getLogger(_LOGGER)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers[:] = [WatchLog(count)]
