"""Properties of restarts by policy over random orders of events, on a model of a cluster (tests/support/model.py)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from resilience.api.reasons import RestartOutcome
from resilience.core.model.observation import Observation, Turn
from tests.support.firing import fires, policy_spec
from tests.support.model import Model, Operator

THOROUGH = settings(
    max_examples=2000 if os.environ.get("PROOF") else 12,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

LEAKS = {"name": "leak", "memory": {"above": "64Mi"}}
SPINS = {"name": "spin", "cpu": {"above": "500m"}}
TALKS = {"name": "talk", "memory": {"above": "32Mi"}, "dryRun": True}
COOL_DOWN, SPAN, MOST = timedelta(seconds=20), timedelta(minutes=5), 3
LIMITS = {"coolDown": "20s", "budget": {"max": MOST, "per": "5m"}}
SPEC = policy_spec(LEAKS, SPINS, TALKS, checks=(), **LIMITS)


@dataclass(slots=True)
class Firing(Model):
    """A cluster in which policies fire for pods, by name, and turns are given and taken."""

    firing: dict[str, set[str]] = field(default_factory=lambda: {"leak": set(), "spin": set(), "talk": set()})
    turn: bool = True

    def observe(self) -> Observation:
        seen = Model.observe(self)
        pods = seen.pods.pods if seen.pods is not None else ()
        checks: dict[str, Any] = {}
        for policy in (LEAKS, SPINS, TALKS):
            bad = [pod for pod in pods if pod.name in self.firing[str(policy["name"])]]
            # All others have been measured, too, and pass.
            checks |= fires(policy, *bad, passing=[pod for pod in pods if pod not in bad]) if pods else {}
        return replace(seen, checks=checks, turn=Turn(granted=self.turn, expected=timedelta(minutes=1)))

    def fire(self, policy: str, index: int) -> set[str]:
        names = list(self.pods)
        found = {names[index % len(names)]} if names else set()
        self.firing[policy] |= found
        return found


@dataclass(slots=True)
class Witness:
    """Looks on after every pass, and complains."""

    model: Firing
    may_go: set[str] = field(default_factory=set)
    begun: dict[str, datetime] = field(default_factory=dict)

    def look(self, granted: bool) -> None:
        taken = {pod.name for pod in self.model.retiring}
        assert taken <= self.may_go, f"{taken - self.may_go} never fired"
        restart = self.model.status.restart
        if restart is None or restart.trace_id in self.begun:
            return
        assert granted, "begun without a turn"
        assert {each.name for each in restart.only} <= self.may_go
        times = [*self.begun.values(), restart.started_at]
        self.begun[restart.trace_id] = restart.started_at
        assert len(times) < 2 or times[-1] - times[-2] >= COOL_DOWN, "before the cool-down was over"
        assert sum(each > times[-1] - SPAN for each in times) <= MOST, "beyond the budget"


CLUSTER = st.sampled_from(["deployment", "replica_sets", "kubelets", "endpoints", "tick"])
POLICY = st.sampled_from(["leak", "spin", "leak", "talk"])
FIRE = st.tuples(st.just("fire"), st.tuples(POLICY, st.integers(0, 5)))
RUN = st.tuples(st.just("run"), st.integers(1, 25))
EVENTS = st.one_of(
    # What everything else is about comes often.
    *(FIRE, RUN) * 3,
    st.tuples(st.just("pass"), st.one_of(st.none(), st.integers(0, 3))),
    st.tuples(st.just("stale"), st.integers(1, 6)),
    st.tuples(st.just("work"), CLUSTER),
    st.tuples(st.just("wait"), st.sampled_from([1, 2, 19, 20, 60, 299, 300])),
    st.tuples(st.just("calm"), POLICY),
    st.tuples(st.just("turn"), st.sampled_from([True, True, False])),
)
FAULTS = st.one_of(
    st.tuples(st.just("die"), st.integers(0, 5)),
    st.tuples(st.just("hang"), st.integers(0, 5)),
    st.tuples(st.just("scale"), st.integers(0, 4)),
    st.tuples(st.just("release"), st.just(0)),
    st.tuples(st.just("abort"), st.integers(0, 3)),
)


def play(model: Firing, events: Sequence[tuple[str, Any]]) -> Witness:
    """Runs the events; the model complains about harm, the witness about the rest."""
    operator, witness, past = Operator(model), Witness(model), [model.observe()]

    def reconcile(seen: Observation | None = None, dies_after: int | None = None) -> None:
        turn = (seen or model.observe()).turn
        operator.reconcile(seen=seen, dies_after=dies_after)
        witness.look(turn is not None and turn.granted)

    for kind, value in events:
        match kind:
            case "fire":
                found = model.fire(*value)
                witness.may_go |= found if value[0] != "talk" else set()
            case "calm":
                model.firing[value].clear()
            case "turn":
                model.turn = value
            case "pass":
                reconcile(dies_after=value)
            case "stale":
                reconcile(past[-min(value, len(past))])
            case "work":
                getattr(model, value)()
            case "wait":
                model.now += timedelta(seconds=value, milliseconds=300)
            case "run":
                for _ in range(value):
                    model.now += timedelta(seconds=1)
                    model.tick()
                    reconcile()
            case "release":
                model.release()
            case "abort":
                model.ask("abort", f"request {value}")
            case _:
                getattr(model, kind)(value)
        past.append(model.observe())
    return witness


@THOROUGH
@given(
    events=st.lists(st.one_of(EVENTS, EVENTS, EVENTS, FAULTS), min_size=20, max_size=80),
    replicas=st.integers(1, 6),
    surge=st.integers(1, 3),
    delays=st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=1, max_size=4),
)
def test_only_pods_that_fired_go_within_the_limits_and_no_client_notices(
    events: list[Any], replicas: int, surge: int, delays: list[int | None]
) -> None:
    spec = policy_spec(LEAKS, SPINS, TALKS, checks=(), surge=surge, **LIMITS)

    play(Firing(spec, replicas=replicas, delays=delays), events)


@THOROUGH
# The next pod of a policy that has restarted another one before.
@example(events=[("fire", ("leak", 0)), ("run", 1)], replicas=2, surge=1, last=[0])
@given(
    events=st.lists(EVENTS, max_size=60),
    replicas=st.integers(1, 4),
    surge=st.integers(1, 3),
    last=st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
def test_every_pod_that_goes_on_firing_is_replaced_and_no_other(
    events: list[Any], replicas: int, surge: int, last: list[int]
) -> None:
    spec = policy_spec(LEAKS, SPINS, TALKS, checks=(), surge=surge, **LIMITS)
    model = Firing(spec, replicas=replicas, delays=[1])
    before = play(model, events)
    # Whatever happened: from now on these fire, and nothing stands in the way but the limits.
    model.turn, model.firing = True, {"leak": set(), "spin": set(), "talk": set(model.pods)}
    Operator(model).settle(passes=400)
    bad = {name for each in last for name in model.fire("leak", each)}
    good = set(model.pods) - bad
    before.may_go |= bad

    # Until the longest wait of a loop that the events may have led to is over.
    model.now += timedelta(hours=6)
    operator = Operator(model)
    for _ in range(400):
        model.now += timedelta(seconds=1)
        model.tick()
        operator.reconcile()
        before.look(granted=True)
        if not bad & set(model.pods) and model.status.restart is None and not model.retiring:
            break

    assert not bad & set(model.pods) and good <= set(model.pods)
    assert model.serving() == len(model.pods) == replicas
    assert model.status.last_restart is not None
    assert model.status.last_restart.result is RestartOutcome.SUCCEEDED


@settings(THOROUGH, max_examples=300 if os.environ.get("PROOF") else 8)
@given(events=st.lists(EVENTS, max_size=40), replicas=st.integers(1, 3))
# Pods that were made one after the other must not take turns.
@example(events=[("fire", ("leak", 0)), ("pass", None)], replicas=2)
def test_a_pod_that_was_just_made_is_not_restarted_again_and_again(events: list[Any], replicas: int) -> None:
    model = Firing(SPEC, replicas=replicas, delays=[1])
    witness = play(model, events)
    model.turn = True
    operator, began, known = Operator(model), model.now, len(witness.begun)

    # Every pod fires from its first second on.
    while model.now < began + timedelta(minutes=14):
        model.now += timedelta(seconds=4)
        model.tick()
        model.firing["leak"] = set(model.pods)
        witness.may_go |= set(model.pods)
        operator.reconcile()
        witness.look(granted=True)

    # One at once, then after 1, 2 and 4 minutes: the next but one would be after 15.
    assert len(witness.begun) - known <= 5
