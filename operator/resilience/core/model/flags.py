"""What is published of a service's degradation flags: the same versioned content for every channel.

Rendering and reading only; when a flag is on is decided in `core.degradation`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resilience.api.status_base import format_time

# Keys of the ConfigMap beside one for each flag; no name of a flag has a dot.
FILE: Final = "flags.json"
VERSION: Final = "flags.version"
UPDATED_AT: Final = "flags.updated-at"
MODE_SUFFIX: Final = ".mode"
NORMAL_MODE: Final = "normal"
_SCHEMA: Final = "https://flagd.dev/schema/v0/flags.json"


@dataclass(frozen=True, slots=True)
class PublishedFlag:
    """One flag as applications see it. `mode` is what they fall back to while it is on."""

    name: str
    on: bool
    mode: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Publication:
    """All flags of one service. `version` grows with every change."""

    namespace: str
    service: str
    version: int
    updated_at: datetime
    flags: tuple[PublishedFlag, ...] = ()

    @property
    def any_on(self) -> bool:
        """Whether anything is degraded."""
        return any(each.on for each in self.flags)

    def flag(self, name: str) -> PublishedFlag | None:
        """The flag of that name."""
        return next((each for each in self.flags if each.name == name), None)


def config_map_data(publication: Publication) -> dict[str, str]:
    """Data of the ConfigMap: a flagd file, and plain keys for those who read without a library."""
    data = {
        FILE: json.dumps(_flagd(publication), indent=2) + "\n",
        VERSION: str(publication.version),
        UPDATED_AT: format_time(publication.updated_at),
    }
    for each in publication.flags:
        data[each.name] = "true" if each.on else "false"
        data[each.name + MODE_SUFFIX] = each.mode if each.on else NORMAL_MODE
    return data


def annotation(publication: Publication) -> str:
    """Value of the annotation on pods, for the downward API: one line of JSON."""
    flags = {each.name: each.on for each in publication.flags}
    return json.dumps({"version": publication.version, "flags": flags}, separators=(",", ":"))


def read(*, namespace: str, service: str, data: Mapping[str, str]) -> Publication:
    """What a ConfigMap says.

    Raises:
        ValueError: it is not what `config_map_data` makes.
    """
    try:
        found = json.loads(data[FILE])
        meta = found["metadata"]
        flags = tuple(
            PublishedFlag(
                name=name,
                on=each["defaultVariant"] == "on",
                mode=each["metadata"]["mode"],
                reason=each["metadata"]["reason"],
                since=datetime.fromisoformat(each["metadata"]["since"]),
            )
            for name, each in found["flags"].items()
        )
        return Publication(namespace, service, int(meta["version"]), datetime.fromisoformat(meta["updatedAt"]), flags)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a file of flags: {error!r}") from error


def _flagd(publication: Publication) -> dict[str, object]:
    return {
        "$schema": _SCHEMA,
        "flags": {
            each.name: {
                "state": "ENABLED",
                "variants": {"on": True, "off": False},
                "defaultVariant": "on" if each.on else "off",
                "metadata": {"mode": each.mode, "reason": each.reason, "since": format_time(each.since)},
            }
            for each in publication.flags
        },
        "metadata": {
            "flagSetId": f"{publication.namespace}/{publication.service}",
            "version": str(publication.version),
            "updatedAt": format_time(publication.updated_at),
        },
    }
