"""Properties of a restart over random orders of events, on a model of a cluster (tests/support/model.py)."""

import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilience.api.reasons import HealthState, ReplaceStep, RestartOutcome
from resilience.api.status import HistoryEntry, Status
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model import requests
from resilience.core.model.observation import Budget, Observation, Resource
from resilience.core.reconcile import decide
from resilience.core.report.diff import is_worth_writing
from tests.support.factories import (
    LONG_AGO,
    NOW,
    make_check,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_service,
    make_spec,
    make_view,
    make_workload,
)
from tests.support.model import Model, Operator, stored

THOROUGH = settings(
    max_examples=2000 if os.environ.get("PROOF") else 25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

EVENTS = st.one_of(
    st.tuples(st.just("pass"), st.one_of(st.none(), st.integers(0, 3))),
    st.tuples(st.just("stale"), st.integers(1, 4)),
    st.tuples(st.just("work"), st.sampled_from(["deployment", "replica_sets", "kubelets", "endpoints", "tick"])),
    st.tuples(st.just("wait"), st.integers(0, 4)),
    st.tuples(st.just("run"), st.integers(1, 12)),
)
FAULTS = st.one_of(
    st.tuples(st.just("die"), st.integers(0, 5)),
    st.tuples(st.just("hang"), st.integers(0, 5)),
    st.tuples(st.just("scale"), st.integers(0, 4)),
    st.tuples(st.just("release"), st.just(0)),
    st.tuples(st.just("restart"), st.integers(0, 3)),
    st.tuples(st.just("abort"), st.integers(0, 3)),
)


def play(operator: Operator, events: list[tuple[str, int | str | None]]) -> None:
    """Runs the events; every write of the operator is checked for harm by the model."""
    model, past = operator.model, [operator.model.observe()]
    for kind, value in events:
        match kind, value:
            case "pass", dies_after:
                operator.reconcile(dies_after=dies_after if isinstance(dies_after, int) else None)
            case "stale", int(age):
                operator.reconcile(seen=past[-min(age, len(past))])
            case "work", str(name):
                getattr(model, name)()
            case "run", int(times):
                for _ in range(times):
                    model.now += timedelta(seconds=1)
                    model.tick()
                    operator.reconcile()
            case "wait", int(seconds):
                model.now += timedelta(seconds=seconds, milliseconds=300)
            case (("die" | "hang" | "scale"), int(number)):
                getattr(model, kind)(number)
            case "release", _:
                model.release()
            case _:
                model.ask(kind, f"request {value}")
        past.append(model.observe())


def rest(model: Model) -> None:
    """The cluster goes on without the operator until all has come to its end."""
    for _ in range(12):
        model.now += timedelta(seconds=1)
        model.tick()


def restarting(model: Model) -> Operator:
    model.ask("restart", "now")
    return Operator(model)


@THOROUGH
@given(
    events=st.lists(st.one_of(EVENTS, EVENTS, FAULTS), min_size=5, max_size=80),
    replicas=st.integers(1, 4),
    surge=st.integers(1, 3),
    delays=st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=1, max_size=4),
)
def test_no_write_of_the_operator_costs_a_client(
    events: list[Any], replicas: int, surge: int, delays: list[int | None]
) -> None:
    spec = make_spec(restart={"surge": surge}, rollout={"progressDeadline": "10s"})

    play(restarting(Model(spec, replicas=replicas, delays=delays)), events)


@THOROUGH
@given(
    events=st.lists(EVENTS, max_size=60),
    replicas=st.integers(1, 4),
    surge=st.integers(1, 3),
    delays=st.lists(st.integers(0, 6), min_size=1, max_size=3),
)
def test_every_restart_ends_with_each_pod_replaced_exactly_once(
    events: list[Any], replicas: int, surge: int, delays: list[int]
) -> None:
    model = Model(make_spec(restart={"surge": surge}), replicas=replicas, delays=delays)
    before = set(model.pods)
    operator = restarting(model)

    play(operator, events)
    operator.settle()
    rest(model)

    assert not before & set(model.pods)
    assert model.made == 2 * replicas
    assert model.serving() == len(model.pods) == replicas
    assert [entry.result for entry in model.status.history] == [RestartOutcome.SUCCEEDED]


