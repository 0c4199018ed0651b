"""The controller's loop with fake ports: what every kind of failure leads to, and what is written when."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import pytest

from resilience.api.names import ANNOTATION_CLAIM
from resilience.api.reasons import ReplaceStep
from resilience.api.status import Status
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.decision import Event
from resilience.core.model.observation import Key, PodsView, Resource
from resilience.core.model.service import Endpoint, Service
from resilience.core.model.workload import Workload
from resilience.ports import (
    ApiOutage,
    Conflict,
    Drainer,
    Metrics,
    PortError,
    Refused,
    Secrets,
    Unavailable,
)
from resilience.ports.cluster import Cluster, Marked, View
from resilience.runtime.alerting.dispatcher import Dispatcher
from resilience.runtime.controller import Controller
from resilience.runtime.executor import Executor
from resilience.runtime.observer import Observer
from resilience.runtime.queue import KeyQueue
from resilience.runtime.resync import Resync
from tests.support.factories import (
    KEY,
    LONG_AGO,
    NOW,
    make_endpoint,
    make_pod,
    make_resource,
    make_retiring,
    make_service,
    make_spec,
    make_view,
    make_workload,
)
from tests.support.model import stored
from tests.support.operator_bench import Calm, RecordedMetrics, make_state
from tests.support.protocols import checked
from tests.support.virtual_time import VirtualClock, run_virtual

OTHER = Key("shop", "other")


@dataclass(slots=True)
class FakeCluster:
    """One namespace; `fails` raises in the method of that name; `calls` tells what was written, in order."""

    found: dict[Key, Resource]
    target: Workload
    view: PodsView
    fails: dict[str, Exception] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    ending: set[str] = field(default_factory=set)
    # By the time that policies are read again somebody has made one that selects pods by these labels.
    policies: frozenset[str] = frozenset()

    def _do(self, name: str, log: list[str]) -> None:
        log.append(name)
        if name in self.fails:
            raise self.fails[name]

    async def resource(self, key: Key) -> Resource | None:
        self._do(f"resource {key.name}", self.reads)
        return self.found.get(key)

    async def resources(self, view: Callable[[Resource], View], *, namespace: str | None = None) -> Sequence[View]:
        self._do("resources", self.reads)
        return [view(resource) for resource in self.found.values()]

    async def workload(self, *, kind: TargetKind, namespace: str, name: str) -> Workload | None:
        self._do("workload", self.reads)
        return self.target

    async def claimed(self, *, namespace: str | None = None) -> Sequence[Workload]:
        self._do("claimed", self.reads)
        return [self.target] if ANNOTATION_CLAIM in self.target.annotations else []

    async def namespace_ending(self, name: str) -> bool:
        self._do("namespace", self.reads)
        return name in self.ending

    async def services(self, namespace: str) -> Sequence[Service]:
        return [make_service()]

    async def endpoints(self, *, namespace: str, services: Sequence[str]) -> Sequence[Endpoint]:
        return [make_endpoint(pod) for pod in self.view.pods if pod.labels.get("app") == "checkout"]

    async def pods_view(self, workload: Workload, *, releases: bool, limits: bool) -> PodsView:
        self._do("pods", self.reads)
        return self.view

    def forget_policies(self, namespace: str) -> None:
        self.view = replace(self.view, policy_labels=self.policies)

    async def write_status(self, resource: Resource, status: Status) -> Resource:
        self._do("status", self.calls)
        self.found[resource.key] = replace(resource, status=stored(status))
        return self.found[resource.key]

    async def emit(self, resource: Resource, event: Event) -> None:
        self._do(f"event {event.reason}", self.calls)

    def __getattr__(self, name: str) -> Any:
        return checked(Cluster, name, lambda *_, **__: self._do(name, self.calls))


@dataclass(slots=True)
class Leading:
    held_until: int = 10**6
    asked: int = 0

    def held(self) -> bool:
        self.asked += 1
        return self.asked <= self.held_until


class FakeMetrics(RecordedMetrics):
    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[Key] = []

    def forget(self, key: Key) -> None:
        self.forgotten.append(key)


class _NoCouriers:
    async def resync(self) -> None:
        """There are no receivers."""


class Bench:
    """A controller over fakes; pods default to three that serve."""

    def __init__(self, *pods: Any, leading: Leading | None = None, **resource: Any) -> None:
        clock = VirtualClock()
        self.cluster = FakeCluster(
            {KEY: make_resource(**resource)}, make_workload(), make_view(*(pods or (make_pod(name) for name in "abc")))
        )
        cluster, self.metrics, self.leading = cast(Cluster, self.cluster), FakeMetrics(), leading or Leading()
        metrics = cast(Metrics, self.metrics)
        self.queue = KeyQueue(monotonic=clock.monotonic, workers=16)
        self.state = make_state(self.queue, clock, metrics)
        self.store = self.state.store
        drainer = cast(Drainer, None)
        observer = Observer(
            cluster=cluster,
            drainer=drainer,
            state=self.state,
            calm=cast(ApiOutage, Calm()),
            refused=lambda name: name == "kube-system",
        )
        self.controller = Controller(
            cluster=cluster,
            observer=observer,
            executor=Executor(
                cluster=cluster,
                observer=observer,
                drainer=drainer,
                secrets=cast(Secrets, None),
                leadership=self.leading,
                metrics=metrics,
                clock=clock,
                replays=self.state.replays,
            ),
            state=self.state,
            leadership=self.leading,
            metrics=metrics,
            clock=clock,
        )
        self.resync = Resync(
            cluster=cluster,
            marked=self._marked,
            controller=self.controller,
            state=self.state,
            couriers=cast(Dispatcher, _NoCouriers()),
            interval=timedelta(minutes=5),
            monotonic=clock.monotonic,
        )

    async def _marked(self) -> Marked:
        return Marked(services=tuple(await self.cluster.services("shop")), slices=frozenset(), flags={})

    async def run(self, seconds: float) -> None:
        """The controller works for so long."""
        working = asyncio.create_task(self.controller.run(1))
        await asyncio.sleep(seconds)
        working.cancel()
        await asyncio.wait([working])


def unmarked(bench: Bench) -> Bench:
    """The target has no label of ours yet: the next pass has something to write."""
    bench.cluster.target = make_workload(labels={})
    return bench


def test_status_is_written_before_anything_is_done_and_only_once() -> None:
    async def main() -> None:
        bench = unmarked(Bench())
        bench.queue.add(KEY)
        await bench.run(0.1)
        assert bench.cluster.calls[0] == "status"
        assert "claim" in bench.cluster.calls[1:]
        bench.cluster.target = make_workload()
        await bench.run(5)
        bench.cluster.calls.clear()
        bench.queue.add(KEY)
        await bench.run(5)
        assert bench.cluster.calls == []

    run_virtual(main())


@pytest.mark.parametrize(
    ("error", "result", "again_within"),
    [
        (Conflict("changed"), "conflict", 0.5),
        (Refused("forbidden"), "refused", 11),
        (Unavailable("no answer"), "unavailable", 1),
        (RuntimeError("a bug"), "error", 1),
    ],
)
def test_each_failure_has_its_answer_and_is_tried_again(error: Exception, result: str, again_within: float) -> None:
    async def main() -> None:
        bench = unmarked(Bench())
        bench.cluster.fails["claim"] = error
        bench.queue.add(KEY)
        await bench.run(0.01)
        assert bench.metrics.results == [result]
        bench.cluster.fails.clear()
        await bench.run(again_within)
        assert bench.metrics.results[1] == "ok"

    run_virtual(main())


def test_what_was_refused_is_told_until_it_is_over() -> None:
    async def main() -> None:
        bench = unmarked(Bench())
        bench.cluster.fails["claim"] = Refused("forbidden by the administrators")
        bench.queue.add(KEY)
        await bench.run(15)
        assert "forbidden by the administrators" in bench.cluster.found[KEY].status.explanation
        bench.cluster.target = make_workload()
        bench.queue.add(KEY)
        await bench.run(30)
        assert "forbidden" not in bench.cluster.found[KEY].status.explanation

    run_virtual(main())


def test_the_trouble_of_one_service_stops_no_other() -> None:
    async def main() -> None:
        bench = Bench()
        bench.cluster.found[OTHER] = make_resource(key=OTHER, uid="other")
        bench.cluster.fails["resource other"] = RuntimeError("a bug")
        bench.queue.add(OTHER)
        bench.queue.add(KEY)
        await bench.run(1)
        assert {"error", "ok"} <= set(bench.metrics.results)

    run_virtual(main())


def test_an_event_that_is_lost_stops_nothing() -> None:
    async def main() -> None:
        bench = unmarked(Bench(annotations={"resilience.dev/abort-requested-at": "x"}))
        bench.cluster.fails["event RequestIgnored"] = Unavailable("no")
        bench.queue.add(KEY)
        await bench.run(0.01)
        assert bench.cluster.calls[-1] == "claim"

    run_virtual(main())


@pytest.mark.parametrize(("held_until", "written"), [(0, []), (1, ["status"]), (2, ["status"])])
def test_nothing_is_written_once_leadership_is_lost(held_until: int, written: list[str]) -> None:
    async def main() -> None:
        pod = make_retiring("old", ReplaceStep.DRAINING, labels={"app": "left"})
        pods = (pod, *(make_pod(name) for name in "abc"))
        bench = Bench(*pods, leading=Leading(held_until))
        bench.controller.requeue_thoroughly(KEY)
        await bench.run(0.01)
        assert bench.cluster.calls == written

    run_virtual(main())


@pytest.mark.parametrize(("policies", "result"), [(frozenset(), "ok"), (frozenset({"app"}), "conflict")])
def test_a_label_that_a_policy_has_begun_to_select_by_is_not_overwritten(policies: frozenset[str], result: str) -> None:
    async def main() -> None:
        pod = make_retiring("old", ReplaceStep.REPLACING)
        bench = Bench(pod, *(make_pod(name) for name in "abc"))
        bench.cluster.policies = policies
        bench.controller.requeue_thoroughly(KEY)
        await bench.run(0.01)
        assert bench.metrics.results[0] == result
        assert ("advance" in bench.cluster.calls) is (result == "ok")
        await bench.run(5)
        # Decided again, with the policy known.
        assert "advance" in bench.cluster.calls

    run_virtual(main())


def test_a_pod_left_half_done_is_finished_although_the_first_try_fails() -> None:
    async def main() -> None:
        pod = make_retiring("old", ReplaceStep.DRAINING, labels={"app": "left"})
        bench = Bench(pod, *(make_pod(name) for name in "abc"))
        bench.store.put_service(make_service())
        bench.store.put_slice(namespace="shop", name="s", service="checkout", endpoints=())
        bench.cluster.fails["delete_pod"] = Unavailable("no answer")
        bench.controller.requeue_thoroughly(KEY)
        await bench.run(0.01)
        bench.cluster.calls.clear()
        bench.cluster.fails.clear()
        await bench.run(2)
        assert "delete_pod" in bench.cluster.calls

    run_virtual(main())


def test_a_quiet_pass_reads_two_objects() -> None:
    async def main() -> None:
        bench = Bench()
        bench.store.put_service(make_service())
        bench.store.put_slice(namespace="shop", name="s", service="checkout", endpoints=())
        bench.queue.add(KEY)
        await bench.run(1.5)
        # The first pass writes status, and is followed by one that sees what comes of that.
        assert bench.cluster.reads == ["resource checkout", "workload"] * 2
        assert bench.cluster.calls.count("status") == 1

        bench.queue.add(KEY)
        await bench.run(5)
        assert bench.cluster.reads == ["resource checkout", "workload"] * 3

    run_virtual(main())


def test_what_is_missing_is_looked_for_again() -> None:
    async def main() -> None:
        bench = Bench(spec=make_spec(service={"name": "absent", "port": 80}))
        bench.queue.add(KEY)
        await bench.run(40)
        assert len(bench.metrics.results) >= 3

    run_virtual(main())


def test_services_that_select_by_a_pods_own_label_are_read_too() -> None:
    async def main() -> None:
        bench, asked = Bench(), []
        own = make_service("own", selector={"pod-template-hash": "5d4c"})

        async def services(namespace: str) -> list[Service]:
            return [make_service(), own]

        async def endpoints(*, namespace: str, services: Sequence[str]) -> list[Endpoint]:
            asked.append(sorted(services))
            return []

        observer = Observer(
            cluster=cast(Cluster, _With(bench.cluster, services=services, endpoints=endpoints)),
            drainer=cast(Drainer, None),
            state=bench.state,
            calm=cast(ApiOutage, Calm()),
            refused=lambda _: False,
        )
        await observer.observe(make_resource(), thorough=True)
        assert asked == [["checkout", "own"]]

    run_virtual(main())


@pytest.mark.parametrize(
    ("unread", "stops"),
    [({"selector": {"app": "checkout"}}, True), ({"selector": {"app": "cart"}}, False), ({"name": "checkout"}, True)],
    ids=["selects its pods", "selects other pods", "is the one of the specification"],
)
def test_a_service_that_cannot_be_read_stops_those_whom_it_concerns(unread: dict[str, Any], stops: bool) -> None:
    async def main() -> None:
        bench = Bench()

        async def services(namespace: str) -> list[Service]:
            return [make_service(), make_service(**{"name": "odd", "selector": {}} | unread, unread="odd")]

        bench.cluster = cast(FakeCluster, _With(bench.cluster, services=services))
        observer = Observer(
            cluster=cast(Cluster, bench.cluster),
            drainer=cast(Drainer, None),
            state=bench.state,
            calm=cast(ApiOutage, Calm()),
            refused=lambda _: False,
        )
        with pytest.raises(Unavailable) if stops else nullcontext():
            await observer.observe(make_resource(), thorough=True)

    run_virtual(main())


class _With:
    """A cluster with some methods replaced."""

    def __init__(self, cluster: FakeCluster, **methods: Any) -> None:
        self._cluster = cluster
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)


def test_a_resync_looks_at_all_and_forgets_what_is_gone() -> None:
    async def main() -> None:
        bench = Bench()
        bench.store.put_resource(make_resource(key=OTHER))
        await bench.resync.once(thorough=True)
        await bench.run(1)
        assert bench.store.keys() == {KEY}
        assert bench.metrics.forgotten == [OTHER]
        assert "pods" in bench.cluster.reads

    run_virtual(main())


def test_a_resync_that_fails_forgets_nothing() -> None:
    async def main() -> None:
        bench = Bench()
        bench.store.put_resource(make_resource(key=OTHER))
        bench.cluster.fails["resources"] = Unavailable("no")
        with pytest.raises(PortError):
            await bench.resync.once(thorough=False)
        assert bench.store.keys() == {OTHER}

    run_virtual(main())


def test_one_too_many_is_looked_after_when_an_older_one_goes() -> None:
    async def main() -> None:
        older = Key("shop", "older")
        bench = Bench()
        bench.store.most = 1
        bench.cluster.found[older] = make_resource(key=older, created=LONG_AGO - timedelta(days=1))
        for key in (older, KEY):
            bench.store.put_resource(bench.cluster.found[key])
        bench.queue.add(KEY)
        await bench.run(1)
        assert "TooMany" in {condition.reason for condition in bench.cluster.found[KEY].status.conditions}
        assert "workload" not in bench.cluster.reads and "claim" not in bench.cluster.calls
        # when
        del bench.cluster.found[older]
        bench.queue.add(older)
        await bench.run(3)
        # then
        assert "TooMany" not in {condition.reason for condition in bench.cluster.found[KEY].status.conditions}
        assert "workload" in bench.cluster.reads

    run_virtual(main())


def test_nothing_is_adopted_before_all_are_listed() -> None:
    async def main() -> None:
        bench = Bench()
        bench.cluster.target = make_workload(annotations={})
        bench.store.listed = False
        bench.queue.add(KEY)
        await bench.run(1)
        assert "claim" not in bench.cluster.calls and "conflict" in bench.metrics.results
        bench.store.listed = True
        await bench.run(1)
        assert "claim" in bench.cluster.calls

    run_virtual(main())


def test_a_refused_namespace_is_left_alone() -> None:
    async def main() -> None:
        key = Key("kube-system", "x")
        bench = Bench()
        bench.cluster.found[key] = make_resource(key=key)
        bench.queue.add(key)
        await bench.run(1)
        assert bench.cluster.found[key].status.conditions[2].reason == "NamespaceRefused"
        assert bench.cluster.calls[0] == "status" and "claim" not in bench.cluster.calls
        assert bench.cluster.found[key].status.conditions[2].last_transition_time >= NOW

    run_virtual(main())
