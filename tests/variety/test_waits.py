"""A release that waits for something that never comes: a gate that cannot be asked, or whose answers say nothing.

Every wait has a deadline or an alert. Which of the two is not claimed here, only that somebody hears of it.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from resilience.api.names import ANNOTATION_CLAIM, ANNOTATION_SERVING
from resilience.api.reasons import HealthState, ReleaseStep
from resilience.core.model.actions import AdvanceGreen, MarkFailed
from resilience.core.model.decision import Decision
from tests.support.factories import NOW
from tests.support.stages import OLD, Scenario, checked, green_pods, look, running
from tests.variety.claims import decided, status_of

PREPARING, WARM = ReleaseStep.PREPARING, ReleaseStep.WARM
LATE: Final = timedelta(minutes=6)
GATES: Final = {"before": {"checks": ["ready"], "for": "2s"}, "after": {"checks": ["ready"], "for": "3s"}}
# The candidate is ready; what its gate says, if it is asked at all.
NEVER_ASKED: Final[dict[str, Any]] = {}
NO_DATA: Final = checked(HealthState.UNKNOWN, ago=360)


def looked(step: ReleaseStep, seen: dict[str, Any], *, ready: bool = True) -> Decision:
    """A pass six minutes after the step began, with a progress deadline of two."""
    pods = tuple(replace(item, created=NOW - LATE) for item in green_pods(ready=ready))
    resource, observed = look(
        Scenario(
            step,
            green=pods,
            ago=LATE,
            status=running(ago=LATE),
            rollout=GATES | {"progressDeadline": "2m", "blueGreen": {"warmPeriod": "5s"}},
            workload={"annotations": {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}},
            seen=seen,
        )
    )
    return decided(resource, observed)


def ends_or_alerts(decision: Decision) -> bool:
    """True when the wait is over, or somebody hears of it."""
    ended = any(isinstance(item, AdvanceGreen | MarkFailed) for item in decision.actions)
    return ended or any(not item.held for item in status_of(decision).alerts.firing)


@pytest.mark.parametrize("step", [PREPARING, WARM], ids=str)
@pytest.mark.parametrize("seen", [NEVER_ASKED, NO_DATA], ids=["never asked", "no data"])
def test_a_gate_without_an_answer_is_not_waited_for_without_end(step: ReleaseStep, seen: dict[str, Any]) -> None:
    assert ends_or_alerts(looked(step, seen))


@pytest.mark.parametrize("step", [PREPARING, WARM], ids=str)
def test_a_gate_without_data_ends_and_status_has_the_reason(step: ReleaseStep) -> None:
    decision = looked(step, checked(HealthState.UNKNOWN, ago=360, reason="NoData", message="no series"))

    assert any(isinstance(item, MarkFailed) for item in decision.actions)
    failure = status_of(decision).rollout.failure
    assert failure is not None and "NoData: no series" in failure.message


def test_a_candidate_that_does_not_come_up_is_not() -> None:
    assert ends_or_alerts(looked(PREPARING, NEVER_ASKED, ready=False))


@pytest.mark.parametrize("step", [PREPARING, WARM], ids=str)
def test_a_gate_that_passes_ends_the_wait(step: ReleaseStep) -> None:
    assert ends_or_alerts(looked(step, checked(ago=60)))
