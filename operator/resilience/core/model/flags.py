"""The published form of a service's degradation flags: the same versioned content for every channel.

This module only renders and reads; `core.degradation` decides when a flag is on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resilience.api.status_base import format_time

# Keys of the ConfigMap, besides one for every flag; they contain a dot, and no name of a flag does.
FILE: Final = "flags.json"
VERSION: Final = "flags.version"
UPDATED_AT: Final = "flags.updated-at"
MODE_SUFFIX: Final = ".mode"
NORMAL_MODE: Final = "normal"
_SCHEMA: Final = "https://flagd.dev/schema/v0/flags.json"


@dataclass(frozen=True, slots=True)
class FlagsMap:
    """The ConfigMap that has the name of the flags' ConfigMap. `ours`: it carries the operator's label."""

    data: Mapping[str, str]
    ours: bool


@dataclass(frozen=True, slots=True)
class PublishedFlag:
    """One flag, as applications see it. `mode` names the fallback that they use while the flag is on."""

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
        """At least one flag is on."""
        return any(flag.on for flag in self.flags)

    def flag(self, name: str) -> PublishedFlag | None:
        """The flag of that name, or None."""
        return next((flag for flag in self.flags if flag.name == name), None)


def config_map_data(publication: Publication) -> dict[str, str]:
    """Data of the ConfigMap: a flagd file, and plain keys for applications that read it without a library."""
    data = {
        FILE: json.dumps(_flagd(publication), indent=2) + "\n",
        VERSION: str(publication.version),
        UPDATED_AT: format_time(publication.updated_at),
    }
    for flag in publication.flags:
        data[flag.name] = "true" if flag.on else "false"
        data[flag.name + MODE_SUFFIX] = flag.mode if flag.on else NORMAL_MODE
    return data


def annotation(publication: Publication) -> str:
    """Value of the annotation on pods, for the downward API: one line of JSON."""
    flags = {flag.name: flag.on for flag in publication.flags}
    return json.dumps({"version": publication.version, "flags": flags}, separators=(",", ":"))


def read(*, namespace: str, service: str, data: Mapping[str, str]) -> Publication:
    """The publication that a ConfigMap holds.

    Raises:
        ValueError: the data do not have the form that `config_map_data` makes.
    """
    try:
        content = json.loads(data[FILE])
        meta = content["metadata"]
        flags = tuple(
            PublishedFlag(
                name=name,
                on=flag["defaultVariant"] == "on",
                mode=flag["metadata"]["mode"],
                reason=flag["metadata"]["reason"],
                since=datetime.fromisoformat(flag["metadata"]["since"]),
            )
            for name, flag in content["flags"].items()
        )
        return Publication(namespace, service, int(meta["version"]), datetime.fromisoformat(meta["updatedAt"]), flags)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a file of flags: {error!r}") from error


def _flagd(publication: Publication) -> dict[str, object]:
    return {
        "$schema": _SCHEMA,
        "flags": {
            flag.name: {
                "state": "ENABLED",
                "variants": {"on": True, "off": False},
                "defaultVariant": "on" if flag.on else "off",
                "metadata": {"mode": flag.mode, "reason": flag.reason, "since": format_time(flag.since)},
            }
            for flag in publication.flags
        },
        "metadata": {
            "flagSetId": f"{publication.namespace}/{publication.service}",
            "version": str(publication.version),
            "updatedAt": format_time(publication.updated_at),
        },
    }
