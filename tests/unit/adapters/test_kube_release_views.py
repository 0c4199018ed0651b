"""What a release reads: fingerprints of templates, green with its notes, and what there is room for."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from resilience.adapters.kube import mount_failures, parse_workload, quota
from resilience.adapters.kube.pod_policies import PodPolicies
from resilience.adapters.kube.pods import PodsReader
from resilience.adapters.kube.shared_lists import SharedLists
from resilience.adapters.kube.transport import NotFound, Transport
from resilience.api.names import ANNOTATION_SERVING
from resilience.api.reasons import Colour, ReleaseStep
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.model.observation import Node, Pod, PodsView
from resilience.ports import PortError, Refused, Unavailable
from tests.support.factories import LABELS, make_pod
from tests.support.transport import DEPLOYMENTS, TARGET, FakeTransport

PODS, SETS = "/api/v1/namespaces/shop/pods", "/apis/apps/v1/namespaces/shop/replicasets"
GREEN = f"{DEPLOYMENTS}/checkout-green"
SCALERS = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
SCALE_UP = "resilience.dev/scale-up-policy"
SCALED = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects"
QUOTAS, NODES = "/api/v1/namespaces/shop/resourcequotas", "/api/v1/nodes"
MADE = "2026-03-01T11:00:00Z"
CONTAINER = {"name": "app", "image": "shop:2", "resources": {"requests": {"cpu": "500m"}}}


def template(labels: Any = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": LABELS | (labels or {})}, "spec": {"containers": [CONTAINER]} | spec}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"labels": {"pod-template-hash": "5d4c"}}, True),
        ({"labels": {"resilience.dev/track": "green"}}, True),
        ({"labels": {"tier": "web"}}, False),
        ({"hostNetwork": True}, False),
        ({"containers": [CONTAINER | {"image": "shop:3"}]}, False),
    ],
)
def test_a_template_is_the_same_whoever_runs_it(change: Any, same: bool) -> None:
    assert (parse_workload.fingerprint(template(**change)) == parse_workload.fingerprint(template())) is same


def test_annotations_of_a_template_count_and_empty_ones_do_not() -> None:
    plain = template()
    restarted = template() | {"metadata": {"labels": LABELS, "annotations": {"restartedAt": "now"}}}

    assert parse_workload.fingerprint(restarted) != parse_workload.fingerprint(plain)
    assert parse_workload.fingerprint(template() | {"metadata": {"labels": LABELS, "annotations": {}}}) == (
        parse_workload.fingerprint(plain)
    )


def quota_of(hard: Any, used: Any, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "team"}, "spec": spec, "status": {"hard": hard, "used": used}}


def asks(**resources: Any) -> dict[str, Any]:
    return {"containers": [{"resources": resources}, {"resources": resources}, {}]}


CPU, MEMORY = asks(requests={"cpu": "250m"}), asks(limits={"memory": "512Mi"}, requests={"memory": "1Gi"})


@pytest.mark.parametrize(
    ("quotas", "pod", "words"),
    [
        ([], CPU, ""),
        ([quota_of({"pods": "5"}, {"pods": "3"})], {}, ""),
        ([quota_of({"pods": "4"}, {"pods": "3"})], {}, "quota team leaves too little pods for 2 more pods: 3 of 4"),
        ([quota_of({"count/pods": "4"}, {"count/pods": "3"})], {}, "too little count/pods"),
        ([quota_of({"requests.cpu": "2"}, {"requests.cpu": "1"})], CPU, ""),
        (
            [quota_of({"requests.cpu": "2"}, {"requests.cpu": "1001m"})],
            CPU,
            "too little requests.cpu for 2 more pods: 1.001 of 2 are used and 1 more are needed; raise it",
        ),
        ([quota_of({"cpu": "1"}, {"cpu": "500m"})], CPU, "too little cpu"),
        ([quota_of({"limits.memory": "2Gi"}, {"limits.memory": "0"})], MEMORY, ""),
        ([quota_of({"limits.memory": "2Gi"}, {"limits.memory": "1"})], MEMORY, "too little limits.memory"),
        ([quota_of({"memory": "3Gi"}, {})], MEMORY, "too little memory"),
        # What pods do not ask for, what nobody counts, and what is about other pods.
        ([quota_of({"requests.cpu": "1"}, {"requests.cpu": "1"})], MEMORY, ""),
        ([quota_of({"services": "1"}, {"services": "1"})], CPU, ""),
        ([quota_of({"pods": "1"}, {"pods": "1"}, scopes=["BestEffort"])], CPU, ""),
        ([quota_of({"pods": "1"}, {"pods": "1"}, scopeSelector={"matchExpressions": []})], CPU, ""),
        ([{"metadata": {"name": "new"}}], CPU, ""),
        # The second of two.
        ([quota_of({"pods": "9"}, {}), quota_of({"cpu": "1"}, {"cpu": "1"})], CPU, "too little cpu"),
    ],
)
def test_what_a_quota_is_short_of(quotas: Any, pod: Any, words: str) -> None:
    found = quota.short(quotas, pod, pods=2)

    assert words in found and bool(found) is bool(words)


def meta(name: str, uid: str, **fields: Any) -> dict[str, Any]:
    return {"namespace": "shop", "name": name, "uid": uid, "resourceVersion": "1", "creationTimestamp": MADE} | fields


def owned(uid: str) -> list[dict[str, Any]]:
    return [{"kind": "X", "name": "x", "uid": uid, "controller": True}]


def deployment(name: str = "checkout", uid: str = "blue", notes: Any = None, **fields: Any) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": LABELS}, "template": template(), "replicas": 2, "paused": True}
    return {"metadata": meta(name, uid, annotations=notes) | fields, "spec": spec}


def replica_set(uid: str, owner: str, own_hash: str, **change: Any) -> dict[str, Any]:
    own = template({"pod-template-hash": own_hash}, **change)
    named = meta(uid, uid, ownerReferences=owned(owner), labels=LABELS)
    return {"metadata": named, "spec": {"template": own, "replicas": 1}}


def pod(name: str, owner: str, **status: Any) -> dict[str, Any]:
    return {"metadata": meta(name, name, ownerReferences=owned(owner), labels=LABELS), "spec": {}, "status": status}


def noted(**notes: str) -> dict[str, str]:
    return {f"resilience.dev/{name.replace('_', '-')}": value for name, value in notes.items()}


async def view(
    green: Any = None,
    *,
    serving: str = "t-old",
    image: str = "shop:1",
    fails: dict[str, PortError] | None = None,
    **held: Any,
) -> PodsView:
    """The view of a held target whose pods run `image`; `shop:2` is the one that its template asks for."""
    target = deployment(notes={ANNOTATION_SERVING: serving})
    old = {"containers": [CONTAINER | {"image": image}]}
    sets = [replica_set("rs-blue", "blue", "h-blue", **old), replica_set("rs-green", "green", "h-green")]
    pods = [
        pod("of-blue", "rs-blue"),
        pod("of-green", "rs-green"),
        pod("ended", "rs-green", phase="Failed"),
        pod("other", "rs-other"),
    ]
    usual = {TARGET: target, f"{SETS}?app=checkout": sets, f"{PODS}?app=checkout": pods, GREEN: green}
    names = {"scalers": SCALERS, "scaled": SCALED, "quotas": QUOTAS, "nodes": NODES}
    transport = FakeTransport(usual | {names[key]: value for key, value in held.items()}, fails=fails or {})
    api = cast(Transport, transport)
    reader = PodsReader(
        transport=api, lists=SharedLists(transport=api), policies=PodPolicies(transport=api, namespaces=())
    )
    return await reader.view(parse_workload.workload(TargetKind.DEPLOYMENT, target), releases=True, limits=True)


async def test_green_is_read_with_its_pods_and_notes() -> None:
    notes = noted(
        green_of="checkout",
        release_step="Warm",
        release_towards="blue",
        release_since="2026-03-01T11:59:00.500Z",
        release_started_at="2026-03-01T11:58:00Z",
        pull_retries="2",
    )

    found = await view(deployment("checkout-green", "green", notes))

    green = found.green
    assert green is not None and found.green_taken == ""
    assert (green.step, green.towards, green.pull_retries) == (ReleaseStep.WARM, Colour.BLUE, 2)
    assert green.since == datetime(2026, 3, 1, 11, 59, 0, 500000, tzinfo=UTC)
    assert green.started == datetime(2026, 3, 1, 11, 58, tzinfo=UTC)
    assert (green.template_hash, green.deleting) == ("h-green", False)
    assert [each.name for each in green.pods] == ["of-green"]
    assert [each.name for each in found.pods] == ["of-blue"]
    assert [each.template_hash for each in found.replica_sets] == ["h-blue"]


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"release_step": "Dancing", "release_towards": "red"},
        {"release_since": "yesterday", "release_started_at": ""},
        {"pull_retries": "many"},
        {"pull_retries": "-1"},
    ],
)
async def test_a_hand_in_greens_notes_takes_it_back_to_where_nothing_is_lost(notes: Any) -> None:
    found = (await view(deployment("checkout-green", "green", noted(green_of="checkout", **notes)))).green

    made = datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert found is not None
    assert (found.step, found.towards, found.pull_retries) == (ReleaseStep.PREPARING, Colour.GREEN, 0)
    assert (found.since, found.started) == (made, made)


async def test_a_green_without_a_replica_set_has_no_hash_yet_and_one_that_goes_says_so() -> None:
    notes = noted(green_of="checkout")

    fresh = (await view(deployment("checkout-green", "another", notes))).green
    going = (await view(deployment("checkout-green", "green", notes, deletionTimestamp=MADE))).green

    assert fresh is not None and (fresh.template_hash, fresh.pods) == ("", ())
    assert going is not None and going.deleting


@pytest.mark.parametrize("notes", [None, {}, noted(green_of="another")])
async def test_somebody_elses_deployment_in_the_place_is_named(notes: Any) -> None:
    found = await view(deployment("checkout-green", "green", notes))

    assert (found.green, found.green_taken) == (None, "checkout-green")


def scaler(name: str, target: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": target}} | spec}


@pytest.mark.parametrize(
    ("scalers", "found"),
    [
        ([], None),
        ([scaler("x", "other")], None),
        ([scaler("x", "other"), scaler("hpa", "checkout")], Autoscaler("hpa", 1)),
        ([scaler("hpa", "checkout", minReplicas=0)], Autoscaler("hpa", 0)),
        ([scaler("hpa", "checkout", minReplicas=3)], Autoscaler("hpa", 3)),
    ],
)
async def test_the_autoscaler_of_the_target(scalers: Any, found: Any) -> None:
    assert (await view(scalers=scalers)).autoscaler == found


def metric(kind: str, **detail: Any) -> dict[str, Any]:
    return {"type": kind, f"{kind[:1].lower()}{kind[1:]}": detail}


MEMORY, CPU = metric("Resource", name="memory"), metric("Resource", name="cpu")
VALUE, AVERAGE = {"target": {"type": "Value"}}, {"target": {"type": "AverageValue"}}


@pytest.mark.parametrize(
    ("metrics", "runs_up"),
    [
        ([MEMORY], True),
        ([CPU], False),
        ([CPU, MEMORY], True),
        ([metric("ContainerResource", name="memory", container="app")], True),
        ([metric("Object", **VALUE)], True),
        ([metric("Object", **AVERAGE)], False),
        ([metric("External", **VALUE)], True),
        ([metric("External", **AVERAGE)], False),
        ([metric("Pods", **AVERAGE)], False),
    ],
)
async def test_amounts_that_idle_pods_have_too_run_replicas_up(metrics: Any, runs_up: bool) -> None:
    found = (await view(scalers=[scaler("hpa", "checkout", metrics=metrics)])).autoscaler

    assert found is not None and found.runs_up is runs_up


async def test_one_that_is_made_from_another_object_is_left_to_its_owner() -> None:
    made = scaler("hpa", "checkout", metrics=[MEMORY])
    made["metadata"]["ownerReferences"] = [{"kind": "ScaledObject", "name": "queue", "controller": True}]

    found = (await view(scalers=[made])).autoscaler

    assert found is not None and not found.runs_up


@pytest.mark.parametrize(
    ("behaviour", "before", "policy"),
    [
        ({}, None, ""),
        ({"behavior": {"scaleDown": {}}}, None, "Max"),
        ({"behavior": {"scaleUp": {"selectPolicy": "Min"}}}, None, "Min"),
        ({"behavior": {"scaleUp": {"selectPolicy": "Disabled"}}}, "Min", "Disabled"),
    ],
)
async def test_how_it_scales_up_is_read(behaviour: Any, before: str | None, policy: str) -> None:
    raw = scaler("hpa", "checkout", **behaviour)
    raw["metadata"] |= {"resourceVersion": "7", "annotations": {} if before is None else {SCALE_UP: before}}

    found = (await view(scalers=[raw])).autoscaler

    assert found == Autoscaler("hpa", 1, resource_version="7", scale_up=policy, scale_up_before=before)


def scaled(name: str, target: str, annotations: Any = None, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "annotations": annotations or {}}
    usual = {"scaleTargetRef": {"name": target}, "triggers": [{"type": "redis"}]}
    return {"metadata": meta, "spec": usual | spec}


KEDAS = scaler("keda-hpa-queue", "checkout", minReplicas=1)
ZERO = Autoscaler("queue", 0, is_scaled_object=True)
ONE = Autoscaler("keda-hpa-queue", 1)
ON_CPU = {"triggers": [{"type": "cpu"}]}


@pytest.mark.parametrize(
    ("objects", "found"),
    [
        ([scaled("queue", "checkout")], ZERO),
        ([scaled("queue", "checkout", minReplicaCount=0)], ZERO),
        ([scaled("queue", "checkout", minReplicaCount=1)], ONE),
        ([scaled("queue", "checkout", minReplicaCount=1, idleReplicaCount=0)], ZERO),
        ([scaled("queue", "checkout", {"autoscaling.keda.sh/paused-replicas": "0"}, minReplicaCount=1)], ZERO),
        ([scaled("queue", "checkout", {"autoscaling.keda.sh/paused-replicas": "2"}, minReplicaCount=1)], ONE),
        ([scaled("queue", "checkout", scaleTargetRef={"kind": "StatefulSet", "name": "checkout"})], ONE),
        ([scaled("queue", "other")], ONE),
        ([scaled("queue", "checkout", **ON_CPU)], ONE),
        ([scaled("queue", "checkout", triggers=[{"type": "cpu"}, {"type": "redis"}])], ZERO),
    ],
)
async def test_keda_takes_to_zero_what_its_autoscaler_leaves_at_one(objects: Any, found: Any) -> None:
    assert (await view(scalers=[KEDAS], scaled=objects)).autoscaler == found


async def test_keda_is_seen_where_it_has_made_no_autoscaler_yet() -> None:
    assert (await view(scaled=[scaled("queue", "checkout")])).autoscaler == ZERO


@pytest.mark.parametrize("error", [NotFound("no such kind"), Refused("no")])
async def test_without_keda_or_the_right_to_read_it_nothing_is_in_the_way(error: PortError) -> None:
    assert (await view(scalers=[KEDAS], fails={SCALED: error})).autoscaler == ONE


async def test_a_keda_that_does_not_answer_is_no_answer() -> None:
    with pytest.raises(Unavailable):
        await view(scalers=[KEDAS], fails={SCALED: Unavailable("no")})


RAW_NODES = [{"metadata": {"name": "n1"}}, {"metadata": {"name": "n2"}, "spec": {"unschedulable": True}}]


async def test_room_is_looked_for_before_a_release_begins_and_only_then() -> None:
    same = parse_workload.fingerprint(template())
    full = [quota_of({"pods": "1"}, {"pods": "1"})]
    green = deployment("checkout-green", "green", noted(green_of="checkout"))

    due = await view(nodes=RAW_NODES, quotas=full)
    rest = await view(serving=same, image="shop:2", nodes=RAW_NODES, quotas=full)
    running = await view(green, nodes=RAW_NODES, quotas=full)

    assert due.nodes == (Node("n1", False), Node("n2", True)) and due.quota_short.startswith("quota team")
    assert [(each.nodes, each.quota_short) for each in (rest, running)] == [(None, ""), (None, "")]


async def test_without_the_right_to_list_nodes_they_are_not_known() -> None:
    assert (await view(fails={NODES: Refused("no")})).nodes is None
    with pytest.raises(Unavailable):
        await view(fails={NODES: Unavailable("no")})


@pytest.mark.parametrize(("images", "current"), [({}, True), ({"containers": [CONTAINER | {"image": "x"}]}, False)])
def test_a_replica_set_has_the_identity_of_its_template(images: Any, current: bool) -> None:
    kept = parse_workload.fingerprint(template())

    found = parse_workload.replica_set(replica_set("rs", "blue", "h", **images), kept=kept)

    assert found.is_current is current and (found.fingerprint == kept) is current
    assert found.images == {"app": "shop:2" if current else "x"}


@pytest.mark.parametrize("image", ["shop:1", "shop:2"])
async def test_the_replica_set_that_has_pods_is_current_whatever_an_old_record_says(image: str) -> None:
    found = await view(serving="0123456789", image=image, nodes=RAW_NODES)

    assert [each.is_current for each in found.replica_sets] == [True]
    assert (found.nodes is None) is (image == "shop:2")


def entry(manager: str, time: str, *fields: str, **more: Any) -> dict[str, Any]:
    return {"manager": manager, "time": time, "fieldsV1": {"f:spec": {field: {} for field in fields}}} | more


OURS = entry("resilience-operator", "2026-03-01T11:00:00Z", "f:paused", "f:progressDeadlineSeconds")
LATER = "2026-03-01T11:30:00Z"


@pytest.mark.parametrize(
    ("managed", "paused", "deadline", "by"),
    [
        ([], False, False, ""),
        ([OURS], True, True, ""),
        ([entry("kubectl", "2026-03-01T10:00:00Z", "f:template"), OURS], True, True, ""),
        # An undo does not touch the pause; a resume takes the field from its owner.
        ([OURS, entry("kubectl-rollout", LATER, "f:template")], True, True, "kubectl-rollout"),
        ([entry("resilience-operator", "2026-03-01T11:00:00Z"), entry("ci", LATER, "f:replicas")], False, False, "ci"),
        (
            [entry("kubectl", LATER, "f:paused"), entry("kcm", "2026-03-01T12:00:00Z", subresource="status")],
            False,
            False,
            "kubectl",
        ),
        ([{"manager": "labels", "time": LATER, "fieldsV1": {"f:metadata": {}}}, OURS], True, True, ""),
    ],
)
def test_the_operators_pause_is_told_by_the_owner_of_the_field(
    managed: Any, paused: bool, deadline: bool, by: str
) -> None:
    raw = deployment()
    raw["metadata"]["managedFields"] = managed

    found = parse_workload.workload(TargetKind.DEPLOYMENT, raw)

    assert (found.paused_by_operator, found.deadline_by_operator, found.changed_by) == (paused, deadline, by)


MOUNTS = "/api/v1/namespaces/shop/events?involvedObject.uid=uid-a,reason=FailedMount"
NO_MAP = 'MountVolume.SetUp failed for volume "c" : configmap "nosuch" not found'


def event(message: str, at: str) -> dict[str, Any]:
    return {"metadata": {"name": "e"}, "message": message, "lastTimestamp": at}


async def volumes(pod: Pod, transport: FakeTransport) -> Pod:
    (found,) = await mount_failures.with_mount_failures(cast(Transport, transport), [pod], namespace="shop")
    return found


async def test_what_is_wrong_with_volumes_is_read_from_events() -> None:
    pod = make_pod("a", ready=False, node="n1")
    said = [event("timed out", "2026-03-01T11:00:00Z"), event(NO_MAP, "2026-03-01T11:00:09Z")]

    found = await volumes(pod, FakeTransport({MOUNTS: said}))

    assert (found.fault, found.trouble) == ("FailedMount", f"FailedMount: {NO_MAP}")


@pytest.mark.parametrize(
    "pod",
    [
        make_pod("a", ready=True, node="n1"),
        make_pod("a", ready=False),
        make_pod("a", ready=False, node="n1", deleting=True),
        make_pod("a", ready=False, node="n1", fault="ReadinessFails"),
        make_pod("a", ready=False, node="n1", created=datetime.now(UTC) + timedelta(hours=1)),
    ],
    ids=["ready", "on no node", "ending", "known", "young"],
)
async def test_nobody_is_asked_about_a_pod_that_needs_no_word(pod: Pod) -> None:
    transport = FakeTransport({MOUNTS: [event(NO_MAP, "2026-03-01T11:00:00Z")]})

    assert await volumes(pod, transport) == pod
    assert transport.read == []


@pytest.mark.parametrize(
    "transport", [FakeTransport(), FakeTransport(fails={MOUNTS: Refused("no")})], ids=["none", "403"]
)
async def test_without_events_nothing_is_known(transport: FakeTransport) -> None:
    pod = make_pod("a", ready=False, node="n1")

    assert await volumes(pod, transport) == pod
