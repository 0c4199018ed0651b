"""The fields of listed objects that `parse` and its neighbours use, by kind; the decoder skips all others unread.

A field without a type of its own is kept as it is. Null is allowed wherever the API server may write it.
"""

from typing import Any, TypedDict

Labels = dict[str, str] | None


class OwnerReference(TypedDict, total=False):
    """Reference to an owner."""

    kind: str
    name: str
    uid: str
    controller: bool | None


class Meta(TypedDict, total=False):
    """Metadata of any object."""

    namespace: str
    name: str
    uid: str
    resourceVersion: str
    generation: int
    creationTimestamp: str | None
    deletionTimestamp: str | None
    labels: Labels
    annotations: Labels
    finalizers: list[str] | None
    ownerReferences: list[OwnerReference] | None


_Fields = TypedDict("_Fields", {"f:selector": Any}, total=False)
_OwnedFields = TypedDict("_OwnedFields", {"f:spec": _Fields}, total=False)


class _Managed(TypedDict, total=False):
    manager: str
    operation: str
    fieldsV1: _OwnedFields | None


class _ServiceMeta(Meta, total=False):
    managedFields: list[_Managed] | None


class _Port(TypedDict, total=False):
    name: str | None
    port: int | None
    targetPort: int | str
    protocol: str | None


class _ServiceSpec(TypedDict, total=False):
    type: str
    selector: Labels
    clusterIP: str | None
    ports: list[_Port] | None
    ipFamilies: list[str] | None


class ServiceShape(TypedDict, total=False):
    """A Service."""

    metadata: _ServiceMeta
    spec: _ServiceSpec | None


class _Target(TypedDict, total=False):
    kind: str
    name: str
    uid: str


class _Endpoint(TypedDict, total=False):
    addresses: list[str] | None
    conditions: dict[str, bool | None] | None
    targetRef: _Target | None


class SliceShape(TypedDict, total=False):
    """An EndpointSlice."""

    metadata: Meta
    addressType: str
    ports: list[_Port] | None
    endpoints: list[_Endpoint] | None


class _Container(TypedDict, total=False):
    name: str
    ports: list[Any] | None
    resources: dict[str, Any] | None
    restartPolicy: str | None


class _PodSpec(TypedDict, total=False):
    containers: list[_Container] | None
    initContainers: list[_Container] | None
    readinessGates: list[dict[str, str]] | None
    terminationGracePeriodSeconds: int | None
    nodeName: str
    imagePullSecrets: list[dict[str, Any]] | None


class _PodStatus(TypedDict, total=False):
    phase: str
    reason: str
    message: str
    podIP: str
    podIPs: list[dict[str, str]] | None
    conditions: list[dict[str, Any]] | None
    containerStatuses: list[dict[str, Any]] | None
    initContainerStatuses: list[dict[str, Any]] | None


class PodShape(TypedDict, total=False):
    """A pod."""

    metadata: Meta
    spec: _PodSpec
    status: _PodStatus | None


class _ReplicaSetSpec(TypedDict, total=False):
    replicas: int | None
    # Its identity is a hash of all of it.
    template: dict[str, Any]


class ReplicaSetShape(TypedDict, total=False):
    """A ReplicaSet."""

    metadata: Meta
    spec: _ReplicaSetSpec


class _BudgetSpec(TypedDict, total=False):
    selector: dict[str, Any] | None


class _BudgetStatus(TypedDict, total=False):
    desiredHealthy: int
    currentHealthy: int


class BudgetShape(TypedDict, total=False):
    """A PodDisruptionBudget."""

    metadata: Meta
    spec: _BudgetSpec
    status: _BudgetStatus | None


class PolicyShape(TypedDict, total=False):
    """A policy of a network or a mesh, whose kinds `policy_kinds` reads."""

    metadata: Meta
    spec: Any
    specs: Any
