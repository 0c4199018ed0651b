"""What is told of flags follows from status: the ConfigMap first, then the pods, and only what is not told yet."""

import json
from datetime import timedelta
from typing import Any

import pytest

from resilience.api.names import FINALIZER
from resilience.api.reasons import ConditionType, HealthState, Reason
from resilience.api.status import Status
from resilience.api.status_flags import FlagsStatus, FlagStatus
from resilience.core.degradation import publish
from resilience.core.model import flags
from resilience.core.model.decision import SOON, Decision, PublishFlags, RemoveFlags, TellPods
from resilience.core.model.flags import FlagsMap, Publication, PublishedFlag
from resilience.core.model.observation import Observation, Pod
from resilience.core.read_depth import Depth, read_depth
from resilience.core.reconcile import decide
from tests.support.factories import (
    KEY,
    LONG_AGO,
    NOW,
    make_check,
    make_context,
    make_endpoint,
    make_pod,
    make_resource,
    make_seen,
    make_workload,
)
from tests.support.flagging import FLAG, NAME, flag_spec

LOST = {NAME: make_check(NAME, HealthState.UNHEALTHY, reason="Refused", message="connection refused", failures=3)}
WELL = {NAME: make_check(NAME, HealthState.HEALTHY, passes=9)}


def flag(**fields: Any) -> FlagStatus:
    return FlagStatus(**{"name": FLAG["name"], "mode": "memory", "since": LONG_AGO} | fields)


def told(*, on: bool, version: int = 4) -> Status:
    """A status in which this was told."""
    lost = {"on": True, "degraded_since": LONG_AGO, "reason": "Refused"} if on else {}
    meta = FlagsStatus(version=version, updated_at=LONG_AGO, config_map="checkout-flags")
    return Status(observed_generation=1, degradation=[flag(**lost)], flags=meta)


def shown(status: Status, *, ours: bool = True) -> FlagsMap:
    said = publish.publication(make_resource(flag_spec(), status=status), status)
    assert said is not None
    return FlagsMap(flags.config_map_data(said), ours)


def seen(*pods: Pod, checks: Any = LOST, shows: FlagsMap | None = None, **fields: Any) -> Observation:
    endpoints = tuple(make_endpoint(pod) for pod in pods)
    return make_seen(*pods, checks=checks, flags_map=shows, endpoints=endpoints, quiet=not pods, **fields)


def decided(status: Status, looked: Observation, **fields: Any) -> Decision:
    resource = make_resource(flag_spec(), status=status, finalizers=(FINALIZER,), **fields)
    return decide(resource, looked, NOW)


def actions(decision: Decision, *kinds: type) -> list[Any]:
    return [each for each in decision.actions if isinstance(each, kinds)]


FLAG_ACTIONS = (PublishFlags, RemoveFlags, TellPods)


def test_the_first_look_publishes_that_nothing_is_lost() -> None:
    decision = decided(Status(), seen(make_pod(), checks=WELL))
    assert decision.status is not None and decision.status.flags is not None
    assert decision.status.flags.version == 1
    (action,) = actions(decision, *FLAG_ACTIONS)
    assert [each.on for each in action.publication.flags] == [False]


def test_a_loss_is_a_new_version_in_every_channel() -> None:
    before = told(on=False)
    decision = decided(before, seen(make_pod("a"), make_pod("b"), shows=shown(before)))
    assert decision.status is not None and decision.status.flags is not None
    assert (decision.status.flags.version, decision.status.flags.updated_at) == (5, NOW)
    published, pods = actions(decision, *FLAG_ACTIONS)
    assert published.publication.any_on
    assert [pod.name for pod in sorted(pods.pods, key=lambda pod: pod.name)] == ["a", "b"]
    assert json.loads(pods.value) == {"version": 5, "flags": {"redis-degraded": True}}
    degraded = next(each for each in decision.status.conditions if each.type == ConditionType.DEGRADED)
    assert degraded.status == "True"
    assert "redis-degraded is on (memory)" in degraded.message
    assert Reason.FLAG_ON in [each.reason for each in decision.events]


def test_what_is_told_is_not_told_again() -> None:
    status = told(on=True)
    value = flags.annotation(publish.publication(make_resource(flag_spec()), status) or Publication("", "", 0, NOW))
    decision = decided(status, seen(make_pod(flags=value), shows=shown(status)))
    assert actions(decision, *FLAG_ACTIONS) == []
    # but one that was made since is
    decision = decided(status, seen(make_pod("a", flags=value), make_pod("b"), shows=shown(status)))
    assert [pod.name for pod in actions(decision, *FLAG_ACTIONS)[0].pods] == ["b"]


