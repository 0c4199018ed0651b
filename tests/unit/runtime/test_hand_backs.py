"""Handing back over an API server in memory: without a readable spec, without a resource, in a namespace that ends."""

import asyncio
from typing import Any, Final, cast

import pytest

from resilience.adapters.kube import parse
from resilience.api.names import (
    ANNOTATION_CLAIM,
    ANNOTATION_DEADLINE,
    ANNOTATION_PINNED,
    ANNOTATION_SERVING,
    FINALIZER,
    LABEL_MANAGED,
)
from resilience.core.model.observation import Key, Observation, Resource
from resilience.ports import (
    NamespaceEnding,
    Refused,
    Unavailable,
)
from resilience.runtime.orphans import Orphans
from resilience.runtime.uninstall import Uninstaller
from tests.support.factories import KEY
from tests.support.memory_api import MemoryApi
from tests.support.operator_bench import OperatorBench
from tests.support.virtual_time import VirtualClock, run_virtual
from tests.variety import manifests
from tests.variety.manifests import Object

NAMESPACE: Final = f"/api/v1/namespaces/{KEY.namespace}"
APPS: Final = f"/apis/apps/v1/namespaces/{KEY.namespace}"
RESOURCES: Final = f"/apis/resilience.dev/v1alpha1/namespaces/{KEY.namespace}/resilientservices"
TARGET: Final = f"{APPS}/deployments/checkout"
OURS: Final = f"{KEY.name}/resource-uid"
TEMPLATE: Final = "containers: [{name: app, image: 'shop:1', ports: [{name: http, containerPort: 8080}]}]"
READABLE: Final = {"rollout": {"strategy": "BlueGreen"}}
# A part cannot be read: a strategy of a later version.
IN_PART: Final = {"rollout": {"strategy": "Canary"}}
# Each cannot be read: a profile of a later version; no target that can be read; no target at all.
UNREADABLE: Final[dict[str, Object]] = {
    "profile": READABLE | {"profile": "Later"},
    "target": READABLE | {"targetRef": {"kind": "Rollout", "name": "checkout"}},
    "no target": READABLE | {"targetRef": None},
}


def resource(spec: Object, *, deleted: bool = True, name: str = KEY.name, uid: str = "resource-uid") -> Object:
    """A resource as the API server has it, with our finalizer."""
    usual = {
        "targetRef": {"kind": "Deployment", "name": name},
        "service": {"name": name, "port": "http"},
        "probes": {"management": "Observe"},
    }
    meta = {
        "namespace": KEY.namespace,
        "name": name,
        "uid": uid,
        "resourceVersion": "3",
        "generation": 3,
        "finalizers": [FINALIZER],
    }
    deletion = {"deletionTimestamp": "2026-03-01T12:00:00Z"} if deleted else {}
    return {"metadata": meta | deletion, "spec": usual | spec, "status": {"observedGeneration": 2, "handled": []}}


def adopted(name: str = KEY.name, *, claim: str = OURS) -> dict[str, Object]:
    """A Deployment at rest that is held paused under this claim, and what is around it."""
    made = manifests.template(TEMPLATE)
    serving = manifests.read_workload(manifests.deployment(made)).template.fingerprint
    notes = {ANNOTATION_SERVING: serving, ANNOTATION_CLAIM: claim, ANNOTATION_DEADLINE: "600"}
    deployment = manifests.deployment(made, annotations=notes, paused=True, progressDeadlineSeconds=2147483647)
    deployment["metadata"] |= {"name": name, "uid": "workload-uid" if name == KEY.name else f"uid-{name}"}
    if name != KEY.name:
        return {f"{APPS}/deployments/{name}": deployment}
    sets = manifests.replica_set(made)
    sets["metadata"]["labels"] = dict(made["metadata"]["labels"])
    return {
        TARGET: deployment,
        f"{APPS}/replicasets/checkout-1": sets,
        f"{NAMESPACE}/services/checkout": manifests.service("http"),
        **{f"{NAMESPACE}/pods/{pod}": manifests.pod(made, pod) for pod in "ab"},
    }


class Bench(OperatorBench):
    """The product's own parts over an API server with these objects."""

    def __init__(self, held: dict[str, Object], **settings: Any) -> None:
        super().__init__(MemoryApi(held), **settings)
        self.said: list[str] = []
        parts: Any = {
            "cluster": self.cluster,
            "observer": self.observer,
            "executor": self.executor,
            "clock": VirtualClock(),
        }
        self.orphans = Orphans(**parts, store=self.state.store)
        self.uninstaller = Uninstaller(**parts, say=self.said.append)

    async def work(self, seconds: float) -> None:
        """The controller works on the key for so long."""
        self.queue.add(KEY)
        working = asyncio.create_task(self.controller.run(1))
        await asyncio.sleep(seconds)
        working.cancel()
        await asyncio.wait([working])

    async def passes(self, count: int = 6, key: Key = KEY) -> None:
        for _ in range(count):
            await self.controller.reconcile(key)

    def __getitem__(self, path: str) -> Object:
        return cast(Object, self.api.held[path])

    @property
    def held_by(self) -> list[str]:
        return list(self[f"{RESOURCES}/checkout"]["metadata"]["finalizers"])


