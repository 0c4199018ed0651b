"""Properties of a blue-green release over random orders of events, on a model (tests/support/release_model.py)."""

import os
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from resilience.api.names import ANNOTATION_FAILED
from resilience.api.reasons import ReleaseStep, RolloutOutcome
from resilience.api.status_rollout import Version
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.report.diff import is_worth_writing
from tests.support.factories import make_spec
from tests.support.model import Harm
from tests.support.release_model import Kind, ReleaseModel
from tests.support.release_operator import Operator, blue_green

THOROUGH = settings(
    max_examples=1500 if os.environ.get("PROOF") else 15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def rest(model: ReleaseModel) -> None:
    for _ in range(6):
        model.now += timedelta(seconds=1)
        model.tick()


def settle(operator: Operator, *, passes: int = 300, floor: bool = False) -> None:
    """Time goes on and everybody works until nothing is in flight."""
    model, quiet = operator.model, 0
    for _ in range(passes):
        model.now += timedelta(seconds=1)
        model.tick()
        if floor:
            hold(model)
        decision = operator.reconcile()
        done = not decision.actions and model.status.rollout.candidate is None
        quiet = quiet + 1 if done else 0
        if quiet > 8:
            return
    raise AssertionError(f"not settled: {model.status.explanation} {model.green} pin={model.pin} {model.notes}")


def hold(model: ReleaseModel) -> None:
    """The promise: never fewer pods in service than are wanted."""
    if model.serving() < model.replicas:
        raise Harm(f"{model.serving()} of {model.replicas} serve at {model.status.rollout.step}")


def adopted(model: ReleaseModel) -> Operator:
    operator = Operator(model)
    settle(operator)
    assert model.paused
    return operator


PASSES = st.one_of(
    st.tuples(st.just("pass"), st.one_of(st.none(), st.integers(0, 3))),
    st.tuples(st.just("stale"), st.integers(1, 4)),
    st.tuples(st.just("work"), st.sampled_from(["deployment", "replica_sets", "kubelets", "endpoints", "tick"])),
    st.tuples(st.just("wait"), st.integers(0, 4)),
    st.tuples(st.just("run"), st.integers(1, 12)),
)
TEMPLATES = st.sampled_from(["t1", "t2", "bad1", "never1", "t0"])
KINDS = {"t0": Kind(), "t1": Kind(), "t2": Kind(delay=3), "bad1": Kind(bad=True), "never1": Kind(delay=None)}
PEOPLE = st.one_of(
    st.tuples(st.just("change"), TEMPLATES),
    st.tuples(st.just("unpin"), st.just(0)),
    st.tuples(st.just("ask"), st.sampled_from(["abort", "promote", "retry"])),
)
FAULTS = st.one_of(
    st.tuples(st.just("die"), st.integers(0, 6)),
    st.tuples(st.just("scale"), st.integers(0, 4)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("undo"), st.just(0)),
    st.tuples(st.just("drift"), st.just(0)),
)


DISTURBANCES = ("undo", "drift", "resume", "zero and back")


def run(operator: Operator, seconds: int) -> None:
    for _ in range(seconds):
        operator.model.now += timedelta(seconds=1)
        operator.model.tick()
        operator.reconcile()


def play(operator: Operator, events: list[tuple[str, Any]], *, floor: bool) -> None:
    model, past, asked = operator.model, [operator.model.observe()], 0
    for kind, value in events:
        match kind:
            case "pass":
                operator.reconcile(dies_after=value)
            case "stale":
                operator.reconcile(seen=past[-min(value, len(past))])
            case "work":
                getattr(model, value)()
            case "wait":
                model.now += timedelta(seconds=value)
            case "run":
                run(operator, value)
            case "change":
                model.change(value, KINDS[value])
            case "ask":
                asked += 1
                model.ask(value, f"{value}-{asked}")
            case _:
                act = getattr(model, kind)
                act(value) if kind in ("die", "scale") else act()
        past = [*past, model.observe()][-6:]
        if floor:
            hold(model)


@THOROUGH
@given(events=st.lists(st.one_of(PASSES, PASSES, PEOPLE), max_size=60), replicas=st.integers(1, 3), first=TEMPLATES)
@example(events=[("run", 60), ("change", "bad1"), ("run", 60), ("change", "t1")], replicas=2, first="t1")
def test_whatever_is_released_there_are_never_fewer_pods_in_service(
    events: list[Any], replicas: int, first: str
) -> None:
    operator = adopted(ReleaseModel(blue_green(), replicas=replicas))
    operator.model.change(first, KINDS[first])
    play(operator, events, floor=True)
    settle(operator, floor=True)
    assert operator.model.serving() >= replicas
    failure = operator.model.status.rollout.failure
    assert failure is None or failure.version.hash == operator.model.shown(operator.model.wanted)


@THOROUGH
@given(events=st.lists(PASSES, max_size=60), replicas=st.integers(1, 3), delay=st.integers(0, 4))
def test_a_good_template_ends_up_serving_alone(events: list[Any], replicas: int, delay: int) -> None:
    model = ReleaseModel(blue_green(), replicas=replicas)
    operator = adopted(model)
    model.change("t9", Kind(delay=delay))
    play(operator, events, floor=True)
    settle(operator, floor=True)
    rest(model)
    assert model.resting and model.paused
    assert {pod.fingerprint for pod in model.pods.values()} == {"t9"}
    assert model.status.last_rollout is not None
    assert model.status.last_rollout.result is RolloutOutcome.SUCCEEDED
    assert model.greens == 1


@THOROUGH
@given(
    events=st.lists(PASSES, max_size=60),
    replicas=st.integers(1, 3),
    kind=st.sampled_from([Kind(bad=True), Kind(delay=None), Kind(delay=0, bad=True)]),
    late=st.booleans(),
)
def test_a_bad_template_leaves_all_as_before(events: list[Any], replicas: int, kind: Kind, late: bool) -> None:
    # `late`: the gate is asked only when the candidate serves already.
    model = ReleaseModel(blue_green(before=None) if late else blue_green(), replicas=replicas)
    operator = adopted(model)
    before = set(model.pods)
    model.change("t9", kind)
    play(operator, events, floor=True)
    settle(operator, floor=True)
    rest(model)
    assert model.resting and model.paused
    assert set(model.pods) == before
    assert model.notes[ANNOTATION_FAILED] == "t9"
    assert model.status.last_rollout is not None
    assert model.status.last_rollout.result is RolloutOutcome.ROLLED_BACK
    assert model.greens == 1
    assert late or "t9" not in model.met


@THOROUGH
@example(events=[("pass", None), ("scale", 0), ("run", 1)], replicas=1, first="t1")
@example(events=[("run", 2), ("scale", 0), ("pass", None), ("pass", None), ("stale", 3)], replicas=1, first="t1")
@given(
    events=st.lists(st.one_of(PASSES, PASSES, PEOPLE, FAULTS), max_size=60), replicas=st.integers(1, 3), first=TEMPLATES
)
def test_whatever_happens_nothing_stays_half_done(events: list[Any], replicas: int, first: str) -> None:
    model = ReleaseModel(blue_green(), replicas=replicas)
    operator = adopted(model)
    model.change(first, KINDS[first])
    play(operator, events, floor=False)
    if model.replicas == 0:
        model.scale(1)
    model.change("good", Kind())
    settle(operator)
    rest(model)
    settle(operator)
    assert model.resting, model.status.explanation
    assert {pod.fingerprint for pod in model.pods.values()} == {"good"}
    assert model.serving() == model.replicas


@THOROUGH
@example(events=[("change", 2), ("resume", 1)], replicas=1)
@given(
    events=st.lists(st.tuples(st.sampled_from(["run", "change", *DISTURBANCES]), st.integers(1, 6)), max_size=30),
    replicas=st.integers(1, 3),
)
def test_somebody_else_takes_no_pod_out_of_service(events: list[tuple[str, int]], replicas: int) -> None:
    """The operator passes once a second. Good templates only, for the Deployment controller lets any come through."""
    model = ReleaseModel(blue_green(), replicas=replicas)
    operator = adopted(model)
    served = replicas
    for kind, value in [*events, ("change", 1), ("run", 60)]:
        match kind:
            case "run":
                pass
            case "change":
                model.change(f"t{value % 3}", Kind(delay=value))
            case "zero and back":
                model.scale(0)
                run(operator, value)
                model.scale(replicas)
                served = 0
            case _:
                getattr(model, kind)()
        for _ in range(value if kind == "run" else 1):
            run(operator, 1)
            served = min(replicas, max(served, model.serving()))
            if model.serving() < served:
                raise Harm(f"{kind}: {model.serving()} of {served} serve at {model.status.rollout.step}")
    settle(operator)
    rest(model)
    settle(operator)
    assert model.resting and model.paused, model.status.explanation
    assert {pod.fingerprint for pod in model.pods.values()} == {model.wanted}
    assert ANNOTATION_FAILED not in model.notes and model.status.rollout.failure is None


def draining(**changes: Any) -> ResilientServiceSpec:
    """Clients are waited for, a second long, before pods end."""
    waits = {"quiet": {"http": {"path": "/connections", "port": "http", "json": "active"}}, "maxWait": "1s"}
    return blue_green(**changes).model_copy(update={"drain": make_spec(drain=waits).drain})


@THOROUGH
@given(
    events=st.lists(st.sampled_from(["run", "run", "resume", "undo", "drift"]), max_size=20),
    replicas=st.integers(2, 3),
)
def test_a_version_that_fails_late_keeps_no_clients_whoever_resumed_it(events: list[str], replicas: int) -> None:
    # Green has all traffic for a while; the Deployment controller makes pods of the same template beside it.
    model = ReleaseModel(draining(before=None, blueGreen={"warmPeriod": "10s"}), replicas=replicas)
    operator = adopted(model)
    model.change("bad1", Kind(bad=True))
    while model.green is None or model.green.step is not ReleaseStep.WARM:
        run(operator, 1)
    model.resume()
    run(operator, 1)
    for event in events:
        run(operator, 1) if event == "run" else getattr(model, event)()
    settle(operator)
    rest(model)
    settle(operator)
    bad = {name for name, pod in model.pods.items() if pod.fingerprint == "bad1"}
    listed = {endpoint.pod_name for endpoint in model.slices if endpoint.counts}
    # Resumed again and again it rolls by itself, and serves in the end.
    stayed = model.status.rollout.serving == Version(hash=model.shown("bad1"), image="shop:bad1")
    assert stayed or not listed & bad
    assert len(listed) >= replicas
    model.change("good", Kind())
    settle(operator)
    rest(model)
    settle(operator)
    assert model.resting and {pod.fingerprint for pod in model.pods.values()} == {"good"}


@THOROUGH
@given(events=st.lists(st.one_of(PASSES, PEOPLE), max_size=40), replicas=st.integers(1, 3))
def test_a_pass_repeated_says_nothing_new(events: list[Any], replicas: int) -> None:
    model = ReleaseModel(blue_green(), replicas=replicas)
    operator = adopted(model)
    play(operator, events, floor=True)
    settle(operator)
    decision = operator.reconcile()
    assert decision.actions == ()
    assert decision.events == ()
    assert decision.status is not None and not is_worth_writing(model.status, decision.status)
