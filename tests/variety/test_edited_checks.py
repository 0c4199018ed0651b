"""Checks that somebody edits: a check that asks for something else has passed at nobody yet, whatever its name."""

from typing import Any, Final

import pytest

from resilience.api.checks import Check
from resilience.api.reasons import HealthState
from resilience.api.status import CheckStatus, HealthStatus, Status
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import reach
from resilience.core.model.check_state import CheckState
from resilience.core.model.decision import Decision
from tests.support.factories import READY_CHECK, make_check, make_pod, make_resource, make_seen, make_spec
from tests.support.firing import DATABASE
from tests.variety.claims import decided, status_of

A = make_pod("a")
HTTP: Final = {"path": "/livez", "port": "http"}
LIVE: Final[dict[str, Any]] = {"name": "live", "scope": "Pod", "http": HTTP}


def spec_of(*checks: dict[str, Any], **health: Any) -> ResilientServiceSpec:
    return make_spec(health={"checks": list(checks)} | health)


def asks(check: dict[str, Any], **spec: Any) -> str:
    return reach.question(Check.model_validate(check), make_spec(**spec))


def well(*checks: dict[str, Any]) -> Status:
    """A status in which these checks are well, as this version writes it."""
    known = [CheckStatus(name=each["name"], asks=asks(each), state=HealthState.HEALTHY) for each in checks]
    passed = sorted(f"{each.name}@{each.asks}" for each in known)
    return Status(observed_generation=1, health=HealthStatus(checks=known, passed=passed))


def looked(spec: ResilientServiceSpec, status: Status, **states: CheckState) -> Decision:
    return decided(make_resource(spec, status=status), make_seen(A, checks=states))


def proven(found: Decision) -> dict[str, bool]:
    return {target.check: target.proven for target in found.checks}


@pytest.mark.parametrize(
    ("change", "is_proven"),
    [
        ({}, True),
        # Whoever answered is reached, whatever is made of the answer.
        ({"http": HTTP | {"expectStatus": [200]}}, True),
        ({"http": HTTP | {"path": "/healthz"}}, False),
        ({"http": HTTP | {"port": 8081}}, False),
        ({"http": HTTP | {"scheme": "HTTPS"}}, False),
        ({"http": HTTP | {"host": "shop.example"}}, False),
        ({"http": None, "tcp": {"port": "http"}}, False),
        ({"http": None, "grpc": {"port": "http"}}, False),
        ({"scope": "Service"}, False),
        ({"name": "alive"}, False),
    ],
    ids=["same", "expectation", "path", "port", "scheme", "host", "tcp", "grpc", "scope", "name"],
)
def test_a_check_that_asks_for_something_else_begins_anew(change: dict[str, Any], is_proven: bool) -> None:
    edited = {key: value for key, value in (LIVE | change).items() if value is not None}

    found = proven(looked(spec_of(READY_CHECK, edited), well(READY_CHECK, LIVE)))

    # The other one goes on.
    assert found.get(edited["name"], is_proven) is is_proven and found["ready"]


def test_thresholds_and_the_order_are_no_edit() -> None:
    spec = spec_of(LIVE, DATABASE, READY_CHECK, failureThreshold=7, interval="3s")

    found = proven(looked(spec, well(READY_CHECK, LIVE)))

    assert found["live"] and found["ready"]


def test_through_another_service_it_asks_for_something_else() -> None:
    other = {"name": "other", "port": "http"}

    assert asks(READY_CHECK) != asks(READY_CHECK, service=other)
    assert asks(LIVE) == asks(LIVE, service=other)
    # Whether a dependency can be reached is the question itself.
    assert asks(DATABASE) == ""


def test_what_the_old_question_was_answered_proves_nothing_of_the_new_one() -> None:
    """The pass that first sees the edit still has the results of the question before."""
    # given
    old = make_check("live", question=asks(LIVE), ever_passed=True, by_pod={A.uid: HealthState.HEALTHY})
    spec = spec_of(LIVE | {"http": HTTP | {"path": "/new"}})

    # when
    first = looked(spec, well(LIVE), live=old)
    new = make_check("live", question=asks(spec.health.checks[0].to_api()), ever_passed=True)
    second = looked(spec, status_of(first), live=new)

    # then
    assert status_of(first).health.passed is None and not proven(first)["live"]
    assert status_of(second).health.passed == [f"live@{new.question}"] and proven(second)["live"]


def test_the_names_that_the_version_before_wrote_count_for_the_checks_as_they_are() -> None:
    # given
    before = Status(observed_generation=1, health=HealthStatus(passed=["live", "ready"]))

    # when
    after = looked(spec_of(READY_CHECK, LIVE), before)

    # then
    assert proven(after) == {"live": True, "ready": True}
    assert status_of(after).health.passed == [f"live@{asks(LIVE)}", f"ready@{asks(READY_CHECK)}"]
