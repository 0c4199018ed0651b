"""The end of this process. Nothing that hangs may keep it: kubelet starts a new one only when the old one is gone."""

import logging
import os
import threading
from typing import NoReturn


def end_within(*, seconds: float) -> None:
    """Ends the process with code 1 after `seconds`, unless it has ended before."""
    timer = threading.Timer(seconds, end, kwargs={"code": 1})
    timer.daemon = True
    timer.start()


def end(*, code: int) -> NoReturn:
    """Ends the process at once: it waits for no thread and no task. What was logged is written."""
    logging.shutdown()
    os._exit(code)
