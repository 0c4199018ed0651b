"""Raw objects to views, selectors, the bodies of writes, and the Lease, over a transport in memory."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from resilience.adapters.kube import parse, parse_workload, selectors
from resilience.adapters.kube.api_outage import KubeApiOutage
from resilience.adapters.kube.lease import KubeLease
from resilience.adapters.kube.transport import APPLY_PATCH, STRATEGIC_PATCH, Transport
from resilience.adapters.kube.writer import KubeWriter
from resilience.api.reasons import ReplaceStep
from resilience.api.status import Status
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.decision import ApplyTemplate, DeletePod, GiveBack, TakeOver
from resilience.ports import Conflict, Unavailable
from tests.support.factories import LABELS, NOW, RS, make_pod, make_resource, make_workload
from tests.support.virtual_time import VirtualClock, run_virtual

META = {"namespace": "shop", "name": "checkout", "uid": "u", "resourceVersion": "7", "labels": LABELS}
OURS: dict[str, Any] = {
    "f:spec": {
        "f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:readinessProbe": {"f:tcpSocket": {}}}}}}
    }
}
THEIRS: dict[str, Any] = {
    "f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:lifecycle": {"f:postStart": {}}}}}}}
}


def deployment(**spec: Any) -> dict[str, Any]:
    container = {
        "name": "app",
        "image": "i",
        "readinessProbe": {"tcpSocket": {"port": 1}},
        "lifecycle": {"postStart": {}},
    }
    managed = [
        {"manager": "resilience-operator", "fieldsV1": OURS},
        {"manager": "helm", "fieldsV1": THEIRS},
        {"manager": "kube", "subresource": "status", "fieldsV1": OURS},
    ]
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}
    return {
        "metadata": META | {"generation": 3, "managedFields": managed},
        "spec": {"selector": {"matchLabels": LABELS}, "template": template} | spec,
        "status": {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3},
    }


def test_a_deployment_is_read_with_the_owners_of_its_fields() -> None:
    found = parse_workload.workload(TargetKind.DEPLOYMENT, deployment())

    container = found.template.containers[0]
    assert (found.replicas, found.rolling, found.observed) == (1, True, False)
    assert container.owners == {"readinessProbe": frozenset({"resilience-operator"})}
    assert set(container.fields) == {"readinessProbe"}


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        (TargetKind.DEPLOYMENT, {}),
        (TargetKind.STATEFUL_SET, {"controller-revision-hash": "db-7d"}),
        (TargetKind.DAEMON_SET, {"pod-template-generation": "4"}),
    ],
)
def test_what_pods_of_the_newest_template_carry(kind: TargetKind, labels: Any) -> None:
    raw = deployment()
    raw["status"]["updateRevision"] = "db-7d"
    raw["metadata"] |= {"annotations": {"deprecated.daemonset.template.generation": "4"}}
    silent = deployment()

    assert parse_workload.workload(kind, raw).newest_labels == labels
    assert parse_workload.workload(kind, silent).newest_labels == {}


@pytest.mark.parametrize(
    ("change", "current"), [({}, True), ({"spec": {}}, False), ({"metadata": {"labels": {}}}, False)]
)
def test_a_replica_set_is_current_by_its_template(change: Any, current: bool) -> None:
    wanted = {"metadata": {"labels": LABELS}, "spec": {"containers": []}}
    own = {"metadata": {"labels": LABELS | {"pod-template-hash": "5d"}}, "spec": {"containers": []}} | change
    if "metadata" not in change:
        own["metadata"]["labels"]["pod-template-hash"] = "5d"

    kept = parse_workload.fingerprint(wanted)
    assert parse_workload.replica_set({"metadata": META, "spec": {"template": own}}, kept=kept).is_current is current


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}
                ]
            },
            "Unschedulable: no room",
        ),
        (
            {"containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            "ImagePullBackOff",
        ),
        ({"containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        (
            {"containerStatuses": [{"name": "app", "started": True, "ready": False, "state": {"running": {}}}]},
            "container app runs, but its readiness probe fails",
        ),
    ],
)
def test_the_trouble_of_a_pod_in_the_words_of_who_knows(status: Any, words: str) -> None:
    found = parse.pod({"metadata": META, "spec": {}, "status": status}, min_ready_seconds=0, now=NOW)

    assert found.trouble == words


@pytest.mark.parametrize(("seconds", "available"), [(0, True), (5, True), (6, False)])
def test_a_pod_is_available_after_min_ready_seconds(seconds: int, available: bool) -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T11:59:55Z"}
    meta = META | {
        "labels": {"resilience.dev/retiring": "leaving"},
        "annotations": {"resilience.dev/retiring-since": "x"},
    }

    found = parse.pod(
        {"metadata": meta, "spec": {}, "status": {"conditions": [ready]}}, min_ready_seconds=seconds, now=NOW
    )

    assert (found.ready, found.available) == (True, available)
    assert (found.step, found.step_since) == (ReplaceStep.LEAVING, None)


def test_endpoints_are_pods_only_and_serving_is_their_readiness() -> None:
    def entry(**fields: Any) -> dict[str, Any]:
        return {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "a", "uid": "u"}} | fields

    raw = {
        "metadata": {"labels": {"kubernetes.io/service-name": "checkout"}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            entry(conditions={"ready": True, "serving": False}),
            entry(conditions={"serving": True, "terminating": True}),
            entry(conditions={"ready": True}),
            entry(targetRef={"kind": "Node"}),
        ],
    }

    assert [each.counts for each in parse.endpoints(raw)] == [False, False, True]


def test_a_spec_that_cannot_be_read_says_where() -> None:
    found = parse.resource({"metadata": META, "spec": {"targetRef": {"kind": "Job", "name": "x"}}})

    assert found.spec is None and found.problems[0].words.startswith("spec.targetRef.kind")


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "checkout"}}, True),
        ({"matchLabels": {"app": "x"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["checkout"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["checkout"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selectors_match_as_the_api_has_it(selector: Any, matches: bool) -> None:
    assert selectors.matches(selector, LABELS) is matches


@dataclass(slots=True)
class FakeTransport:
    """Keeps what is sent; holds one object; `fails` is raised by every request."""

    sent: list[tuple[str, Any, str]] = field(default_factory=list)
    held: dict[str, Any] | None = None
    fails: Exception | None = None
    version: int = 1

    def within(self, *, seconds: float) -> "FakeTransport":
        return self

    async def _do(self, verb: str, body: Any, kind: str = "") -> dict[str, Any]:
        self.sent.append((verb, body, kind))
        if self.fails is not None:
            raise self.fails
        return {"metadata": META, "spec": {}}

    async def patch(self, path: str, body: Any, *, content_type: str = "", **query: str) -> dict[str, Any]:
        return await self._do("patch", body, content_type)

    async def delete(self, path: str, body: Any) -> None:
        await self._do("delete", body)

    async def find(self, path: str) -> dict[str, Any] | None:
        await self._do("find", None)
        return None if self.held is None else {**self.held, "spec": dict(self.held["spec"])}

    get = find

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        return await self.put(path, body)

    async def put(self, path: str, body: Any) -> dict[str, Any]:
        await self._do("put", body)
        self.version += 1
        self.held = {"metadata": {"resourceVersion": str(self.version)}, "spec": body["spec"]}
        return self.held


def writer(transport: FakeTransport) -> KubeWriter:
    return KubeWriter(transport=cast(Transport, transport), instance="me")


async def test_take_over_changes_the_owner_and_the_mark_in_one_patch() -> None:
    transport, pod = FakeTransport(), make_pod(resource_version="9")

    await writer(transport).take_over(make_workload(), TakeOver(pod, NOW))

    (_, body, kind), meta = transport.sent[0], transport.sent[0][1]["metadata"]
    assert kind == STRATEGIC_PATCH
    assert meta["resourceVersion"] == "9"
    leaving, coming = meta["ownerReferences"]
    assert leaving == {"$patch": "delete", "uid": RS.uid}
    assert (coming["uid"], coming["controller"], coming["blockOwnerDeletion"]) == ("workload-uid", True, False)
    assert body["metadata"]["labels"] == {"resilience.dev/retiring": "replacing"}


async def test_give_back_is_the_reverse() -> None:
    transport = FakeTransport()

    await writer(transport).give_back(GiveBack(make_pod(owner_uid="workload-uid"), RS), namespace="shop")

    meta = transport.sent[0][1]["metadata"]
    assert meta["labels"] == {"resilience.dev/retiring": None}
    assert [each["uid"] for each in meta["ownerReferences"]] == ["workload-uid", RS.uid]


async def test_a_delete_names_exactly_the_pod_that_was_seen() -> None:
    transport = FakeTransport()

    await writer(transport).delete_pod(DeletePod(make_pod(), timedelta(seconds=30)), namespace="shop")

    body = transport.sent[0][1]
    assert body["preconditions"] == {"uid": "uid-a", "resourceVersion": "1"}
    assert body["gracePeriodSeconds"] == 30


async def test_a_status_names_with_null_what_is_gone() -> None:
    transport = FakeTransport()
    raw = {"phase": "Failed", "restart": {"request": "x"}, "health": {"state": "Unknown", "old": 1}}

    await writer(transport).write_status(make_resource(raw_status=raw), Status(observed_generation=1))

    status = transport.sent[0][1]["status"]
    assert status["restart"] is None
    assert status["health"] == {"state": "Unknown", "checks": [], "old": None}


async def test_the_template_is_applied_to_what_was_read_and_what_is_not_named_is_given_up() -> None:
    transport = FakeTransport()

    await writer(transport).apply_template(make_workload(), ApplyTemplate("app", {"readinessProbe": {}}))
    await writer(transport).apply_template(make_workload(), ApplyTemplate("app", {}))

    (_, full, kind), (_, empty, _) = transport.sent
    assert kind == APPLY_PATCH
    assert full["metadata"]["resourceVersion"] == "1"
    assert full["spec"]["template"]["spec"]["containers"] == [{"name": "app", "readinessProbe": {}}]
    assert "spec" not in empty


def lease(transport: FakeTransport, identity: str = "me") -> KubeLease:
    return KubeLease(
        transport=cast(Transport, transport),
        namespace="n",
        name="l",
        identity=identity,
        now=VirtualClock().now,
        monotonic=VirtualClock().monotonic,
        calm=KubeApiOutage(monotonic=VirtualClock().monotonic),
    )


def test_a_lease_of_a_dead_holder_is_taken_after_its_duration_by_our_own_clock() -> None:
    async def main() -> None:
        transport = FakeTransport(
            held={
                "metadata": {"resourceVersion": "1"},
                "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "1999-01-01T00:00:00Z"},
            }
        )
        mine = lease(transport)
        await mine.acquire()
        assert 15 < asyncio.get_running_loop().time() < 20
        assert mine.held()

    run_virtual(main())


class Slow(FakeTransport):
    """Answers each read after so many seconds."""

    seconds = 1.9

    async def find(self, path: str) -> dict[str, Any] | None:
        held = await super().find(path)
        await asyncio.sleep(self.seconds)
        return held


def test_the_time_of_a_slow_answer_is_not_taken_off_the_holders_duration() -> None:
    """The holder may have renewed just before the answer; it is given its whole duration from then on."""

    async def main() -> None:
        spec = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "1999-01-01T00:00:00Z"}
        transport = Slow(held={"metadata": {"resourceVersion": "1"}, "spec": spec})
        await lease(transport).acquire()
        first_answer, last_request = Slow.seconds, asyncio.get_running_loop().time() - Slow.seconds
        assert last_request - first_answer > 15

    run_virtual(main())


def test_leadership_ends_at_the_renewal_deadline_and_is_handed_over() -> None:
    async def main() -> None:
        transport, loop = FakeTransport(), asyncio.get_running_loop()
        first, second = lease(transport), lease(transport, "second")
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        await asyncio.sleep(30)
        assert first.held() and not second.held()
        transport.fails = Unavailable("no")
        began = loop.time()
        await keeping
        assert 6 < loop.time() - began <= 12
        assert not first.held()
        transport.fails = None
        await first.acquire()
        await first.give_up()
        began = loop.time()
        await second.acquire()
        assert loop.time() == began and second.held()

    run_virtual(main())


class Late(FakeTransport):
    """Somebody wrote in between, so many times."""

    conflicts = 1

    async def put(self, path: str, body: Any) -> Any:
        if self.conflicts and not body["spec"]["holderIdentity"]:
            self.conflicts -= 1
            raise Conflict("the object has been modified")
        return await super().put(path, body)


@pytest.mark.parametrize(("conflicts", "handed_over"), [(1, True), (2, True), (3, False)])
def test_a_renewal_that_was_cut_off_and_still_arrived_does_not_keep_the_lease(
    conflicts: int, handed_over: bool
) -> None:
    async def main() -> None:
        transport = Late()
        mine = lease(transport)
        await mine.acquire()
        transport.conflicts = conflicts

        await mine.give_up()

        assert not mine.held() and transport.held is not None
        assert (transport.held["spec"]["holderIdentity"] == "") is handed_over

    run_virtual(main())


def test_a_workload_looks_otherwise_when_a_decision_may() -> None:
    def face(**changes: Any) -> int:
        owner = {"manager": "helm", "fieldsV1": {"f:spec": {}}, "time": "1"}
        counted = {"manager": "kcm", "subresource": "status", "fieldsV1": {}, "time": "1"}
        raw: dict[str, Any] = {
            "metadata": {"uid": "u", "generation": 1, "labels": {"a": "b"}, "managedFields": [owner, counted]},
            "status": {
                "replicas": 2,
                "conditions": [{"type": "Progressing", "status": "True", "reason": "Updated", "message": "1"}],
            },
        }
        for path, value in changes.items():
            at: Any = raw
            *way, last = path.split("__")
            for each in way:
                at = at[int(each) if each.isdecimal() else each]
            at[last] = value
        return parse_workload.face(raw)

    same = face()
    assert face(metadata__resourceVersion="9") == same
    assert face(metadata__managedFields__1__time="2") == face(metadata__managedFields__0__time="2") == same
    assert face(status__conditions__0__message="2") == face(status__conditions__0__lastUpdateTime="2") == same
    news = [
        face(metadata__uid="other"),
        face(metadata__generation=2),
        face(metadata__labels={}),
        face(metadata__annotations={"a": "b"}),
        face(metadata__deletionTimestamp="now"),
        face(metadata__managedFields__0__fieldsV1={"f:spec": {"f:paused": {}}}),
        face(status__replicas=3),
        face(status__observedGeneration=1),
        face(status__conditions__0__reason="ProgressDeadlineExceeded"),
        face(status__conditions__0__status="False"),
    ]
    assert len({same, *news}) == len(news) + 1