@THOROUGH
@given(
    events=st.lists(st.one_of(EVENTS, EVENTS, FAULTS), max_size=60),
    replicas=st.integers(1, 4),
    surge=st.integers(1, 3),
)
def test_whatever_happens_nothing_stays_half_done(events: list[Any], replicas: int, surge: int) -> None:
    spec = make_spec(restart={"surge": surge}, rollout={"progressDeadline": "20s"})
    model = Model(spec, replicas=replicas, delays=[1])
    operator = restarting(model)

    play(operator, events)
    # A current template that never serves is waited for, and people are told; here they mend it.
    model.mend()
    operator.settle()

    assert not model.retiring


@THOROUGH
@given(events=st.lists(EVENTS, max_size=60), replicas=st.integers(1, 4), surge=st.integers(1, 3))
def test_a_replacement_that_never_comes_up_leaves_all_as_before(events: list[Any], replicas: int, surge: int) -> None:
    model = Model(make_spec(restart={"surge": surge}, rollout={"progressDeadline": "30s"}), replicas=replicas)
    before = set(model.pods)
    model.delays = [None]
    operator = restarting(model)

    play(operator, events)
    operator.settle()
    rest(model)

    assert set(model.pods) == before
    assert model.serving() == replicas
    assert [entry.result for entry in model.status.history] == [RestartOutcome.FAILED]


@THOROUGH
@given(events=st.lists(st.one_of(EVENTS, FAULTS), max_size=60), replicas=st.integers(1, 3))
def test_a_pass_repeated_says_nothing_new(events: list[Any], replicas: int) -> None:
    model = Model(make_spec(), replicas=replicas)
    operator = restarting(model)
    play(operator, events)

    resource, seen = model.resource(), model.observe()
    first = decide(resource, seen, model.now)
    assert first.status is not None
    resource = replace(resource, status=stored(first.status))
    if requests.pending(resource.annotations, resource.status, "restart"):  # type: ignore[arg-type]
        return
    second = decide(resource, seen, model.now)

    assert second.status is not None
    assert not is_worth_writing(resource.status, second.status)


@THOROUGH
@given(replicas=st.integers(0, 4), delays=st.lists(st.integers(0, 3), min_size=1))
def test_a_converged_state_yields_no_action_and_no_write(replicas: int, delays: list[int]) -> None:
    model = Model(make_spec(), replicas=replicas, delays=delays)
    operator = restarting(model)
    operator.settle()
    rest(model)
    operator.reconcile()

    decision = decide(model.resource(), model.observe(), model.now + timedelta(minutes=3))

    assert decision.actions == ()
    assert decision.events == ()
    assert decision.requeue_after is None
    assert decision.status is not None and not is_worth_writing(model.status, decision.status)


DURATIONS = st.sampled_from(["0s", "1ms", "900ms", "1s", "1.5s", "90s", "5m", "999999h"])
PORTS = st.one_of(st.sampled_from(["http", "grpc", "none"]), st.integers(1, 65535))
TEXT = st.sampled_from(["ready", "live", "x"])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any subset of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


