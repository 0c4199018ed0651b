"""Reads the states of an application's components from its health body, in all formats that are in use.

Spring Boot Actuator, MicroProfile Health, the IETF draft health+json, ASP.NET Core, and the plain
`{"components": {"redis": "ok"}}` differ in the name of one field, in lists instead of maps, and in the words for a
state. The application controls the body, so nothing here recurses, the kept part is bounded, and secrets are redacted.
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
# Characters of a text that are scanned; the event loop is blocked meanwhile.
_SCANNED: Final = 400

# IETF, MicroProfile and home-grown formats: checks. ASP.NET: entries, or results with the writer of its manual.
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
    """The components of a JSON body in the body's order, each name once; empty when the body lists none.

    Of two components with the same name the worse is kept. Of more than MOST_COMPONENTS the worst are kept.
    """
    worst: dict[str, Component] = {}
    for name, entry in _entries(body):
        component = _component(name, entry)
        known = worst.get(component.name)
        worst[component.name] = component if known is None else min((known, component), key=_rank)
    kept = list(worst.values())
    if len(kept) > MOST_COMPONENTS:
        kept = sorted(kept, key=_rank)[:MOST_COMPONENTS]
    return tuple(replace(component, message=_cleaned(component.message)) for component in kept)


def _entries(body: object) -> Iterator[tuple[object, object]]:
    """Pairs of a component's name and its entry in the body."""
    for container in _CONTAINERS:
        match body.get(container) if isinstance(body, dict) else None:
            case dict(by_name):
                yield from by_name.items()
            case list(items):
                yield from ((item.get("name"), item) for item in items if isinstance(item, dict))


def _component(name: object, entry: object) -> Component:
    """The component, with its message as the application sent it."""
    cleaned = _UNFIT.sub("-", name[:_SCANNED]).strip("-")[:LONGEST_NAME] if isinstance(name, str) else ""
    # health+json: several measurements of one component.
    measurements = entry if isinstance(entry, list) and entry else [entry]
    state, message = min(map(_state_and_message, measurements), key=lambda pair: _WORST_FIRST.index(pair[0]))
    return Component(cleaned or "unnamed", state, message)


def _state_and_message(entry: object) -> tuple[HealthState, str]:
    if isinstance(entry, dict):
        return _state(entry.get("status")), _message(entry)
    return _state(entry), ""


def _state(word: object) -> HealthState:
    text = str(word).strip().lower() if isinstance(word, str | bool) else ""
    return _STATES.get(text, HealthState.UNKNOWN)


def _message(entry: dict[str, object]) -> str:
    details = entry.get("details")
    # Spring Boot puts the error one level down.
    candidates = [
        *(entry.get(field) for field in _MESSAGES),
        details.get("error") if isinstance(details, dict) else None,
    ]
    return next((candidate for candidate in candidates if isinstance(candidate, str) and candidate), "")


def _cleaned(text: str) -> str:
    """The text redacted, on one line and shortened. Before redaction it is cut at a space, never within a word."""
    if len(text) > _SCANNED:
        text = f"{text[: max(text.rfind(' ', 0, _SCANNED), 0)]} …"
    printable = "".join(character if character.isprintable() else " " for character in redact_text(text))
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 1]}…"


def _rank(component: Component) -> int:
    return _WORST_FIRST.index(component.state)
