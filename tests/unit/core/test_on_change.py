"""restart.onChange: whose content is known, when it has changed, and which pods are restarted for it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from resilience.api.reasons import HealthState, Reason
from resilience.api.status import Status
from resilience.api.status_restarts import ConfigStatus, RestartsStatus, RestartStatus
from resilience.core.model.decision import Decision, TakeOver
from resilience.core.model.observation import Pod, Turn
from resilience.core.model.probes import ContentProbe
from resilience.core.reconcile import decide
from resilience.core.restarts import triggers
from resilience.core.restarts.content import CONTENT_CHECK
from tests.support.factories import (
    LONG_AGO,
    NOW,
    make_check,
    make_context,
    make_pod,
    make_resource,
    make_seen,
    make_workload,
)
from tests.support.firing import HUNG, fires, past, policy_spec
from tests.support.model import stored

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
CHANGES = {"onChange": [{"kind": "Secret", "name": "token"}, {"kind": "ConfigMap", "name": "settings"}]}
A, B = make_pod("a"), make_pod("b")
SETTLED = NOW - 6 * SECOND


def knows(fingerprint: str, status: Status | None = None) -> Status:
    """A status in which the pods have this content."""
    config = ConfigStatus(fingerprint=fingerprint, changed_at=LONG_AGO)
    status = status or Status(observed_generation=1)
    return status.model_copy(update={"restarts": status.restarts.model_copy(update={"config": config})})


def looked(
    *pods: Pod,
    reads: str = "",
    since: datetime = SETTLED,
    status: Status | None = None,
    turn: Turn | None = None,
    checks: Any = None,
    now: datetime = NOW,
    restart: Any = None,
    **workload: Any,
) -> Decision:
    """A pass that reads this content, since so long; a turn is granted unless one is given."""
    pods = pods or (A, B)
    content = make_check(CONTENT_CHECK, fingerprint=reads, read_since=since if reads else None)
    seen = make_seen(
        *pods,
        checks={CONTENT_CHECK: content} | (checks or {}),
        turn=turn or Turn(granted=True),
        workload=make_workload(replicas=len(pods), **workload),
    )
    spec = policy_spec(HUNG, **CHANGES | (restart or {}))
    return decide(make_resource(spec, status=status), seen, now)


def status_of(found: Decision) -> Status:
    assert found.status is not None
    return stored(found.status)


def known(found: Decision) -> str:
    config = status_of(found).restarts.config
    return config.fingerprint if config is not None else ""


def test_all_objects_are_read_as_one_whatever_their_order() -> None:
    spec = policy_spec(**CHANGES)

    (found,) = triggers.targets(make_context(make_resource(spec), make_seen(A)))

    assert found.probe == ContentProbe("shop", (("ConfigMap", "settings"), ("Secret", "token")))
    assert (found.interval, found.failure_threshold, found.pod_uid) == (20 * SECOND, 1, "")
    assert triggers.targets(make_context(make_resource(policy_spec()), make_seen(A))) == ()


@pytest.mark.parametrize(
    ("reads", "ago", "interval"), [("x-two", 4, 20), ("x-two", 5, 1), ("x-two", 6, 20), ("x-one", 5, 20), ("", 5, 20)]
)
def test_a_change_that_has_settled_is_read_once_more(reads: str, ago: int, interval: int) -> None:
    # given: whatever else keeps it from restarting
    found = looked(reads=reads, since=NOW - ago * SECOND, status=knows("x-one"), turn=Turn(False, 1, MINUTE))

    (content,) = [each for each in found.checks if each.check == CONTENT_CHECK]
    assert content.interval == interval * SECOND


def test_no_check_of_the_spec_can_have_the_name_of_the_content() -> None:
    with pytest.raises(ValueError, match="name"):
        policy_spec(checks=[{"name": CONTENT_CHECK, "http": {"path": "/"}}])


def test_what_is_read_first_is_what_the_pods_have() -> None:
    found = looked(reads="x-one")

    assert status_of(found).restart is None
    assert status_of(found).restarts.config == ConfigStatus(fingerprint="x-one", changed_at=SETTLED)


@pytest.mark.parametrize(
    ("reads", "since", "begins", "again"),
    [
        ("x-one", LONG_AGO, False, None),
        ("x-two", NOW - 6 * SECOND, True, None),
        ("x-two", NOW - 5 * SECOND, False, SECOND),
        ("x-two", NOW, False, 5 * SECOND),
        # Not read: nobody knows.
        ("", LONG_AGO, False, None),
    ],
)
def test_a_change_restarts_once_it_has_settled(reads: str, since: datetime, begins: bool, again: Any) -> None:
    found = looked(reads=reads, since=since, status=knows("x-one"))

    assert (status_of(found).restart is not None) is begins
    assert known(found) == ("x-two" if begins else "x-one")
    if not begins:
        assert found.requeue_after == again


def test_a_change_is_one_restart_of_all_pods_that_are_older() -> None:
    since = NOW - MINUTE
    pods = (A, make_pod("same", created=since), make_pod("young", created=since + SECOND))

    first = looked(*pods, reads="x-two", since=since, status=knows("x-one"))
    then = looked(
        *pods, reads="x-two", since=since, status=status_of(first), now=NOW + 2 * SECOND, restart={"surge": 5}
    )

    restart = status_of(first).restart
    assert restart is not None and (restart.total, restart.only, restart.policies) == (2, [], [])
    assert restart.reason == "the content of Secret token, ConfigMap settings changed"
    assert status_of(first).restarts.recent == [] and known(first) == "x-two"
    assert {each.pod.name for each in then.actions if isinstance(each, TakeOver)} == {"a", "same"}
    done = status_of(then).model_copy(update={"restart": None})
    assert status_of(looked(*pods, reads="x-two", since=since, status=done)).restart is None


@pytest.mark.parametrize("pods", [(make_pod("young", created=NOW - SECOND),), ()], ids=["all-are-younger", "none"])
def test_pods_that_have_the_change_already_stay(pods: tuple[Pod, ...]) -> None:
    content = make_check(CONTENT_CHECK, fingerprint="x-two", read_since=SETTLED)
    seen = make_seen(*pods, checks={CONTENT_CHECK: content}, turn=Turn(granted=True))

    found = decide(make_resource(policy_spec(**CHANGES), status=knows("x-one")), seen, NOW)

    assert status_of(found).restart is None and known(found) == "x-two" and found.requeue_after is None


def test_other_objects_are_no_change_of_these() -> None:
    found = looked(reads="y-two", status=knows("x-one"))

    assert status_of(found).restart is None and known(found) == "y-two"


def test_objects_that_nobody_watches_any_more_are_forgotten() -> None:
    seen = make_seen(A, quiet=True)

    found = decide(make_resource(policy_spec(), status=knows("x-one")), seen, NOW)

    assert status_of(found).restarts.config is None


def test_it_is_not_bound_by_the_limits_of_policies() -> None:
    limits = {"coolDown": "1h", "budget": {"max": 1}, "windows": [{"schedule": "0 2 * * *", "duration": "1h"}]}

    found = looked(reads="x-two", status=knows("x-one", past(HUNG, NOW)), restart=limits, checks=fires(HUNG, A))

    restart = status_of(found).restart
    assert restart is not None and (restart.total, restart.policies) == (2, [])
    assert len(status_of(found).restarts.recent) == 1


def test_it_waits_for_its_turn() -> None:
    found = looked(reads="x-two", status=knows("x-one"), turn=Turn(False, 1, MINUTE))

    assert status_of(found).restart is None and found.ticket is not None and known(found) == "x-one"
    assert status_of(found).restarts.blocked_by == "Queued"
    assert "has changed; a few services restart pods at a time" in status_of(found).explanation


def test_what_cannot_be_restarted_is_told() -> None:
    found = looked(reads="x-two", status=knows("x-one"), strategy="Recreate")

    assert (status_of(found).restart, status_of(found).restarts.blocked_by) == (None, "Recreate")
    assert [each.reason for each in found.events] == [Reason.POLICY_BLOCKED]
    assert "What restart.onChange names has changed; strategy Recreate" in status_of(found).explanation


def test_a_change_during_a_restart_comes_after_it() -> None:
    running = RestartStatus(trace_id="t", started_at=NOW - MINUTE, born_before=LONG_AGO, total=2)
    status = knows("x-one").model_copy(update={"restart": running})

    during = looked(reads="x-two", status=status)
    after = looked(reads="x-two", status=knows("x-one"))

    assert known(during) == "x-one"
    assert status_of(during).restart is not None and status_of(after).restart is not None
    assert status_of(during).restart.trace_id == "t" != status_of(after).restart.trace_id  # type: ignore[union-attr]


@pytest.mark.parametrize("last", ["x-one", "x-two"])
def test_content_that_cannot_be_read_is_named_and_changes_nothing(last: str) -> None:
    content = make_check(
        CONTENT_CHECK,
        HealthState.UNKNOWN,
        silent=True,
        message="label it",
        fingerprint=last,
        read_since=LONG_AGO,
    )
    seen = make_seen(A, checks={CONTENT_CHECK: content}, turn=Turn(granted=True))

    found = decide(make_resource(policy_spec(**CHANGES), status=knows("x-one")), seen, NOW)

    assert "restart.onChange cannot be judged: label it" in status_of(found).explanation
    assert status_of(found).restart is None
    assert status_of(found).restarts == RestartsStatus(summary="0", config=knows("x-one").restarts.config)
