"""Reads the states of an application's components from its health body, in all formats that are in use.

Frameworks differ in the name of one field, in lists instead of maps, in where the components stand and in the words
for a state; the table in docs/concepts/health.md lists them. Where other facts stand beside components, only what has
a state counts. The application controls the body, so nothing here recurses, the kept part is bounded, and secrets are
redacted.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
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
_LONGEST_WORD: Final = 64

# All names of fields are in lower case here: ASP.NET writers differ in case.
# IETF, MicroProfile and home-grown formats: checks. ASP.NET: entries, or results with the writer of its manual.
_CONTAINERS: Final = ("components", "checks", "services", "dependencies", "entries", "results", "checkresults")
# Places that hold other facts in other formats. Spring Boot 2.0 and Go: details. ASP.NET: info. Rails: status.
_MIXED: Final = ("details", "info", "status")
# Places that list only what fails, by its error: health-go of HelloFresh, Etherlabs.
_FAILURES: Final = ("failures", "errors")
_NAMES: Final = ("name", "key", "component", "checker")
# MicroProfile 1: state. Dropwizard: healthy. OkComputer: success. Python's healthcheck: passed.
_STATE_FIELDS: Final = ("status", "state", "healthy", "success", "passed", "outcome")
_MESSAGES: Final = ("message", "output", "description", "error", "notificationmessage")
_WORDS: Final = {
    HealthState.HEALTHY: "up ok pass passing healthy running true working success available green",
    HealthState.WARNING: "warn warning degraded partially_available yellow",
    HealthState.UNHEALTHY: "down fail failed failing error critical unhealthy out_of_service false crashed unavailable "
    "service_unavailable unexpected_result shutting_down red",
}
_STATES: Final = {word: state for state, words in _WORDS.items() for word in words.split()}
_WORST_FIRST: Final = (HealthState.UNHEALTHY, HealthState.WARNING, HealthState.UNKNOWN, HealthState.HEALTHY)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._:-]+")
_GAP: Final = re.compile(r"[\s_-]+")
# Fields of a whole body that say nothing of a component, though their value may be a word for a state.
_NO_COMPONENT: Final = re.compile(r"status|state|outcome|health|result|message|msg|data|.*(level|severity)")


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


def read_whole(body: object) -> HealthState | None:
    """The state that a JSON body, or a text, gives for the application as a whole; None when it gives none."""
    if isinstance(body, str):
        return _STATES.get(_word(body))
    words = (_state_word(_lower(document)) for document in _documents(body))
    return next((_STATES.get(_word(word)) for word in words if word is not None), None)


def _entries(body: object) -> list[tuple[object, object]]:
    """Pairs of a component's name and its entry, from the first kind of place in the body that has any."""
    documents = _documents(body)
    fields = [_lower(document) for document in documents]
    return (
        [pair for each in fields for place in _CONTAINERS for pair in _listed(each.get(place))]
        or [pair for each in fields for place in _MIXED for pair in _with_state(_listed(each.get(place)))]
        or [pair for each in fields for pair in _failing(each)]
        or [pair for document in documents for pair in _with_state(_of_whole(document))]
        or [
            pair for each in fields if isinstance(each.get("data"), list) for pair in _with_state(_listed(each["data"]))
        ]
    )


def _documents(body: object) -> list[Mapping[str, object]]:
    """The body, and what an envelope around it holds."""
    if not isinstance(body, dict):
        return []
    return [each for each in (body, _lower(body).get("data")) if isinstance(each, dict)]


def _lower(entry: Mapping[str, object]) -> Mapping[str, object]:
    """The entry with the names of its fields in lower case."""
    return {name.lower(): value for name, value in entry.items()}


def _listed(place: object) -> Iterator[tuple[object, object]]:
    match place:
        case dict(by_name):
            yield from by_name.items()
        case list(items):
            yield from ((_name(item), item) for item in items if isinstance(item, dict))


def _name(item: Mapping[str, object]) -> object:
    fields = _lower(item)
    return next((fields[name] for name in _NAMES if isinstance(fields.get(name), str)), None)


def _with_state(entries: Iterable[tuple[object, object]]) -> Iterator[tuple[object, object]]:
    """The entries that have a state; a truth value by itself is none, for it may answer any question."""
    for name, entry in entries:
        match entry:
            case dict(fields) if _state_word(_lower(fields)) is not None:
                yield name, entry
            case str(text) if _word(text) in _STATES and _word(text) not in ("true", "false"):
                yield name, entry


def _failing(document: Mapping[str, object]) -> Iterator[tuple[object, object]]:
    """Failures of a body that lists nothing else, and the whole under its own name."""
    whole = _state_word(document)
    state = HealthState.WARNING if _STATES.get(_word(whole)) is HealthState.WARNING else HealthState.UNHEALTHY
    for place in _FAILURES:
        for name, error in _listed(document.get(place)):
            if isinstance(error, str):
                yield name, {"status": state.value, "message": error}
    own = document.get("component")
    if whole is not None and isinstance(own, dict) and isinstance(own.get("name"), str):
        yield own["name"], {"status": whole}


def _of_whole(document: Mapping[str, object]) -> Iterator[tuple[object, object]]:
    return ((name, entry) for name, entry in document.items() if not _NO_COMPONENT.fullmatch(name.lower()))


def _component(name: object, entry: object) -> Component:
    """The component, with its message as the application sent it."""
    cleaned = _UNFIT.sub("-", name[:_SCANNED]).strip("-")[:LONGEST_NAME] if isinstance(name, str) else ""
    # health+json: several measurements of one component.
    measurements = entry if isinstance(entry, list) and entry else [entry]
    state, message = min(map(_state_and_message, measurements), key=lambda pair: _WORST_FIRST.index(pair[0]))
    return Component(cleaned or "unnamed", state, message)


def _state_and_message(entry: object) -> tuple[HealthState, str]:
    if isinstance(entry, dict):
        fields = _lower(entry)
        return _state(_state_word(fields)), _message(fields)
    # Django: `unavailable: connection refused`.
    return _state(entry), entry if isinstance(entry, str) and ":" in entry else ""


def _state_word(fields: Mapping[str, object]) -> str | bool | None:
    """The value of the first field that gives a state; None when there is none."""
    values = (fields.get(field) for field in _STATE_FIELDS)
    return next((value for value in values if isinstance(value, str | bool)), None)


def _state(word: object) -> HealthState:
    return _STATES.get(_word(word), HealthState.UNKNOWN)


def _word(value: object) -> str:
    """The word for a state in the form that _STATES has: what stands before a colon, in lower case."""
    if not isinstance(value, str | bool):
        return ""
    return _GAP.sub("_", str(value)[:_LONGEST_WORD].partition(":")[0].strip().lower())


def _message(entry: Mapping[str, object]) -> str:
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
