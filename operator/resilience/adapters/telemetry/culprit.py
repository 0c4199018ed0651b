"""The kind of work that holds the event loop, read from the stack of its thread.

Nothing has to be measured where work is done, so no kind can be forgotten. This module must not wait for anything.
"""

import sys
from enum import StrEnum
from types import FrameType
from typing import Final


class Work(StrEnum):
    """Kinds of work, for the label of a metric: few, and none of them names a tenant."""

    POSTGRES = "postgres"
    REDIS = "redis"
    PROMETHEUS = "prometheus"
    HTTP = "http"
    GRPC = "grpc"
    CHECKS = "checks"
    PASS = "pass"
    ALERTS = "alerts"
    KUBERNETES = "kubernetes"
    WATCH = "watch"
    WEB = "web"
    OTHER = "other"


# The innermost module that one of these names decides. The core and adapters.net are not here: they work for all kinds.
_MODULES: Final = {
    "resilience.adapters.checks.postgres": Work.POSTGRES,
    "resilience.adapters.checks.redis": Work.REDIS,
    "resilience.adapters.checks.prometheus": Work.PROMETHEUS,
    "resilience.adapters.checks.http_check": Work.HTTP,
    "resilience.adapters.checks.grpc_check": Work.GRPC,
    "resilience.adapters.checks": Work.CHECKS,
    "resilience.runtime.checking": Work.CHECKS,
    "resilience.adapters.receivers": Work.ALERTS,
    "resilience.runtime.alerting": Work.ALERTS,
    "resilience.adapters.kube": Work.KUBERNETES,
    "resilience.runtime": Work.PASS,
    "resilience.handlers": Work.WATCH,
    "resilience.web": Work.WEB,
    # Libraries that call us, or work without us.
    "asyncpg": Work.POSTGRES,
    "grpc": Work.GRPC,
    "kopf": Work.WATCH,
    "kubernetes": Work.KUBERNETES,
}


def culprit(thread: int) -> tuple[Work, str]:
    """The kind of work that a thread does now, and the place in the source, for a log."""
    return of_stack(sys._current_frames().get(thread))


def of_stack(innermost: FrameType | None) -> tuple[Work, str]:
    """The kind of work of a stack, and the innermost place of ours in it, or of anybody's if there is none."""
    frame, place = innermost, "" if innermost is None else _place(innermost)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if (work := _of_module(name)) is not None:
            return work, _place(frame)
        frame = frame.f_back
    return Work.OTHER, place


def _of_module(name: str) -> Work | None:
    while name:
        if name in _MODULES:
            return _MODULES[name]
        name = name.rpartition(".")[0]
    return None


def _place(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}:{frame.f_lineno}"
