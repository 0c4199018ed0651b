"""Bodies of flags over HTTP: OFREP 0.3 (github.com/open-feature/protocol) and a plain JSON document. Pure."""

from datetime import datetime
from typing import Any, Final

from resilience.api.status_base import format_time
from resilience.core.model.flags import Publication, PublishedFlag

# Clients that receive nothing for this time are expected to reconnect.
INACTIVITY_SECONDS: Final = 120


def etag(said: Publication, *, stale: bool) -> str:
    """Entity tag, without quotes; it changes when the flags or their staleness change."""
    return f"{said.version}-stale" if stale else str(said.version)


def document(said: Publication, *, stale: bool, as_of: datetime | None) -> dict[str, Any]:
    """All flags, for readers without a library. `as_of`: the last time at which a change would have been published."""
    return {
        "version": said.version,
        "updatedAt": format_time(said.updated_at),
        "asOf": None if as_of is None else format_time(as_of),
        "stale": stale,
        "flags": {
            flag.name: {
                "on": flag.on,
                "mode": flag.mode,
                "reason": flag.reason,
                "since": format_time(flag.since),
            }
            for flag in said.flags
        },
    }


def evaluation(said: Publication, flag: PublishedFlag, *, stale: bool) -> dict[str, Any]:
    """One flag. Its reason is STATIC, because no context changes it, or STALE when a change may be unpublished."""
    return {
        "key": flag.name,
        "value": flag.on,
        "variant": "on" if flag.on else "off",
        "reason": "STALE" if stale else "STATIC",
        "metadata": {
            "mode": flag.mode,
            "reason": flag.reason,
            "since": format_time(flag.since),
            "version": str(said.version),
        },
    }


def bulk(said: Publication, *, stale: bool, stream: str) -> dict[str, Any]:
    """All flags, and the URI of the stream that announces changes."""
    return {
        "flags": [evaluation(said, flag, stale=stale) for flag in said.flags],
        "metadata": {"version": str(said.version), "updatedAt": format_time(said.updated_at), "stale": stale},
        "eventStreams": [{"type": "sse", "endpoint": {"requestUri": stream}, "inactivityDelaySec": INACTIVITY_SECONDS}],
    }


def change(said: Publication, *, stale: bool) -> dict[str, Any]:
    """Event of the stream after a change: it requests a new evaluation."""
    return {
        "type": "refetchEvaluation",
        "etag": etag(said, stale=stale),
        "lastModified": int(said.updated_at.timestamp()),
    }


def failure(code: str, details: str, *, key: str | None = None) -> dict[str, Any]:
    """Reason for a missing answer, in the form of the protocol."""
    error = {"errorCode": code, "errorDetails": details}
    return error if key is None else {"key": key, **error}
