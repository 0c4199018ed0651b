"""Restart policies: which pods they fire for, what is measured for them, and which can never fire."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from resilience.api.reasons import HealthState, ReplaceStep
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import quantities
from resilience.core.model.context import Context
from resilience.core.model.observation import Observation
from resilience.core.model.probes import CheckTarget, HttpProbe, Measure, SlopeProbe, UsageLine, UsageProbe
from resilience.core.restarts import policies
from tests.support.factories import (
    LIVE_CHECK,
    NOW,
    make_check,
    make_container,
    make_context,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_spec,
    make_view,
    make_workload,
)
from tests.support.firing import AGED, FLAPS, GROWS, HUNG, LEAKS, fires, policy_spec

A, B = make_pod("a", created=NOW - timedelta(hours=9)), make_pod("b", created=NOW - timedelta(hours=8))
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
MEBI = 2**20
LIMITS = {"memory": 512.0 * MEBI, "cpu": 2.0}


def context_of(spec: ResilientServiceSpec, seen: Observation, now: datetime = NOW) -> Context:
    return make_context(make_resource(spec), seen, now=now)


def fired(seen: Observation, *found: dict[str, Any], after: timedelta = timedelta()) -> list[tuple[str, str]]:
    spec = policy_spec(*found)
    return [(each.policy.name, each.pod.name) for each in policies.firing(context_of(spec, seen, NOW + after))]


def watched(*found: dict[str, Any], seen: Observation | None = None, **spec: Any) -> list[CheckTarget]:
    made = policy_spec(*found, **spec)
    limited = make_workload(containers=[make_container(limits=LIMITS, requests={"cpu": 1.0})])
    return list(policies.targets(context_of(made, seen or make_seen(A, workload=limited))))


@pytest.mark.parametrize("policy", [LEAKS, GROWS, HUNG], ids=lambda each: each["name"])
@pytest.mark.parametrize("state", list(HealthState))
def test_only_what_is_known_to_be_bad_fires(policy: dict[str, Any], state: HealthState) -> None:
    found = fired(make_seen(A, B, checks=fires(policy, B, state=state)), policy)

    assert found == ([(policy["name"], "b")] if state is HealthState.UNHEALTHY else [])


def test_what_nobody_has_measured_fires_for_nobody() -> None:
    assert fired(make_seen(A), LEAKS) == []
    assert fired(make_seen(A, quiet=True, checks=fires(LEAKS, A)), LEAKS) == []


def test_the_health_check_of_the_same_name_is_not_the_policys() -> None:
    unhealthy = make_check("stuck", HealthState.UNHEALTHY, by_pod={A.uid: HealthState.UNHEALTHY})

    assert fired(make_seen(A, checks={"stuck": unhealthy, "live": replace(unhealthy, name="live")}), HUNG) == []


def test_policies_fire_in_their_order_and_the_oldest_pod_comes_first() -> None:
    checks = fires(HUNG, A, B) | fires(LEAKS, A)

    assert fired(make_seen(B, A, checks=checks), LEAKS, HUNG) == [("leak", "a"), ("stuck", "a"), ("stuck", "b")]


def test_pods_that_go_anyway_fire_for_nothing() -> None:
    going = make_retiring("r", ReplaceStep.DRAINING), make_pod("d", deleting=True)

    assert fired(make_seen(*going, A, checks=fires(HUNG, *going, A)), HUNG) == [("stuck", "a")]


STARTED = NOW - 30 * timedelta(seconds=1)
CPU: dict[str, Any] = {"name": "busy", "cpu": {"above": "750m"}}


@pytest.mark.parametrize("policy", [HUNG, CPU], ids=lambda each: each["name"])
@pytest.mark.parametrize(
    ("pod", "counts"),
    [
        # Unready since before its container started.
        ({"ready": False, "started": STARTED, "ready_changed": STARTED}, False),
        ({"ready": False, "started": STARTED, "ready_changed": STARTED - timedelta(seconds=9)}, False),
        ({"ready": False, "started": STARTED}, False),
        # Nothing runs in it yet.
        ({"ready": False, "created": STARTED}, False),
        ({"started": STARTED, "ready_changed": STARTED + timedelta(seconds=1)}, True),
        # It was ready, and is no more.
        ({"ready": False, "started": STARTED, "ready_changed": STARTED + timedelta(seconds=1)}, True),
        # It had its time.
        ({"ready": False, "started": NOW - 2 * MINUTE, "ready_changed": NOW - 2 * MINUTE}, True),
        ({"ready": False, "created": NOW - 2 * MINUTE}, True),
        ({"ready": False}, True),
    ],
)
def test_a_pod_that_starts_is_left_alone(policy: dict[str, Any], pod: dict[str, Any], counts: bool) -> None:
    made = make_pod("a", **pod)
    limited = make_workload(containers=[make_container(limits=LIMITS)])
    seen = make_seen(made, workload=limited, checks=fires(policy, made))

    assert bool(fired(seen, policy)) is counts
    assert bool(watched(policy, seen=seen)) is counts


def test_a_start_takes_as_long_as_the_startup_probe_allows_and_is_looked_at_again_when_that_is_over() -> None:
    pod = make_pod(ready=False, started=STARTED, ready_changed=STARTED)
    probes = {"startup": {"check": "live", "maxDuration": "45s"}}
    spec = make_spec(probes=probes, restart={"policies": [HUNG]}, health={"checks": [LIVE_CHECK]})

    def hung(after: timedelta) -> bool:
        return bool(policies.firing(context_of(spec, make_seen(pod, checks=fires(HUNG, pod)), NOW + after)))

    assert policies.next_due(context_of(spec, make_seen(pod))) == timedelta(seconds=15)
    assert not hung(timedelta(seconds=14)) and hung(timedelta(seconds=15))
    assert policies.next_due(context_of(spec, make_seen(A))) is None


def test_a_leak_is_one_from_the_first_moment() -> None:
    pod = make_pod(ready=False, started=STARTED, ready_changed=STARTED)

    assert fired(make_seen(pod, checks=fires(LEAKS, pod)), LEAKS) == [("leak", "a")]


def test_pods_that_were_born_together_do_not_age_together() -> None:
    pods = [make_pod(f"p{number}", created=NOW - 10 * HOUR) for number in range(50)]

    def old(after: timedelta) -> int:
        return len(fired(make_seen(*pods), AGED, after=after))

    counts = [old(number * 6 * MINUTE) for number in range(11)]
    assert old(timedelta(seconds=-1)) == 0 and old(HOUR) == 50
    assert counts == sorted(counts) and len(set(counts)) >= 8


@pytest.mark.parametrize(
    ("fields", "hours"), [({"profile": "Test"}, 1), ({"profile": "Production"}, 168), ({"profile": "Development"}, 720)]
)
def test_without_a_value_the_profile_says_what_is_old(fields: Any, hours: int) -> None:
    spec = make_spec(restart={"policies": [{"name": "aged", "uptime": {}}]}, **fields)

    def old(age: timedelta) -> bool:
        return bool(policies.firing(context_of(spec, make_seen(make_pod(created=NOW - age)))))

    assert not old(hours * HOUR - MINUTE)
    assert old(1.1 * hours * HOUR)


def test_the_next_look_is_when_the_next_pod_is_too_old() -> None:
    spec = policy_spec(AGED, HUNG)

    def due(*pods: Any, quiet: bool = False) -> timedelta | None:
        return policies.next_due(context_of(spec, make_seen(*pods, quiet=quiet)))

    left = due(A, B)
    assert left is not None and HOUR <= left <= 2 * HOUR
    assert fired(make_seen(A, B), AGED, after=left - MINUTE) == []
    assert fired(make_seen(A, B), AGED, after=left) == [("aged", "a")]
    assert due(make_pod(created=NOW - 20 * HOUR)) is None
    assert due(A, quiet=True) is None


@pytest.mark.parametrize(("minutes", "fires"), [((1, 2), 0), ((1, 2, 3), 1), ((1, 2, 10), 0), ((1, 2, 3, 11), 1)])
def test_restarts_of_containers_count_while_they_are_recent(minutes: tuple[int, ...], fires: int) -> None:
    times = {A.uid: tuple(NOW - each * MINUTE for each in minutes)}

    assert len(fired(make_seen(view=make_view(A, B, container_restarts=times)), FLAPS)) == fires


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (LEAKS, "pod a: saw a for 5m (above 90%)"),
        (HUNG, "pod a: saw a, 4 times in a row"),
        (GROWS, "pod a: saw a"),
        ({"name": "aged", "uptime": {"above": "1h"}}, "pod a is 9h old (above 1h)"),
        (FLAPS, "containers of pod a restarted 3 times within 10m (above 2)"),
    ],
)
def test_the_words_have_the_rule_the_value_and_the_line(policy: dict[str, Any], words: str) -> None:
    view = make_view(A, container_restarts={A.uid: (NOW, NOW, NOW)})
    spec = policy_spec(policy)
    checks = fires(policy, A) if "uptime" not in policy else {}

    (found,) = policies.firing(context_of(spec, make_seen(view=view, checks=checks)))

    assert found.message == words


@pytest.mark.parametrize(
    ("rule", "line", "sustained"),
    [
        ({"memory": {"above": "50%"}}, UsageLine(Measure.MEMORY, None, 256.0 * MEBI, 512.0 * MEBI), 300),
        ({"memory": {"above": "64Mi", "for": "3s"}}, UsageLine(Measure.MEMORY, None, 64.0 * MEBI, 512.0 * MEBI), 3),
        ({"cpu": {"above": "750m", "for": "0s"}}, UsageLine(Measure.CPU, None, 0.75, 2.0), 0),
        ({"cpu": {"above": "80%", "of": "Request", "for": "4s"}}, UsageLine(Measure.CPU, None, 0.8, 1.0), 4),
    ],
)
def test_usage_is_above_its_line_for_the_whole_time(rule: Any, line: UsageLine, sustained: int) -> None:
    (found,) = watched({"name": "p"} | rule)

    assert found.probe == UsageProbe("shop", "a", "app", (line,), A.created)
    assert (found.check, found.pod_uid) == ("policy/p", A.uid)
    assert (found.failure_threshold, found.success_threshold, found.sustained) == (1, 1, timedelta(seconds=sustained))


def test_growth_is_measured_until_the_limit_by_pod() -> None:
    (found,) = watched(GROWS)

    assert found.probe == SlopeProbe("shop", "a", A.uid, "app", 512.0 * MEBI, 2 * HOUR)
    assert found.failure_threshold == 2


def test_a_check_is_asked_at_every_pod_with_the_policys_own_threshold() -> None:
    found = watched(HUNG, seen=make_seen(A, B))

    assert [(each.check, each.pod_uid, each.failure_threshold) for each in found] == [
        ("policy/stuck", A.uid, 4),
        ("policy/stuck", B.uid, 4),
    ]
    assert all(isinstance(each.probe, HttpProbe) for each in found)


def test_a_usage_check_is_measured_and_not_connected_to() -> None:
    used = {"name": "used", "scope": "Pod", "usage": {"memory": {}}}

    (found,) = watched({"name": "p", "check": {"name": "used", "failures": 2}}, checks=[used])

    assert isinstance(found.probe, UsageProbe)
    assert (found.check, found.failure_threshold) == ("policy/p", 2)


@pytest.mark.parametrize("policy", [AGED, FLAPS, HUNG | {"check": {"name": "gone"}}], ids=["aged", "flappy", "gone"])
def test_what_the_api_tells_needs_no_check(policy: dict[str, Any]) -> None:
    assert watched(policy) == []


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (LEAKS, "policy leak compares with a memory limit that container app does not set"),
        (GROWS, "policy slope foresees when a memory limit is reached"),
        ({"name": "p", "cpu": {"above": "80%", "of": "Request"}}, "set resources.requests.cpu"),
        ({"name": "p", "memory": {"above": "64Mi"}}, ""),
        (AGED, ""),
    ],
)
def test_a_line_without_anything_to_be_a_share_of_never_fires_and_is_named(policy: dict[str, Any], words: str) -> None:
    seen = make_seen(A)

    said = policies.unmeasurable(context_of(policy_spec(policy), seen))

    assert said.startswith(words) or words in said
    assert bool(said) is bool(words)
    assert bool(watched(policy, seen=seen)) is (not words and policy is not AGED)


@pytest.mark.parametrize(
    ("amount", "whole", "value"),
    [
        ("90%", 200.0, 180.0),
        ("12.5%", 8.0, 1.0),
        ("90%", None, None),
        ("512Mi", None, 512.0 * MEBI),
        ("750m", 9.0, 0.75),
        ("2", None, 2.0),
        ("1.5Gi", None, 1.5 * 2**30),
        ("3k", None, 3000.0),
        ("3M", None, 3e6),
    ],
)
def test_amounts_are_numbers_or_shares(amount: str, whole: float | None, value: float | None) -> None:
    assert quantities.resolve(amount, whole) == value
