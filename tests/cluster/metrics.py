"""What a cluster has to hold so that its API server hands metrics.k8s.io on to metrics-server.

Must not start anything on this machine. The model is manifests/base of sigs.k8s.io/metrics-server.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.network import NODE_IP
from tests.cluster.shell import run

NAME = "metrics-server"
NAMESPACE = "kube-system"
GROUP = "/apis/metrics.k8s.io/v1beta1"
# Where the local cluster's process listens: the kubelet has the usual 10250.
PORT = 4443
# 10 s is the shortest that it takes, and it wants the time-out to be shorter. Figures need two rounds.
PACE = ("--metric-resolution=10s", "--kubelet-request-timeout=5s")
# By default it looks for the node's name first, which nothing resolves.
ADDRESSES = "--kubelet-preferred-address-types=InternalIP"
# The version that `gomod` has; kind's nodes can pull it.
IMAGE = "registry.k8s.io/metrics-server/metrics-server:v0.9.0"

Object = dict[str, object]
_LABELS = {"k8s-app": NAME}
_RBAC = "rbac.authorization.k8s.io"
# Of the one port, in Service, slice and pod: the API server finds the port behind the Service by it.
_PORT_NAME = "https"


def apply(objects: Sequence[Object], *, kubeconfig: Path) -> None:
    """Have these objects in the cluster, whatever was there before."""
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode()
    options = ("--server-side", "--force-conflicts", "--filename=-")
    run(binaries.program("kubectl"), "--kubeconfig", kubeconfig, "apply", *options, stdin=content)


def for_process() -> list[Object]:
    """For a metrics-server outside of the cluster: a Service without pods, whose one address is the node's."""
    slice_of_service = {
        **_named("EndpointSlice", "discovery.k8s.io/v1", labels={"kubernetes.io/service-name": NAME}),
        "addressType": "IPv4",
        "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": True}}],
        "ports": [{"name": _PORT_NAME, "port": PORT, "protocol": "TCP"}],
    }
    return [_service(port=PORT, selector={}), slice_of_service, _api_service()]


def for_pods() -> list[Object]:
    """For a metrics-server inside of the cluster, with all the rights that it needs."""
    return [
        _named("ServiceAccount", "v1"),
        *_rights(),
        _deployment(),
        _service(port=10250, selector=_LABELS),
        _api_service(),
    ]


def _api_service() -> Object:
    """Not verified: metrics-server signs its certificate itself."""
    return {
        **_named("APIService", "apiregistration.k8s.io/v1", name="v1beta1.metrics.k8s.io", namespace=""),
        "spec": {
            "service": {"name": NAME, "namespace": NAMESPACE, "port": 443},
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
        },
    }


def _service(*, port: int, selector: dict[str, str]) -> Object:
    ports = [{"name": _PORT_NAME, "port": 443, "targetPort": port, "protocol": "TCP"}]
    return {**_named("Service", "v1"), "spec": {"ports": ports, **({"selector": selector} if selector else {})}}


def _rights() -> list[Object]:
    read = {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}
    scrape = {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}
    role = {**_named("ClusterRole", f"{_RBAC}/v1", name=f"system:{NAME}", namespace=""), "rules": [read, scrape]}
    return [
        role,
        _binding("ClusterRoleBinding", f"system:{NAME}", to=("ClusterRole", f"system:{NAME}")),
        _binding("ClusterRoleBinding", f"{NAME}:system:auth-delegator", to=("ClusterRole", "system:auth-delegator")),
        _binding("RoleBinding", f"{NAME}-auth-reader", to=("Role", "extension-apiserver-authentication-reader")),
    ]


def _binding(kind: str, name: str, *, to: tuple[str, str]) -> Object:
    return {
        **_named(kind, f"{_RBAC}/v1", name=name, namespace=NAMESPACE if kind == "RoleBinding" else ""),
        "roleRef": {"apiGroup": _RBAC, "kind": to[0], "name": to[1]},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
    }


def _deployment() -> Object:
    """Ready when it answers, not when it has figures, which takes half a minute more: `up` must not wait for them."""
    live = {"httpGet": {"path": "/livez", "port": _PORT_NAME, "scheme": "HTTPS"}, "periodSeconds": 1}
    container = {
        "name": NAME,
        "image": IMAGE,
        # kind's kubelets sign their certificates themselves.
        "args": ["--cert-dir=/tmp", "--secure-port=10250", "--kubelet-insecure-tls", ADDRESSES, *PACE],
        "ports": [{"name": _PORT_NAME, "containerPort": 10250, "protocol": "TCP"}],
        "readinessProbe": live,
        "securityContext": {"readOnlyRootFilesystem": True, "runAsNonRoot": True, "runAsUser": 1000},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {"serviceAccountName": NAME, "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    template = {"metadata": {"labels": _LABELS}, "spec": pod}
    return {
        **_named("Deployment", "apps/v1"),
        "spec": {"replicas": 1, "selector": {"matchLabels": _LABELS}, "template": template},
    }


def _named(
    kind: str, version: str, *, name: str = NAME, namespace: str = NAMESPACE, labels: dict[str, str] | None = None
) -> Object:
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, **place, "labels": {**_LABELS, **(labels or {})}},
    }
