"""Requests by annotation. A value that has not been handled is a request; a restored or repeated value is not."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from resilience.api.names import request_annotation
from resilience.api.reasons import Request
from resilience.api.status import Handled, Status


def pending(annotations: Mapping[str, str], status: Status, request: Request) -> str | None:
    """The value of a request that waits to be handled, or None."""
    return unhandled(annotations, status.handled, request)


def unhandled(annotations: Mapping[str, str], handled: Sequence[Handled], request: str) -> str | None:
    """The value of a request that is not in this list of handled requests, or None."""
    value = annotations.get(request_annotation(request))
    done = next((entry.value for entry in handled if entry.request == request), None)
    return value if value and value[:1024] != done else None


def handle(status: Status, request: Request, value: str, *, now: datetime, note: str) -> Status:
    """The status with this value recorded as handled."""
    return status.model_copy(update={"handled": noted(status.handled, request, value, now=now, note=note)})


def noted(handled: Sequence[Handled], request: str, value: str, *, now: datetime, note: str) -> list[Handled]:
    """The handled requests, including this value."""
    entry = Handled(request=request, value=value[:1024], at=now, note=note[:1024])
    return [*(other for other in handled if other.request != request), entry]


def ignore_preexisting(annotations: Mapping[str, str], status: Status, *, now: datetime) -> Status:
    """The status with every request recorded as handled that was there before the first pass.

    Such requests are never executed, because a restored backup contains old ones.
    """
    if status.observed_generation is not None:
        return status
    for request in Request:
        value = pending(annotations, status, request)
        if value is not None:
            status = handle(status, request, value, now=now, note="was there before the resource was first seen")
    return status
