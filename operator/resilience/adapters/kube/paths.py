"""URL paths of the kinds that the operator reads and writes.

Every name of a path is checked here: tenants choose names of objects that do not exist, and some of them, such as
`../secrets/x` for a volume claim, would lead elsewhere.
"""

import hashlib
import re
from typing import Final

from resilience.api.names import GROUP, PLURAL, RECEIVER_PLURAL, VERSION
from resilience.api.v1alpha1 import TargetKind
from resilience.ports import Invalid

CORE: Final = "core "
METRICS: Final = "metrics "
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
    f"{METRICS}pods": "/apis/metrics.k8s.io/v1beta1",
    "leases": "/apis/coordination.k8s.io/v1",
    PLURAL: f"/apis/{GROUP}/{VERSION}",
    RECEIVER_PLURAL: f"/apis/{GROUP}/{VERSION}",
}

_LONGEST_NAME: Final = 40
# What the API server takes as the name of an object of these kinds (RFC 1123), which is a path segment as it is.
_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def is_name(text: str) -> bool:
    """An object can have this name. No object has any other, so none is requested by it."""
    return _OBJECT_NAME.fullmatch(text) is not None


def segment(name: str) -> str:
    """A name as part of a path.

    Raises:
        Invalid: no object can have it.
    """
    if not is_name(name):
        raise Invalid(f"no object can have the name {name[:80]!r}")
    return name


def namespace_path(name: str) -> str:
    """Path of a namespace."""
    return f"/api/v1/namespaces/{segment(name)}"


def collection(plural: str, namespace: str | None) -> str:
    """Path of all objects of a kind, in one namespace or, with None, in all namespaces.

    Raises:
        Invalid: no namespace can have this name.
    """
    return within(_GROUPS[plural], plural.removeprefix(CORE).removeprefix(METRICS), namespace)


def within(group: str, plural: str, namespace: str | None) -> str:
    """As `collection`, for a kind of which the path of its group and version is known."""
    return f"{group}/{plural}" if namespace is None else f"{group}/namespaces/{segment(namespace)}/{plural}"


def named(plural: str, namespace: str, name: str) -> str:
    """Path of one object.

    Raises:
        Invalid: no object can have this name.
    """
    return f"{collection(plural, namespace)}/{segment(name)}"


def resources_path(namespace: str | None, name: str | None = None) -> str:
    """Path of the ResilientServices, or of one of them."""
    path = collection(PLURAL, namespace)
    return path if name is None else f"{path}/{segment(name)}"


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
