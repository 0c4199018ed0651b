"""A Service that prefers endpoints of the client's own zone: a zone whose last endpoint leaves uses another zone's.

The clients of this machine enter the cluster through the first node, so that node's zone is theirs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.counts import Figures, count
from tests.support.kube import Kube, Object, wait_until
from tests.support.nodes import TOLERATION, Nodes
from tests.support.release import Release
from tests.support.rollouts import (
    Endpoints,
    adopted,
    at_rest,
    checks,
    release,
    restart_plainly,
    rollout,
    serves,
    template,
)
from tests.support.shop_manifests import resilient, selects, service
from tests.support.space import Space
from tests.support.spending import pause
from tests.support.traffic import traffic

ZONE = "topology.kubernetes.io/zone"
SPREAD: Object = {
    "tolerations": [TOLERATION],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": ZONE,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selects("shop")},
        }
    ],
}


@contextmanager
def zoned(cluster: Kube, names: list[str]) -> Iterator[None]:
    """Each of these nodes in a zone of its own."""
    for name in names:
        cluster.kubectl("label", "node", name, f"{ZONE}=zone-{name}", "--overwrite")
    try:
        yield
    finally:
        for name in names:
            cluster.kubectl("label", "node", name, f"{ZONE}-")


def near() -> Object:
    """The shop's Service, which keeps to the zone."""
    made = service()
    made["spec"]["trafficDistribution"] = "PreferClose"
    return made


def hinted(space: Space) -> set[str]:
    """Zones for which the Service has an endpoint."""
    slices = space.list("endpointslices", "kubernetes.io/service-name=shop")
    endpoints = [endpoint for each in slices for endpoint in each.get("endpoints") or []]
    return {zone["name"] for endpoint in endpoints for zone in (endpoint.get("hints") or {}).get("forZones") or []}


@pytest.mark.xdist_group("nodes")
@pytest.mark.load
@pytest.mark.long
def test_a_zone_loses_no_request_when_its_only_endpoint_leaves(
    operator: Release, space: Space, figures: Figures
) -> None:
    cluster, nodes, rounds = Kube(space.cluster), Nodes(space.cluster), count(1, proof=10)
    with nodes.another() as second, zoned(cluster, both := [nodes.names()[0], second]):
        # given: one pod in each of two zones, whose clients keep to it
        paced = resilient(health=checks(), rollout=rollout())
        adopted(space, template("v0", replicas=2, pod=SPREAD), near(), paced)
        wait_until(lambda: hinted(space) == {f"zone-{name}" for name in both}, what="an endpoint for each zone")
        results = []
        with Endpoints(space) as endpoints, traffic(space.url()) as clients:
            # when
            for number in range(1, rounds + 1):
                results.append(space.restart())
                results.append(release(space, template(f"v{number}", replicas=2, pod=SPREAD)))
            pause(1)
        # then
        figures.write(rounds=rounds, **clients.figures())
        assert {result["result"] for result in results} == {"Succeeded"}, results
        assert clients.failed == 0, clients.failures()
        assert endpoints.fewest() >= 2, endpoints.story()
        assert serves(space) == {f"v{rounds}"}
        at_rest(space)
        # and the control: a plain restart of the same shop loses some
        space.delete("rsvc", "shop")
        with traffic(space.url()) as clients:
            restart_plainly(space, rounds)
        figures.write(control=True, **clients.figures())
        assert clients.failed > 0
