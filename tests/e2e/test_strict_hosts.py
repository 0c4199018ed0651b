"""A Django application that refuses every Host but its public name is released and restarted without a loss."""

from typing import Final

import pytest

from tests.cluster import engine
from tests.cluster.images import DJANGO
from tests.cluster.paths import cache
from tests.cluster.shell import exclusive
from tests.support.counts import Figures, count
from tests.support.kube import Object
from tests.support.release import Release
from tests.support.rollouts import adopted, release, restart_plainly, serves
from tests.support.shop_manifests import deployment, resilient, service
from tests.support.space import Space
from tests.support.spending import pause
from tests.support.traffic import LIGHT, traffic

NAME: Final = "shop.example.org"
# The user's own probe, as such applications have it.
PROBE: Final[Object] = {
    "httpGet": {"path": "/", "port": "http", "httpHeaders": [{"name": "Host", "value": NAME}]},
    "periodSeconds": 1,
    "timeoutSeconds": 2,
}
CHECKS: Final[list[Object]] = [
    {"name": "ready", "http": {"path": "/", "host": NAME}},
    {"name": "live", "scope": "Pod", "http": {"path": "/", "port": "http", "host": NAME}},
]
# Long enough to roll back a version whose measured requests fail.
ROLLOUT: Final[Object] = {
    "strategy": "BlueGreen",
    "progressDeadline": "60s",
    "before": {"checks": ["ready", "live"]},
    "after": {"checks": ["ready", "live"], "for": "1s"},
    "blueGreen": {"warmPeriod": "3s"},
}


@pytest.fixture
def image(loaded: None) -> str:
    """The application, on the cluster's nodes."""
    with exclusive(cache() / "images.lock"):
        engine.current().provide(DJANGO)
    return DJANGO.tag


def django(image: str, version: str) -> Object:
    # With some work there always is a request in flight, so a process that ends at once loses it.
    env = {"VERSION": version, "ALLOWED_HOSTS": NAME, "WORK_MS": "50"}
    return deployment(image=image, probe=PROBE, env=env)


def resource(**verify: str) -> Object:
    health = {"interval": "1s", "timeout": "900ms", "checks": CHECKS}
    measured = {"requestsPerSecond": 20, "path": "/"} | verify
    return resilient(health=health, drain={"preStop": "0s"}, verify=measured, rollout=ROLLOUT)


@pytest.mark.load
def test_an_application_that_checks_its_host_loses_nothing(
    operator: Release, space: Space, figures: Figures, image: str
) -> None:
    # given: an application that answers 400 to the Service's own name, by which measured requests call it
    adopted(space, django(image, "v0"), service(), resource())
    releases, refused = count(1, proof=10), []

    with traffic(space.url(), host=NAME, **LIGHT) as clients:
        # when: it is released
        for number in range(1, releases + 1):
            result = release(space, django(image, f"v{number}"))
            # then: requests that failed in the same way before do not roll it back
            assert result["result"] == "Succeeded", result
            assert result["requests"]["failed"] == result["requests"]["sent"] > 0, result
            assert serves(space) == {f"v{number}"}
            refused.append(result["requests"]["failed"])

        # when: they say the name that it knows, and it is restarted
        space.apply(resource(host=NAME))
        for _ in range(releases):
            restarted = space.restart()
            # then: they pass
            assert restarted["result"] == "Succeeded", restarted
            assert restarted["requests"]["failed"] == 0 < restarted["requests"]["sent"], restarted
        pause(0.5)

    # then: no client noticed anything
    figures.write(releases=releases, refused=refused, **clients.figures())
    assert clients.failed == 0, clients.failures()


@pytest.mark.plain
def test_control_the_same_application_without_the_operator_loses_requests(
    space: Space, figures: Figures, image: str
) -> None:
    # given: the same application, and no ResilientService
    space.apply(django(image, "v0"), service())
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")

    # when: it is restarted as everybody does it
    with traffic(space.url(), host=NAME) as clients:
        restart_plainly(space, count(1, proof=10))

    # then: the clients notice, or the test above proves nothing
    figures.write(**clients.figures())
    assert clients.failed > 0
