"""Objects that tenants write, as the API server lets them through, with any value in each field: all can be read.

One object that cannot be read would break a list of all namespaces, and with it the operator for everybody.
"""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.adapters.kube import parse, parse_flags, parse_workload
from resilience.adapters.kube.shapes import BudgetShape, PodShape, ReplicaSetShape, ServiceShape, SliceShape
from resilience.api.v1alpha1 import TargetKind
from tests.support.counts import count
from tests.support.listing import as_decoded
from tests.support.manifests import changed as full_manifest
from tests.support.manifests import full_status

EXAMPLES: Final = settings(max_examples=count(30, proof=20_000), deadline=None)
NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
# The API server lets through any value of a field's type; these are the ends of what it lets through.
INTEGERS: Final = (0, 1, 2**31 - 1, 2**63 - 1)
TEXTS: Final = (
    "",
    "x",
    "x" * 300,
    "true",
    "0",
    "-1",
    "é\u2028\0",
    "../..",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
)
META: Final = {
    "namespace": "shop",
    "name": "checkout",
    "uid": "u1",
    "resourceVersion": "7",
    "generation": 3,
    "creationTimestamp": "2026-03-01T11:00:00Z",
    "labels": {"app": "checkout", "resilience.dev/managed": "true", "resilience.dev/retiring": "left"},
    "annotations": {
        "resilience.dev/claimed-by": "checkout.u2",
        "resilience.dev/step-since": "2026-03-01T11:00:00Z",
        "resilience.dev/taken-at": "2026-03-01T11:00:00Z",
        "resilience.dev/signalled-at": "2026-03-01T11:00:00Z",
        "resilience.dev/flags": "{}",
    },
    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u3", "controller": True}],
    "managedFields": [
        {
            "manager": "kubectl",
            "operation": "Apply",
            "time": "2026-03-01T11:00:00Z",
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:image": {}}}}}}},
        }
    ],
}
CONDITIONS: Final = [
    {"type": kind, "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-03-01T11:00:00Z"}
    for kind in ("Ready", "ContainersReady", "Initialized", "ReplicaFailure", "Progressing")
]
POD_SPEC: Final = {
    "nodeName": "n",
    "hostNetwork": False,
    "terminationGracePeriodSeconds": 30,
    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
    "imagePullSecrets": [{"name": "s"}],
    "readinessGates": [{"conditionType": "lb"}],
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "checkout"}}}
            ]
        }
    },
    "containers": [
        {
            "name": "app",
            "image": "i",
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP", "hostPort": 1}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        }
    ],
    "initContainers": [{"name": "side", "restartPolicy": "Always", "ports": [{"containerPort": 1}]}],
}
STATE: Final = {
    "waiting": {"reason": "ImagePullBackOff", "message": "m"},
    "running": {"startedAt": "2026-03-01T11:00:00Z"},
    "terminated": {"exitCode": 1, "reason": "Error", "message": "m", "finishedAt": "2026-03-01T11:00:00Z"},
}
CONTAINER_STATUS: Final = {
    "name": "app", "ready": False, "started": True, "restartCount": 4, "state": STATE, "lastState": STATE,
    "resources": {"limits": {"memory": "1Gi"}},
}  # fmt: skip
POD: Final = {
    "metadata": META,
    "spec": POD_SPEC,
    "status": {
        "phase": "Pending", "reason": "Evicted", "message": "m", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": CONDITIONS, "containerStatuses": [CONTAINER_STATUS], "initContainerStatuses": [CONTAINER_STATUS],
    },
}  # fmt: skip
WORKLOAD: Final = {
    "metadata": META,
    "spec": {
        "replicas": 3, "paused": True, "minReadySeconds": 1, "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate"},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
        "selector": {"matchLabels": {"app": "checkout"}},
        "template": {"metadata": {"labels": {"app": "checkout"}, "annotations": {"a": "b"}}, "spec": POD_SPEC},
    },
    "status": {
        "observedGeneration": 3, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
        "currentRevision": "a", "updateRevision": "b", "conditions": CONDITIONS, "desiredNumberScheduled": 1,
    },
}  # fmt: skip
SERVICE: Final = {
    "metadata": META,
    "spec": {
        "type": "ClusterIP", "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "selector": {"app": "checkout"},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
    },
}  # fmt: skip
SLICE: Final = {
    "metadata": META | {"labels": {"kubernetes.io/service-name": "checkout"}},
    "addressType": "IPv4",
    "ports": [{"name": "http", "port": 8080}],
    "endpoints": [
        {
            "addresses": ["10.0.0.1"],
            "targetRef": {"kind": "Pod", "name": "p", "uid": "u"},
            "conditions": {"serving": True, "ready": True, "terminating": False},
        }
    ],
}
BUDGET: Final = {"metadata": META, "spec": {}, "status": {"desiredHealthy": 1, "currentHealthy": 2}}
FLAGS: Final = {"metadata": META | {"labels": {"resilience.dev/flags-of": "checkout"}}, "data": {"a": "true"}}
# Fields that every stored object has.
ALWAYS: Final = {
    "namespace",
    "name",
    "uid",
    "resourceVersion",
    "metadata",
    "containerPort",
    "port",
    "type",
    "status",
} | {"spec", "template", "claimName", "conditionType", "persistentVolumeClaim", "key", "operator", "containers"}

