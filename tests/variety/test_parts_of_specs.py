"""A part of a spec that cannot be read leaves the others at work, and never frees what it was to limit."""

from typing import Any, Final

import pytest

from resilience.adapters.kube import parse
from resilience.core.model.observation import Resource
from tests.support.factories import KEY, make_pod, make_seen
from tests.support.preconditions import require
from tests.variety.claims import decided, status_of

NEVER: Final = {"schedule": "99 25 * * *", "duration": "1h"}
OLD: Final = {"name": "old", "uptime": {"above": "1h"}}
WRONG_ROUTE: Final = {"matchers": ['service=~"pay("'], "receiver": "night"}


def resource(**spec: Any) -> Resource:
    usual = {"targetRef": {"kind": "Deployment", "name": "checkout"}, "probes": {"management": "Observe"}}
    meta = {"namespace": KEY.namespace, "name": KEY.name, "uid": "resource-uid", "resourceVersion": "2"}
    return parse.resource({"metadata": meta, "spec": usual | spec, "status": {}})


@pytest.mark.parametrize(
    "wrong",
    [{"windows": [NEVER]}, {"windows": [NEVER], "surge": 2}, {"coolDown": "soon"}, {"budget": {"max": "all"}}],
    ids=str,
)
def test_a_wrong_limit_sets_no_policy_free(wrong: dict[str, Any]) -> None:
    right = resource(restart={"policies": [OLD], "onChange": [{"kind": "ConfigMap", "name": "a"}]})
    require(right.spec is not None and right.spec.restart.policies, "there is no policy")

    read = resource(restart={"policies": [OLD], "onChange": [{"kind": "ConfigMap", "name": "a"}]} | wrong)

    assert read.spec is not None and read.spec.restart.surge == wrong.get("surge", 1)
    assert read.spec.restart.policies == [] and read.spec.restart.on_change == []


def test_a_route_that_cannot_be_read_leaves_the_others_and_the_default_receiver() -> None:
    day = {"matchers": ['severity="info"'], "receiver": "day"}
    read = resource(alerts={"routes": [WRONG_ROUTE, day], "defaultReceiver": "team", "suppressFor": "7s"})

    assert read.spec is not None and [route.receiver for route in read.spec.alerts.routes] == ["day"]
    assert read.spec.alerts.default_receiver == "team"


@pytest.mark.parametrize(
    "wrong",
    [
        {"drain": {"maxWait": "soon"}},
        {"targetRef": None},
        {"alerts": {"routes": [WRONG_ROUTE]}, "service": "checkout"},
        {"profile": "Fast"},
    ],
    ids=str,
)
def test_without_what_everything_needs_nothing_is_done(wrong: dict[str, Any]) -> None:
    read = resource(**wrong)

    assert read.spec is None and read.problems


@pytest.mark.parametrize("part", [{"alerts": {"routes": [WRONG_ROUTE]}}, {"restart": {"windows": [NEVER]}}], ids=str)
def test_the_service_runs_and_is_said_to_have_a_wrong_part(part: dict[str, Any]) -> None:
    seen = make_seen(make_pod("a"), make_pod("b"))
    right, wrong = status_of(decided(resource(), seen)), status_of(decided(resource(**part), seen))

    conditions = {item.type: item for item in wrong.conditions}
    assert wrong.phase == right.phase and conditions["Ready"].status == "True"
    assert (conditions["Stalled"].status, conditions["Stalled"].reason) == ("True", "InvalidSpec")
    assert next(iter(part)) in wrong.explanation
