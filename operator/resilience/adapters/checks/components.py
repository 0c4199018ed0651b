"""What an application says of its own parts: one reader for the health bodies that are in use.

Spring Boot Actuator, MicroProfile Health, the IETF draft health+json, ASP.NET Core, and the plain
`{"components": {"redis": "ok"}}` differ in the name of one field, in lists instead of maps, and in their words.
Bodies are the application's, so nothing here recurses; what is kept of them is bounded, and secrets are taken out.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from resilience.adapters.telemetry.redaction import redact_text
from resilience.api.reasons import HealthState
from resilience.core.model.check_state import Component

MOST_COMPONENTS: Final = 32
LONGEST_NAME: Final = 63
LONGEST_MESSAGE: Final = 200
# Characters of a text that are looked at; the event loop waits meanwhile.
_SCANNED: Final = 400

# IETF, MicroProfile and house form: checks. ASP.NET: entries, or results where the writer of its manual is used.
_CONTAINERS: Final = ("components", "checks", "services", "dependencies", "entries", "results")
_MESSAGES: Final = ("message", "output", "description", "error")
_STATES: Final = {
    **dict.fromkeys(("up", "ok", "pass", "healthy", "running", "true"), HealthState.HEALTHY),
    **dict.fromkeys(("warn", "warning", "degraded"), HealthState.WARNING),
    **dict.fromkeys(
        ("down", "fail", "failed", "error", "critical", "unhealthy", "out_of_service", "false"), HealthState.UNHEALTHY
    ),
}
_WORST_FIRST: Final = (HealthState.UNHEALTHY, HealthState.WARNING, HealthState.UNKNOWN, HealthState.HEALTHY)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._:-]+")


def read_components(body: object) -> tuple[Component, ...]:
    """The components of a JSON body in its order, each name once; empty when it tells of none.

    Of two with the same name the worse counts, and of more than MOST_COMPONENTS the worst are kept.
    """
    found: dict[str, Component] = {}
    for name, entry in _entries(body):
        each = _component(name, entry)
        known = found.get(each.name)
        found[each.name] = each if known is None else min((known, each), key=_rank)
    kept = list(found.values())
    if len(kept) > MOST_COMPONENTS:
        kept = sorted(kept, key=_rank)[:MOST_COMPONENTS]
    return tuple(replace(each, message=_cleaned(each.message)) for each in kept)


def _entries(body: object) -> Iterator[tuple[object, object]]:
    """Names, and what the body says of them."""
    for container in _CONTAINERS:
        match body.get(container) if isinstance(body, dict) else None:
            case dict(by_name):
                yield from by_name.items()
            case list(items):
                yield from ((item.get("name"), item) for item in items if isinstance(item, dict))


def _component(name: object, entry: object) -> Component:
    """The component with its message as it was sent."""
    cleaned = _UNFIT.sub("-", name[:_SCANNED]).strip("-")[:LONGEST_NAME] if isinstance(name, str) else ""
    # health+json: several measurements of one thing.
    told = entry if isinstance(entry, list) and entry else [entry]
    state, words = min(map(_told, told), key=lambda each: _WORST_FIRST.index(each[0]))
    return Component(cleaned or "unnamed", state, words)


def _told(entry: object) -> tuple[HealthState, str]:
    if isinstance(entry, dict):
        return _state(entry.get("status")), _message(entry)
    return _state(entry), ""


def _state(word: object) -> HealthState:
    text = str(word).strip().lower() if isinstance(word, str | bool) else ""
    return _STATES.get(text, HealthState.UNKNOWN)


def _message(entry: dict[str, object]) -> str:
    details = entry.get("details")
    # Spring Boot says what went wrong one level down.
    told = [*(entry.get(field) for field in _MESSAGES), details.get("error") if isinstance(details, dict) else None]
    return next((each for each in told if isinstance(each, str) and each), "")


def _cleaned(text: str) -> str:
    """On one line, without secrets, shortened. Before they are looked for, only whole words are cut off."""
    if len(text) > _SCANNED:
        text = f"{text[: max(text.rfind(' ', 0, _SCANNED), 0)]} …"
    printable = "".join(each if each.isprintable() else " " for each in redact_text(text))
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 1]}…"


def _rank(component: Component) -> int:
    return _WORST_FIRST.index(component.state)
