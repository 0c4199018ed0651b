"""An object that is not as its kind is: whoever it concerns decides nothing, and everybody else goes on."""

from typing import Any, Final, cast

import pytest

from resilience.adapters.kube.cluster import KubeCluster
from resilience.adapters.kube.parse import resource
from resilience.adapters.kube.transport import Transport
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.workload import Workload
from resilience.ports import Unavailable
from tests.support.factories import make_workload
from tests.support.transport import FakeTransport

CORE: Final = "/api/v1/namespaces/shop"
SERVICES: Final = f"{CORE}/services"
PODS: Final = f"{CORE}/pods?app=checkout"
SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?kubernetes.io/service-name=checkout"
BUDGETS: Final = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
RETIRING: Final = f"{CORE}/pods?resilience.dev/retiring"


def broken(name: str = "x", *, labels: Any = None, owner: str = "", **fields: Any) -> dict[str, Any]:
    """An object whose annotations are a number."""
    owners = [{"uid": owner, "controller": True}] if owner else []
    meta = {"namespace": "shop", "name": name, "labels": labels, "annotations": 7, "ownerReferences": owners}
    return {"metadata": meta, **fields}


def cluster(**held: Any) -> KubeCluster:
    made: dict[str, Any] = {globals()[name]: value for name, value in held.items()}
    return KubeCluster(transport=cast(Transport, FakeTransport(held=made)), namespaces=(), instance="test")


async def read(workload: Workload, **held: Any) -> None:
    await cluster(**held).pods_view(workload, releases=True, limits=True)


OURS: Final[dict[str, dict[str, Any]]] = {
    "pod": {"PODS": [broken(labels={"app": "checkout"})]},
    "pod without labels": {"PODS": [broken(labels="app")]},
    "pod that is replaced": {"RETIRING": [broken(owner="workload-uid")]},
    "budget": {"BUDGETS": [broken(spec={"selector": {"matchLabels": {"app": "checkout"}}})]},
    "budget without a selector": {"BUDGETS": [broken(spec={"selector": 1})]},
}
OTHERS: Final[dict[str, dict[str, Any]]] = {
    "pod that is replaced": {"RETIRING": [broken(owner="another")]},
    "budget": {"BUDGETS": [broken(spec={"selector": {"matchLabels": {"app": "cart"}}})]},
}


@pytest.mark.parametrize("held", OURS.values(), ids=OURS)
async def test_what_may_concern_the_service_makes_its_pass_inconclusive(held: dict[str, Any]) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        await read(make_workload(uid="workload-uid"), **held)


@pytest.mark.parametrize("held", OTHERS.values(), ids=OTHERS)
async def test_what_concerns_another_service_stops_only_that(held: dict[str, Any]) -> None:
    await read(make_workload(uid="workload-uid"), **held)


async def test_a_slice_of_the_service_has_to_be_read() -> None:
    slices = [broken(labels={"kubernetes.io/service-name": "checkout"})]
    with pytest.raises(Unavailable, match="cannot be read"):
        await cluster(SLICES=slices).endpoints(namespace="shop", services=["checkout"])


async def test_a_service_that_cannot_be_read_is_known_by_its_selector() -> None:
    good = {"metadata": {"namespace": "shop", "name": "x"}, "spec": {"ports": [{"port": 80, "targetPort": "http"}]}}
    bad = broken("y", spec={"selector": {"app": "cart"}})
    found = await cluster(SERVICES=[good, bad]).services("shop")
    assert [bool(each.unread) for each in found] == [False, True]
    assert [each.concerns({"app": "cart"}) for each in found] == [False, True]


async def test_a_service_that_does_not_say_what_it_selects_concerns_everybody() -> None:
    with pytest.raises(Unavailable):
        await cluster(SERVICES=[broken("y", spec={"selector": 3})]).services("shop")


def test_a_specification_is_parsed_once_for_each_generation() -> None:
    def seen(generation: int, profile: str = "Test", uid: str = "u") -> Any:
        meta = {"namespace": "shop", "name": "checkout", "uid": uid, "resourceVersion": "1", "generation": generation}
        spec = {"profile": profile, "targetRef": {"kind": TargetKind.DEPLOYMENT.value, "name": "checkout"}}
        return resource({"metadata": meta, "spec": spec}).spec

    first = seen(1)
    assert seen(1) is first
    assert seen(2, "Production").profile == "Production"
    # A restored object may have the generation of another content.
    assert seen(2, "Development").profile == "Development"
    assert seen(1, uid="other") is not first