def is_handed_back(deployment: Object) -> bool:
    notes = deployment["metadata"]["annotations"]
    ours = (ANNOTATION_CLAIM, ANNOTATION_SERVING, ANNOTATION_DEADLINE)
    is_unmarked = not any(note in notes for note in ours) and LABEL_MANAGED not in deployment["metadata"]["labels"]
    return is_unmarked and "paused" not in deployment["spec"] and deployment["spec"]["progressDeadlineSeconds"] == 600


@pytest.mark.parametrize("spec", [READABLE, IN_PART, *UNREADABLE.values()], ids=["readable", "in part", *UNREADABLE])
def test_what_is_claimed_is_handed_back_whatever_the_spec_says(spec: Object) -> None:
    async def main() -> None:
        bench = Bench({f"{RESOURCES}/checkout": resource(spec), **adopted()})
        await bench.passes()
        assert is_handed_back(bench[TARGET])
        assert bench.held_by == []
        assert LABEL_MANAGED not in bench[f"{NAMESPACE}/services/checkout"]["metadata"]["labels"]

    run_virtual(main())


def test_of_two_targets_both_are_handed_back_before_the_finalizer_goes() -> None:
    async def main() -> None:
        spec = UNREADABLE["profile"] | {"targetRef": {"kind": "Deployment", "name": "moved"}}
        bench = Bench({f"{RESOURCES}/checkout": resource(spec), **adopted(), **adopted("moved")})
        seen = []
        for _ in range(8):
            await bench.controller.reconcile(KEY)
            done = [is_handed_back(bench[path]) for path in (TARGET, f"{APPS}/deployments/moved")]
            seen.append((all(done), bench.held_by))
        assert seen[-1] == (True, [])
        assert all(finalizers for done, finalizers in seen if not done)

    run_virtual(main())


def test_a_resource_that_never_could_be_read_touches_nothing() -> None:
    async def main() -> None:
        plain = adopted(claim="somebody/else")
        bench = Bench({f"{RESOURCES}/checkout": resource(UNREADABLE["target"]), **plain})
        await bench.passes(2)
        assert bench.held_by == [] and bench.api.sent == [("patch", f"{RESOURCES}/checkout")]

    run_virtual(main())


def test_a_claim_that_cannot_be_looked_for_keeps_the_finalizer() -> None:
    async def main() -> None:
        bench = Bench({f"{RESOURCES}/checkout": resource(UNREADABLE["target"]), **adopted()})
        bench.api.fails[f"{APPS}/daemonsets"] = Refused("forbidden")
        with pytest.raises(Refused):
            await bench.controller.reconcile(KEY)
        assert bench.held_by == [FINALIZER]

    run_virtual(main())