CHECK = st.builds(
    lambda name, scope, kind: {"name": name, "scope": scope} | kind,
    TEXT,
    st.sampled_from(["Service", "Pod"]),
    st.one_of(
        st.builds(lambda port: {"http": {"path": "/", "port": port}}, PORTS),
        st.builds(lambda port: {"tcp": {"port": port}}, PORTS),
        st.builds(lambda port, name: {"grpc": {"port": port, "service": name}}, PORTS, st.sampled_from(["", "a"])),
        st.just({"http": {"path": "/", "expectStatus": [200]}}),
    ),
)
PROBE = st.builds(lambda name: {"check": name}, TEXT)
SPECS = st.builds(
    lambda rest, kind: make_spec(targetRef={"kind": kind, "name": "checkout"}, **rest),
    some(
        profile=st.sampled_from(["Development", "Test", "Production"]),
        suspend=st.booleans(),
        container=st.sampled_from(["app", "other"]),
        service=st.one_of(st.none(), st.builds(lambda port: {"name": "checkout", "port": port}, PORTS)),
        health=some(interval=DURATIONS, timeout=DURATIONS, checks=st.lists(CHECK, max_size=3)),
        probes=some(management=st.sampled_from(["Managed", "Observe"]), readiness=PROBE, startup=PROBE, liveness=PROBE),
        drain=some(
            preStop=DURATIONS,
            gracePeriod=DURATIONS,
            propagationDelay=DURATIONS,
            maxWait=DURATIONS,
            signal=st.builds(lambda port: {"http": {"path": "/", "port": port}}, PORTS),
            quiet=st.builds(lambda port: {"http": {"path": "/", "port": port, "json": "a"}}, PORTS),
        ),
        verify=some(requestsPerSecond=st.integers(1, 200)),
        rollout=some(progressDeadline=DURATIONS),
        restart=some(surge=st.integers(1, 50)),
    ),
    st.sampled_from([kind.value for kind in TargetKind]),
)
PODS = st.lists(
    st.builds(
        lambda number, step, ready, deleting, since: (
            make_pod(f"p{number}", ready=ready, deleting=deleting)
            if step is None
            else replace(make_retiring(f"p{number}", step, ready=ready, deleting=deleting), step_since=since)
        ),
        st.integers(0, 9),
        st.one_of(st.none(), st.sampled_from(list(ReplaceStep))),
        st.booleans(),
        st.booleans(),
        st.sampled_from([None, LONG_AGO, NOW]),
    ),
    max_size=5,
    unique_by=lambda pod: pod.uid,
)


@THOROUGH
@given(data=st.data(), spec=SPECS, pods=PODS)
def test_decide_answers_for_every_spec_and_everything_seen(data: st.DataObject, spec: Any, pods: list[Any]) -> None:
    workload = make_workload(
        replicas=data.draw(st.integers(0, 4)),
        updated=data.draw(st.integers(0, 4)),
        available=data.draw(st.integers(0, 4)),
        kind=spec.target_ref.kind,
    )
    view = make_view(*pods, budgets=data.draw(st.sampled_from([(), (Budget("b", 9, 0),)])))
    services = data.draw(st.sampled_from([(), (make_service(),), (make_service(cluster_ip="", selector={"a": "b"}),)]))
    seen: Observation = make_seen(
        view=view,
        quiet=data.draw(st.booleans()),
        workload=data.draw(st.sampled_from([workload, workload, workload, None])),
        services=services,
        checks=data.draw(st.sampled_from([{}, {"ready": make_check(state=HealthState.UNHEALTHY)}])),
    )
    resource: Resource = make_resource(
        spec,
        annotations=data.draw(
            some(**{f"resilience.dev/{name}-requested-at": st.just("x") for name in ("restart", "abort", "adopt")})
        ),
        deleting_since=data.draw(st.sampled_from([None, None, NOW])),
    )

    for now in (NOW, NOW + timedelta(seconds=5), NOW + timedelta(days=2)):
        decision = decide(resource, seen, now)
        if decision.status is not None:
            status = stored(decision.status)
            assert not is_worth_writing(status, decision.status)
            resource = replace(resource, status=status)


def test_the_history_is_bounded() -> None:
    entry = HistoryEntry(at=NOW, kind="Restart", result="Succeeded")
    status = Status(observed_generation=1, history=[entry] * 20)
    model = Model(make_spec(), status=status)

    restarting(model).settle()

    assert len(model.status.history) == 20
    assert model.status.history[-1].at > NOW


@pytest.mark.parametrize("step", [ReplaceStep.REPLACING, ReplaceStep.DELETING])
def test_the_guard_is_asked_again_just_before_a_pod_is_touched(step: ReplaceStep) -> None:
    model = Model(make_spec())
    operator = restarting(model)
    while not model.retiring:
        model.now += timedelta(seconds=1)
        operator.reconcile()
    model.retiring[0].step = step
    rest(model)
    before = model.observe()
    for pod in model.pods.values():
        if pod.step is None and pod.name != "pod-4":
            model.hang(list(model.pods).index(pod.name))

    decision = operator.reconcile(seen=before)

    assert decision.actions
    assert model.retiring[0].step is step and model.retiring[0].gone_at is None