# Texts whose form the API server, or the kubelet, sees to.
VALIDATED: Final = {
    "name",
    "namespace",
    "uid",
    "cpu",
    "memory",
    "ip",
    "creationTimestamp",
    "lastTransitionTime",
    "time",
} | {"startedAt", "finishedAt"}


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> Any:
    """The object with fields left out, emptied, or with any value of the same type in them."""

    def field(value: Any, *, is_validated: bool = False) -> Any:
        match value:
            case dict():
                return {
                    key: field(inner, is_validated=key in VALIDATED)
                    for key, inner in value.items()
                    if key in ALWAYS or not rarely()
                }
            case list():
                return [] if rarely() else [field(inner) for inner in value]
            case bool():
                return draw(st.booleans()) if rarely() else value
            case int():
                return draw(st.sampled_from(INTEGERS)) if rarely() else value
            case str() if not is_validated and rarely():
                return draw(st.sampled_from(TEXTS))
        return value

    def rarely() -> bool:
        return draw(st.integers(0, 7)) == 0

    return field(copy.deepcopy(whole))


def _pod(raw: Any) -> object:
    return parse.pod(raw, min_ready_seconds=3, now=NOW)


def _workload(raw: Any) -> object:
    parse_workload.face(raw)
    return [parse_workload.workload(kind, raw) for kind in TargetKind]


def _replica_set(raw: Any) -> object:
    return parse_workload.replica_set(raw, kept="x")


@pytest.mark.parametrize(
    ("read", "whole"),
    [
        (_pod, POD),
        (_workload, WORKLOAD),
        (_replica_set, WORKLOAD),
        (parse.service, SERVICE),
        (parse.endpoints, SLICE),
        (parse.budget, BUDGET),
        (parse_flags.config_map, FLAGS),
        (parse_flags.key, FLAGS),
    ],
    ids=["pod", "workload", "replica set", "service", "slice", "budget", "flags", "key of flags"],
)
@EXAMPLES
@given(data=st.data())
def test_an_object_of_any_values_is_read(read: Callable[[Any], object], whole: Any, data: st.DataObject) -> None:
    read(data.draw(changed(whole)))


@pytest.mark.parametrize(
    ("read", "whole", "shape"),
    [
        (_pod, POD, PodShape),
        (_replica_set, WORKLOAD, ReplicaSetShape),
        (parse.service, SERVICE, ServiceShape),
        (parse.endpoints, SLICE, SliceShape),
        (parse.budget, BUDGET, BudgetShape),
    ],
    ids=["pod", "replica set", "service", "slice", "budget"],
)
@EXAMPLES
@given(data=st.data())
def test_nothing_that_is_used_is_left_out_of_a_list(
    read: Callable[[Any], object], whole: Any, shape: Any, data: st.DataObject
) -> None:
    raw = data.draw(changed(whole))

    assert as_decoded([raw], read, shape).all() == (read(raw),)


JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.sampled_from(INTEGERS) | st.sampled_from(TEXTS) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def scrambled(draw: st.DrawFn, whole: Any) -> Any:
    """The value with any JSON in the place of some of its parts, as an older definition may have let through."""

    def part(value: Any, *, is_whole: bool = False) -> Any:
        # Any definition has said that specification and status are objects.
        if not is_whole and draw(st.integers(0, 11)) == 0:
            return draw(JSON)
        if isinstance(value, dict):
            return {key: part(inner) for key, inner in value.items()}
        return [part(inner) for inner in value] if isinstance(value, list) else value

    return part(whole, is_whole=True)


@EXAMPLES
@given(
    spec=scrambled(full_manifest({})),
    status=scrambled(full_status().model_dump(mode="json", by_alias=True)),
)
def test_a_resource_of_any_content_is_read(spec: Any, status: Any) -> None:
    resource = parse.resource({"metadata": META, "spec": spec, "status": status})

    assert resource.spec is not None or resource.problems