@pytest.mark.parametrize("base", [{"app": "checkout"}, {"app": "other"}], ids=["of the target", "of another one"])
def test_the_pin_of_a_target_that_is_gone_goes_too(base: dict[str, str]) -> None:
    async def main() -> None:
        service = manifests.service("http", annotations={ANNOTATION_PINNED: "true"})
        service["spec"]["selector"] = base | {"pod-template-hash": "5d4c"}
        other = adopted("other", claim="other/uid")
        other[f"{APPS}/deployments/other"]["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
        bench = Bench({f"{RESOURCES}/checkout": resource(READABLE), f"{NAMESPACE}/services/checkout": service, **other})
        await bench.passes(2)
        left = bench[f"{NAMESPACE}/services/checkout"]
        # The other one's release goes on.
        is_ours = base["app"] == "checkout"
        assert ("pod-template-hash" in left["spec"]["selector"]) is not is_ours
        assert (ANNOTATION_PINNED in left["metadata"]["annotations"]) is not is_ours
        assert bench.held_by == []

    run_virtual(main())


@pytest.mark.parametrize("spec", [READABLE, IN_PART, *UNREADABLE.values()], ids=["readable", "in part", *UNREADABLE])
def test_uninstalling_needs_no_spec_either(spec: Object) -> None:
    async def main() -> None:
        bench = Bench({f"{RESOURCES}/checkout": resource(spec, deleted=False), **adopted()})
        assert await bench.uninstaller.run(patience=60) == []
        assert is_handed_back(bench[TARGET])
        assert bench.held_by == [] and bench.said

    run_virtual(main())


def test_uninstalling_hands_back_a_claim_whose_finalizer_somebody_took_off() -> None:
    async def main() -> None:
        left = resource(READABLE, deleted=False)
        left["metadata"]["finalizers"] = []
        bench = Bench({f"{RESOURCES}/checkout": left, **adopted()})
        assert await bench.uninstaller.run(patience=60) == []
        assert is_handed_back(bench[TARGET])

    run_virtual(main())


def test_uninstalling_hands_orphans_back() -> None:
    async def main() -> None:
        bench = Bench(adopted())
        assert await bench.uninstaller.run(patience=60) == []
        assert is_handed_back(bench[TARGET])

    run_virtual(main())


def test_an_orphan_is_handed_back_and_told_of_once() -> None:
    async def main() -> None:
        bench = Bench(adopted())
        await bench.passes()
        assert is_handed_back(bench[TARGET])
        (event,) = bench.api.events
        assert event["reason"] == "GivenBack" and "finalizer" in event["note"] and "checkout" in event["note"]

    run_virtual(main())


@pytest.mark.parametrize(
    ("other", "taken"),
    [
        # One of the same name that was made anew; one of another name that is about to take the claim.
        (resource(READABLE, deleted=False, uid="new"), True),
        (resource(READABLE | {"targetRef": {"kind": "Deployment", "name": "checkout"}}, deleted=False, name="x"), True),
        (resource(READABLE, deleted=False, name="x"), False),
        (resource(UNREADABLE["profile"], deleted=False, uid="new"), False),
        (resource(IN_PART, deleted=False, uid="new"), True),
    ],
    ids=["made anew", "another one of this target", "one of another target", "unreadable", "unreadable in part"],
)
def test_an_orphan_that_somebody_takes_over_is_left_alone(other: Object, taken: bool) -> None:
    async def main() -> None:
        name = other["metadata"]["name"]
        bench = Bench({f"{RESOURCES}/{name}": other, **adopted()})
        bench.state.store.put_claim(*_checkout(), claimant="checkout")
        for _ in range(6):
            await bench.orphans.run(KEY)
        assert is_handed_back(bench[TARGET]) is not taken

    run_virtual(main())


def _checkout() -> Any:
    workload = manifests.read_workload(adopted()[TARGET])
    return workload.kind, workload.namespace, workload.name


def test_a_live_resource_keeps_what_it_has_claimed_though_it_cannot_be_read() -> None:
    async def main() -> None:
        for spec in (IN_PART, *UNREADABLE.values()):
            bench = Bench({f"{RESOURCES}/checkout": resource(spec, deleted=False), **adopted()})
            bench.state.store.put_claim(*_checkout(), claimant="checkout")
            await bench.passes(3)
            await bench.orphans.run(KEY)
            assert bench[TARGET]["spec"]["paused"] and ANNOTATION_CLAIM in bench[TARGET]["metadata"]["annotations"]
            assert all(event["reason"] != "GivenBack" for event in bench.api.events)

    run_virtual(main())


def test_the_target_that_a_resource_left_behind_is_handed_back_while_it_looks_after_another() -> None:
    async def main() -> None:
        moved = resource(READABLE | {"targetRef": {"kind": "Deployment", "name": "moved"}}, deleted=False)
        bench = Bench({f"{RESOURCES}/checkout": moved, **adopted(), **adopted("moved")})
        bench.state.store.put_claim(*_checkout(), claimant="checkout")
        await bench.passes(8)
        assert is_handed_back(bench[TARGET])
        assert bench[f"{APPS}/deployments/moved"]["metadata"]["annotations"][ANNOTATION_CLAIM] == OURS

    run_virtual(main())


@pytest.mark.parametrize("error", [Unavailable("no answer"), Refused("forbidden")], ids=["unavailable", "refused"])
def test_an_orphan_is_no_orphan_while_the_resources_cannot_be_listed(error: Any) -> None:
    async def main() -> None:
        bench = Bench(adopted())
        # The resource itself was read as gone; the list is not to be had.
        bench.api.fails[RESOURCES] = error
        with pytest.raises(type(error)):
            await bench.orphans.hand_back(KEY)
        assert bench.api.sent == []

    run_virtual(main())


ENDING: Final = {NAMESPACE: {"metadata": {"name": KEY.namespace, "deletionTimestamp": "2026-03-01T12:00:00Z"}}}
STANDING: Final = {NAMESPACE: {"metadata": {"name": KEY.namespace}}}


@pytest.mark.parametrize("spec", [READABLE, UNREADABLE["target"]], ids=["readable", "unreadable"])
def test_in_a_namespace_that_ends_only_the_finalizer_is_taken_off(spec: Object) -> None:
    async def main() -> None:
        bench = Bench({f"{RESOURCES}/checkout": resource(spec), **adopted(), **ENDING})
        # The Role went first: nothing can be read but the resource and the namespace.
        bench.api.fails |= {f"{APPS}/*": Refused("forbidden"), f"{NAMESPACE}/*": Refused("forbidden")}
        await bench.controller.reconcile(KEY)
        assert bench.held_by == [] and bench.api.sent == [("patch", f"{RESOURCES}/checkout")]

    run_virtual(main())


def test_without_the_right_to_read_namespaces_everything_is_handed_back_as_ever() -> None:
    async def main() -> None:
        bench = Bench({f"{RESOURCES}/checkout": resource(READABLE), **adopted()})
        bench.api.fails[NAMESPACE] = Refused("forbidden")
        await bench.passes()
        assert is_handed_back(bench[TARGET]) and bench.held_by == []

    run_virtual(main())


@pytest.mark.parametrize("namespace", [ENDING, STANDING], ids=["ending", "standing"])
def test_nothing_is_written_while_the_pods_of_an_ending_namespace_go(namespace: dict[str, Object]) -> None:
    async def main() -> None:
        bench = Bench({f"{RESOURCES}/checkout": resource(READABLE, deleted=False), **adopted(), **namespace})
        bench[TARGET]["status"]["availableReplicas"] = 0
        await bench.controller.reconcile(KEY)
        assert bool(bench.api.sent) is (namespace is STANDING)

    run_virtual(main())


def test_a_creation_that_an_ending_namespace_refuses_is_no_error_and_ends_the_writes() -> None:
    async def main() -> None:
        bench = Bench({f"{RESOURCES}/checkout": resource(READABLE, deleted=False), **adopted(), **STANDING})
        bench.api.fails[TARGET] = NamespaceEnding("being terminated")
        await bench.work(0.1)
        assert set(bench.metrics.results) == {"conflict"}
        bench.api.held |= ENDING
        bench.api.sent.clear()
        bench.api.fails.clear()
        await bench.passes(2)
        assert bench.api.sent == []

    run_virtual(main())


def test_in_a_refused_namespace_the_finalizer_is_left_to_the_operator_that_looks_after_it() -> None:
    async def main() -> None:
        bench = Bench({f"{RESOURCES}/checkout": resource(READABLE), **adopted()}, refused=lambda name: True)
        await bench.passes(3)
        assert bench.api.sent == [] and bench.held_by == [FINALIZER]
        # Nobody did.
        bench[f"{RESOURCES}/checkout"]["metadata"]["deletionTimestamp"] = "2026-02-28T12:00:00Z"
        await bench.passes(1)
        assert bench.held_by == [] and bench[TARGET]["spec"]["paused"]

    run_virtual(main())


@pytest.mark.parametrize("spec", [READABLE, UNREADABLE["profile"]], ids=["readable", "unreadable"])
def test_where_rights_may_end_with_the_namespace_no_finalizer_stays(spec: Object) -> None:
    async def main() -> None:
        before = Bench({f"{RESOURCES}/checkout": resource(spec, deleted=False), **adopted()}, finalizers=False)
        await before.passes(3)
        assert before.held_by == [] and before[TARGET]["spec"]["paused"]

    run_virtual(main())


def test_what_had_no_finalizer_is_handed_back_by_its_last_spec() -> None:
    async def main() -> None:
        bench = Bench(adopted(), finalizers=False)
        seen: list[Any] = []
        observe = bench.orphans._observer.observe

        async def observing(found: Resource, **how: Any) -> Observation:
            seen.append(found.spec)
            return await observe(found, **how)

        last = resource(READABLE | {"drain": {"signal": {"http": {"path": "/drain", "port": "admin"}}}}, deleted=False)
        bench.state.store.put_deleted(parse.resource(last))
        bench.orphans._observer.observe = observing  # type: ignore[method-assign, assignment]
        for _ in range(6):
            await bench.orphans.run(KEY)
        assert is_handed_back(bench[TARGET])
        assert seen and all(spec.drain.signal is not None for spec in seen)
        assert bench.state.store.deleted(KEY) is None

    run_virtual(main())


def test_rights_that_went_with_the_namespace_are_no_error_once_the_watch_has_seen_the_end() -> None:
    async def main() -> None:
        bench = Bench({}, finalizers=False)
        bench.api.fails["*"] = Refused("forbidden")
        await bench.work(0.1)
        assert bench.metrics.results == ["refused"]
        bench.state.store.put_deleted(parse.resource(resource(READABLE, deleted=False)))
        await bench.work(60)
        assert bench.metrics.results == ["refused", "ok"]

    run_virtual(main())
