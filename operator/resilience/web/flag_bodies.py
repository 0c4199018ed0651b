"""How flags are said over HTTP: OFREP 0.3 (github.com/open-feature/protocol) and a plain JSON document. Pure."""

from datetime import datetime
from typing import Any, Final

from resilience.api.status_base import format_time
from resilience.core.model.flags import Publication, PublishedFlag

# Clients that hear nothing for so long are expected to connect again.
INACTIVITY_SECONDS: Final = 120


def etag(said: Publication, *, stale: bool) -> str:
    """Changes when what a reader would do changes; without quotes."""
    return f"{said.version}-stale" if stale else str(said.version)


def document(said: Publication, *, stale: bool, as_of: datetime | None) -> dict[str, Any]:
    """All flags for those who read without a library. `as_of`: when somebody last could have told of a change."""
    return {
        "version": said.version,
        "updatedAt": format_time(said.updated_at),
        "asOf": None if as_of is None else format_time(as_of),
        "stale": stale,
        "flags": {
            each.name: {
                "on": each.on,
                "mode": each.mode,
                "reason": each.reason,
                "since": format_time(each.since),
            }
            for each in said.flags
        },
    }


def evaluation(said: Publication, flag: PublishedFlag, *, stale: bool) -> dict[str, Any]:
    """One flag. STATIC, for no context changes it; STALE when nobody could have told of a change."""
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
    """All flags, and where changes are announced."""
    return {
        "flags": [evaluation(said, each, stale=stale) for each in said.flags],
        "metadata": {"version": str(said.version), "updatedAt": format_time(said.updated_at), "stale": stale},
        "eventStreams": [{"type": "sse", "endpoint": {"requestUri": stream}, "inactivityDelaySec": INACTIVITY_SECONDS}],
    }


def change(said: Publication, *, stale: bool) -> dict[str, Any]:
    """What the stream says of a change: ask again."""
    return {
        "type": "refetchEvaluation",
        "etag": etag(said, stale=stale),
        "lastModified": int(said.updated_at.timestamp()),
    }


def failure(code: str, details: str, *, key: str | None = None) -> dict[str, Any]:
    """Why there is no answer, in the words of the protocol."""
    said = {"errorCode": code, "errorDetails": details}
    return said if key is None else {"key": key, **said}