def test_while_nothing_is_lost_new_pods_need_no_word_and_others_hear_the_end() -> None:
    status = told(on=False)
    decision = decided(status, seen(make_pod("new"), make_pod("old", flags="old"), checks=WELL, shows=shown(status)))
    (action,) = actions(decision, *FLAG_ACTIONS)
    assert [pod.name for pod in action.pods] == ["old"]


def test_many_pods_hear_it_in_batches() -> None:
    status = told(on=True)
    pods = [make_pod(f"p{number}", uid=f"u{number}") for number in range(120)]
    resource = make_resource(flag_spec(), status=status)
    left, batches = pods, []
    while True:
        found = publish.publish(make_context(resource, seen(*left, shows=shown(status))))
        if not found.actions:
            break
        (action,) = found.actions
        assert isinstance(action, TellPods)
        batches.append(len(action.pods))
        assert found.requeue_after is not None
        if sum(not pod.flags for pod in left) > publish.BATCH:
            assert timedelta(seconds=0.5) <= found.requeue_after <= timedelta(seconds=1.5)
        else:
            assert found.requeue_after == SOON
        left = [make_pod(p.name, uid=p.uid, flags=str(action.value)) if p in action.pods else p for p in left]
    assert batches == [50, 50, 20]


def test_what_somebody_changed_or_removed_is_put_back() -> None:
    status = told(on=True)
    spoilt = FlagsMap(dict(shown(status).data) | {"redis-degraded": "false"}, ours=True)
    for shows in (spoilt, None):
        found = publish.publish(make_context(make_resource(flag_spec(), status=status), seen(shows=shows)))
        assert [type(each) for each in found.actions] == [PublishFlags]


def test_a_config_map_of_somebody_else_is_left_alone_and_said() -> None:
    status = told(on=False)
    foreign = FlagsMap({"mine": "1"}, ours=False)
    decision = decided(status, seen(make_pod(), checks=WELL, shows=foreign))
    assert actions(decision, PublishFlags, RemoveFlags) == []
    assert decision.status is not None and decision.status.flags is not None
    assert "rename or delete it" in decision.status.flags.problem
    assert "Flags are not published" in decision.status.explanation
    assert [each.reason for each in decision.events].count(Reason.FLAGS_NOT_PUBLISHED) == 1
    again = decided(decision.status, seen(make_pod(), checks=WELL, shows=foreign))
    assert Reason.FLAGS_NOT_PUBLISHED not in [each.reason for each in again.events]


def test_flags_that_are_taken_out_of_the_spec_are_taken_back() -> None:
    status = told(on=True)
    resource = make_resource(status=status, finalizers=(FINALIZER,))
    decision = decide(resource, seen(make_pod(flags="x"), checks={}, shows=shown(status)), NOW)
    assert decision.status is not None and decision.status.flags is None and decision.status.degradation == []
    removed, pods = actions(decision, *FLAG_ACTIONS)
    assert isinstance(removed, RemoveFlags)
    assert pods.value is None


def test_a_resource_that_goes_takes_its_flags_with_it() -> None:
    status = told(on=True)
    workload = make_workload(annotations={"resilience.dev/claimed-by": f"{KEY.name}/uid"})
    resource = make_resource(flag_spec(), status=status, finalizers=(FINALIZER,), deleting_since=NOW, uid="uid")
    decision = decide(resource, seen(make_pod(flags="x"), shows=shown(status), workload=workload), NOW)
    removed, pods = actions(decision, *FLAG_ACTIONS)
    assert isinstance(removed, RemoveFlags)
    assert pods.value is None


def test_suspended_the_last_word_stands() -> None:
    status, spec = told(on=False), flag_spec().model_copy(update={"suspend": True})
    resource = make_resource(spec, status=status, finalizers=(FINALIZER,))
    decision = decide(resource, seen(make_pod(), shows=shown(status)), NOW)
    assert decision.status is not None
    assert (decision.status.degradation, decision.status.flags) == (status.degradation, status.flags)
    assert actions(decision, *FLAG_ACTIONS) == []


@pytest.mark.parametrize("on", [True, False])
def test_pods_are_looked_at_while_a_flag_is_on(on: bool) -> None:
    looked = read_depth(make_resource(flag_spec(), status=told(on=on)), make_workload())

    assert looked is (Depth.LIMITS if on else Depth.WATCHES)


def test_what_is_published_can_be_read_again() -> None:
    each = PublishedFlag("redis-degraded", True, "memory", "Refused", NOW)
    said = Publication("shop", "checkout", 7, NOW, (each,))
    data = flags.config_map_data(said)
    assert flags.read(namespace="shop", service="checkout", data=data) == said
    assert (data["redis-degraded"], data["redis-degraded.mode"], data["flags.version"]) == ("true", "memory", "7")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"flags": {"a": 1}, "metadata": {}}', "nonsense"])
def test_what_is_no_file_of_flags_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError):
        flags.read(namespace="shop", service="checkout", data={"flags.json": text})
