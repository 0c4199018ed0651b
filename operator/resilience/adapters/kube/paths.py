"""URL paths of the kinds that the operator reads and writes."""

import hashlib
from typing import Final

from resilience.api.names import GROUP, PLURAL, RECEIVER_PLURAL, VERSION
from resilience.api.v1alpha1 import TargetKind

CORE: Final = "core "
_GROUPS: Final = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "secrets": "/api/v1",
    "configmaps": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "deployments": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "daemonsets": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    # KEDA's; the API server knows them only where it is installed.
    "scaledobjects": "/apis/keda.sh/v1alpha1",
    "resourcequotas": "/api/v1",
    "events": "/apis/events.k8s.io/v1",
    # The same objects; only in this group can they be selected by the object that they are about.
    f"{CORE}events": "/api/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    PLURAL: f"/apis/{GROUP}/{VERSION}",
    RECEIVER_PLURAL: f"/apis/{GROUP}/{VERSION}",
}


_LONGEST_NAME: Final = 40


def collection(plural: str, namespace: str | None) -> str:
    """Path of all objects of a kind, in one namespace or, with None, in all namespaces."""
    base, plural = _GROUPS[plural], plural.removeprefix(CORE)
    return f"{base}/{plural}" if namespace is None else f"{base}/namespaces/{namespace}/{plural}"


def named(plural: str, namespace: str, name: str) -> str:
    """Path of one object."""
    return f"{collection(plural, namespace)}/{name}"


def resources_path(namespace: str | None, name: str | None = None) -> str:
    """Path of the ResilientServices, or of one of them."""
    path = collection(PLURAL, namespace)
    return f"{path}/{name}" if name else path


def workload_path(kind: TargetKind, namespace: str, name: str) -> str:
    """Path of one workload."""
    return named(f"{kind.value.lower()}s", namespace, name)


def green_name(deployment: str) -> str:
    """Name of the green Deployment of a Deployment; a long name is cut and gets a hash, which keeps it unique.

    Deployments add 17 characters to their own name for the names of pods, which are also host names of at most 63
    characters.
    """
    if len(deployment) <= _LONGEST_NAME:
        return f"{deployment}-green"
    return f"{deployment[: _LONGEST_NAME - 9]}-{hashlib.sha256(deployment.encode()).hexdigest()[:8]}-green"
