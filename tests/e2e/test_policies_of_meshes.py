"""Policies of meshes and networks under the projects' own definitions: the API server validates, the operator reads."""

from collections.abc import Iterator

import pytest
from pytest_kind import KindCluster

from tests.cluster import definitions
from tests.cluster.progress import Progress
from tests.support.kube import Kube, Object, wait_until
from tests.support.release import NAME, Release
from tests.support.shop_manifests import deployment, resilient, service
from tests.support.space import Space

ISTIO, NETWORK = "security.istio.io/v1", "networking.istio.io"
# Under this label pods leave their Services when no policy selects them by it.
FREE = "by/nobody"


def label(kind: str) -> str:
    """Each policy selects the pods by a label of its own."""
    return f"by/{kind.lower()}"


def matches(kind: str) -> Object:
    return {"matchLabels": {label(kind): "yes"}}


def policy(version: str, kind: str, **spec: object) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "shop"}, "spec": spec}


def namespaced() -> list[Object]:
    subset = {"name": "all", "labels": {label("DestinationRule"): "yes"}}
    return [
        policy(ISTIO, "AuthorizationPolicy", selector=matches("AuthorizationPolicy"), rules=[{}]),
        policy(ISTIO, "PeerAuthentication", selector=matches("PeerAuthentication"), mtls={"mode": "STRICT"}),
        policy(ISTIO, "RequestAuthentication", selector=matches("RequestAuthentication")),
        policy(f"{NETWORK}/v1", "Sidecar", workloadSelector={"labels": {label("Sidecar"): "yes"}}),
        policy(f"{NETWORK}/v1", "DestinationRule", host="shop", subsets=[subset]),
        # Istio has this kind in no newer version, though its group has.
        policy(f"{NETWORK}/v1alpha3", "EnvoyFilter", workloadSelector={"labels": {label("EnvoyFilter"): "yes"}}),
        policy("cilium.io/v2", "CiliumNetworkPolicy", endpointSelector=matches("CiliumNetworkPolicy"), ingress=[{}]),
    ]


def of_the_cluster(namespace: str) -> list[Object]:
    """They select no pods but the test's own: the label has its namespace for a value."""
    here: Object = {label("CiliumClusterwideNetworkPolicy"): "yes", "k8s:io.kubernetes.pod.namespace": namespace}
    pods = {"namespaceSelector": {}, "podSelector": matches("ClusterNetworkPolicy")}
    return [
        policy("cilium.io/v2", "CiliumClusterwideNetworkPolicy", endpointSelector={"matchLabels": here}, ingress=[{}]),
        policy(
            "policy.networking.k8s.io/v1alpha2",
            "ClusterNetworkPolicy",
            tier="Admin",
            priority=10,
            subject={"pods": pods},
        ),
    ]


@pytest.fixture
def meshed(cluster: KindCluster, operator: Release) -> Iterator[Kube]:
    """A cluster that has these kinds, and an operator that began to look after they came."""
    everywhere = Kube(cluster)
    files = [str(file) for file in definitions.of_policies(progress=Progress())]
    options = [word for file in files for word in ("-f", file)]
    try:
        everywhere.kubectl("apply", "--server-side", *options)
        everywhere.kubectl("wait", "--for=condition=Established", "--timeout=60s", *options)
        operator.kube.kubectl("rollout", "restart", f"deployment/{NAME}")
        operator.settle()
        yield everywhere
    finally:
        everywhere.kubectl("delete", "--ignore-not-found", "--wait=false", *options)


def kept(space: Space) -> set[str]:
    """The Services that pods cannot leave, as the condition names them."""
    message = space.condition("CanLeaveServices")["message"]
    return set(message.partition("that Service ")[2].partition(" selects")[0].split(", "))


@pytest.mark.exclusive
def test_every_kind_keeps_pods_in_the_services_that_select_by_its_label(
    operator: Release, meshed: Kube, space: Space
) -> None:
    # given: a Service for each policy, and one whose label no policy selects by
    clusterwide = of_the_cluster(space.namespace)
    kinds = [item["kind"] for item in (*namespaced(), *clusterwide)]
    labels = {label(kind): "yes" for kind in kinds} | {FREE: "yes"}
    pods = deployment()
    pods["spec"]["template"]["metadata"]["labels"] |= labels
    services = [service(key.partition("/")[2], selector={key: "yes"}) for key in labels]
    space.apply(*namespaced(), pods, *services)
    meshed.apply(*clusterwide)
    # when
    space.apply(service(), resilient())
    # then
    space.wait_for("CanLeaveServices", "False", reason="PoliciesSelectPods")
    # A list of policies is read again after half a minute: another service may have had it read before these came.
    wait_until(lambda: kept(space) == {kind.lower() for kind in kinds}, what="the Services of all kinds", timeout=60)
    assert any("PoliciesSelectPods" in event for event in space.events())
