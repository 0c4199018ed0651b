"""Matchers of alerts as people move them over from Alertmanager, and what a wrong one may do to the rest of a service.

Alertmanager keeps a backslash before a letter that is no escape of its own: so `pay\\.api` is a literal dot there.
https://github.com/prometheus/alertmanager/blob/main/pkg/labels/parse.go
"""

import re
from typing import Any, Final

import pytest
from pydantic import TypeAdapter

from resilience.adapters.kube import parse
from resilience.api import matchers
from resilience.api.matchers import Matcher, MatcherText
from resilience.core.model.decision import Decision
from resilience.core.model.observation import Resource
from tests.support.factories import KEY, make_pod, make_seen
from tests.support.preconditions import require
from tests.variety.claims import decided, status_of

SHAPE: Final = re.compile(r"self\.matches\(r'(.*)'\)", re.DOTALL)
WELL: Final = r'service=~"pay[.]api"'


def accepted(text: str) -> bool:
    """True when the API server takes it, by the rules that are in the CRD."""
    schema: Any = TypeAdapter(MatcherText).json_schema()
    shapes = [SHAPE.fullmatch(item["rule"]) for item in schema["x-kubernetes-validations"]]
    return all(shape is None or re.search(shape.group(1), text) for shape in shapes)


def read(text: str) -> Matcher | None:
    """The matcher; None when it is refused."""
    try:
        (matcher,) = matchers.parse(text)
        return matcher
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("text", "matching", "other"),
    [
        (WELL, "pay.api", "payxapi"),
        (r'service=~"pay\\.api"', "pay.api", "payxapi"),
        (r'service=~"pay\.api"', "pay.api", "payxapi"),
        (r"service=~pay\.api", "pay.api", "payxapi"),
        (r'service=~"pay\d+"', "pay7", "payd"),
        (r'service=~"\w+-api"', "pay-api", "w-"),
    ],
)
def test_a_matcher_means_what_it_means_to_alertmanager(text: str, matching: str, other: str) -> None:
    require(accepted(text), "the API server refuses it")

    matcher = read(text)

    assert matcher is not None
    assert matcher.matches({"service": matching}) and not matcher.matches({"service": other})


def resource(**spec: Any) -> Resource:
    """A service whose restart is asked for, as the API server gives it back."""
    usual = {
        "profile": "Test",
        "targetRef": {"kind": "Deployment", "name": "checkout"},
        "service": {"name": "checkout", "port": "http"},
        "probes": {"management": "Observe"},
        "health": {"checks": [{"name": "ready", "http": {"path": "/readyz"}}]},
    }
    meta = {
        "namespace": KEY.namespace,
        "name": KEY.name,
        "uid": "resource-uid",
        "resourceVersion": "2",
        "generation": 2,
        "creationTimestamp": "2026-02-28T12:00:00Z",
        "finalizers": ["resilience.dev/give-back"],
        "annotations": {"resilience.dev/restart-requested-at": "now"},
    }
    return parse.resource({"metadata": meta, "spec": usual | spec, "status": {"observedGeneration": 1, "handled": []}})


def looked(**spec: Any) -> Decision:
    return decided(resource(**spec), make_seen(make_pod("a"), make_pod("b")))


def alerts(matcher: str) -> dict[str, Any]:
    return {"routes": [{"matchers": [matcher], "receiver": "team"}], "defaultReceiver": "team"}


ALERTMANAGERS: Final = "a matcher of Alertmanager's"
NEVER: Final = {"schedule": "99 25 * * *", "duration": "1h"}
NO_ZONE: Final = {"schedule": "0 3 * * *", "duration": "1h", "timeZone": "Mars/Olympus"}
NIGHT: Final = {"schedule": "0 3 * * *", "duration": "1h"}
# The API server takes each of these: its rules say no more than how such a text looks.
WRONG: Final[dict[str, dict[str, Any]]] = {
    ALERTMANAGERS: {"alerts": alerts(r'service=~"pay\.api"')},
    "no regular expression": {"alerts": alerts('service=~"pay("')},
    "no time of alerts": {"alerts": {"routes": [{"receiver": "team", "muteTimes": [NEVER]}]}},
    "no zone of a window": {"restart": {"windows": [NO_ZONE]}},
    "no schedule of a window": {"restart": {"windows": [NEVER]}},
}


@pytest.mark.parametrize(
    "spec",
    [{}, {"alerts": alerts(WELL)}, {"restart": {"windows": [NIGHT]}}],
    ids=["none", "alerts", "windows"],
)
def test_checks_go_on_and_a_restart_begins(spec: dict[str, Any]) -> None:
    decision = looked(**spec)

    assert decision.checks and status_of(decision).restart is not None


@pytest.mark.parametrize("spec", WRONG.values(), ids=WRONG)
def test_a_wrong_word_in_one_part_leaves_the_checks_at_work(spec: dict[str, Any]) -> None:
    assert looked(**spec).checks


@pytest.mark.parametrize("name", [name for name in WRONG if "alerts" in WRONG[name]])
def test_a_wrong_word_about_alerts_leaves_restarts_at_work(name: str) -> None:
    assert status_of(looked(**WRONG[name])).restart is not None


@pytest.mark.parametrize("name", [name for name in WRONG if name != ALERTMANAGERS])
def test_the_part_that_is_wrong_is_named(name: str) -> None:
    (part,) = WRONG[name]

    status = status_of(looked(**WRONG[name]))

    assert part in " ".join([status.explanation, *(item.message for item in status.conditions)])
