"""A Service that clients reach by IPv6 alone, on a cluster with both families."""

import pytest

from tests.cluster import engine, network
from tests.support.counts import Figures, count
from tests.support.kube import Object
from tests.support.release import Release
from tests.support.rollouts import Endpoints, adopted, at_rest, release, restart_plainly, serves, shop, template
from tests.support.shop_manifests import service
from tests.support.space import Space
from tests.support.spending import pause
from tests.support.traffic import traffic

HAS_IPV6 = pytest.mark.skipif(
    engine.uses_kind() or not network.has_ipv6(), reason="this cluster has IPv4 alone: kind, or a kernel without IPv6"
)


def by_ipv6() -> Object:
    made = service()
    made["spec"] |= {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}
    return made


@pytest.mark.load
@HAS_IPV6
def test_a_service_of_ipv6_alone_is_released_and_restarted_without_loss(
    operator: Release, space: Space, figures: Figures
) -> None:
    # given
    rounds = count(1, proof=10)
    deployed, _, paced = shop("v0", replicas=2)
    adopted(space, deployed, by_ipv6(), paced)
    results = []
    with Endpoints(space) as endpoints, traffic(space.url()) as clients:
        # when
        for number in range(1, rounds + 1):
            results.append(release(space, template(f"v{number}", replicas=2)))
            results.append(space.restart())
        pause(1)
    # then
    figures.write(rounds=rounds, **clients.figures())
    assert {result["result"] for result in results} == {"Succeeded"}, results
    assert all(result["requests"]["sent"] > 0 for result in results), results
    assert clients.failed == 0, clients.failures()
    assert endpoints.fewest() >= 2, endpoints.story()
    assert serves(space) == {f"v{rounds}"}
    at_rest(space)


@pytest.mark.plain
@HAS_IPV6
def test_control_a_plain_restart_of_it_loses_requests(space: Space, figures: Figures) -> None:
    # given
    space.apply(template("v0", replicas=2), by_ipv6())
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    # when
    with traffic(space.url()) as clients:
        restart_plainly(space, count(1, proof=10))
    # then
    figures.write(**clients.figures())
    assert clients.failed > 0
