"""The Service leads to a native sidecar's port, as with nginx or oauth2-proxy: nothing is lost, and nothing waits.

The sidecar is another shop, on other ports; it dies at once on SIGTERM, too.
"""

import pytest

from tests.support.counts import Figures, count
from tests.support.kube import Object
from tests.support.release import Release
from tests.support.rollouts import adopted, checks, release, restart_plainly, rollout, serves, template
from tests.support.shop_manifests import DRAIN, READY_PROBE, container, resilient, service
from tests.support.space import Space
from tests.support.spending import pause
from tests.support.traffic import LIGHT, traffic

PORTS: list[Object] = [{"name": "front", "containerPort": 9090}, {"name": "front-admin", "containerPort": 9091}]


def behind_a_sidecar(version: str) -> Object:
    """The Deployment with that version; clients reach the sidecar only."""
    env = {"PORT": "9090", "ADMIN_PORT": "9091", "VERSION": version}
    probe = {**READY_PROBE, "httpGet": {"path": "/readyz", "port": "front"}}
    front = container(env, name="front", ports=PORTS, restartPolicy="Always", readinessProbe=probe)
    return template(version, pod={"initContainers": [front]})


def leading_to_it() -> Object:
    made = service()
    made["spec"]["ports"] = [{"name": "http", "port": 80, "targetPort": "front"}]
    return made


def managed() -> Object:
    signal, quiet = DRAIN["signal"]["http"], DRAIN["quiet"]["http"]
    drain = {
        **DRAIN,
        "signal": {"http": {**signal, "port": "front-admin"}},
        "quiet": {"http": {**quiet, "port": "front-admin"}},
    }
    return resilient(health=checks(), rollout=rollout(), drain=drain)


@pytest.mark.load
def test_a_service_of_a_sidecar_is_released_and_restarted_without_loss(
    operator: Release, space: Space, figures: Figures
) -> None:
    # given
    adopted(space, behind_a_sidecar("v0"), leading_to_it(), managed())
    times = count(1, proof=10)

    # when
    with traffic(space.url(), **LIGHT) as clients:
        for number in range(1, times + 1):
            released = release(space, behind_a_sidecar(f"v{number}"))
            restarted = space.restart()
            # then: the gate was asked, and the sidecar let its clients go
            assert released["result"] == "Succeeded", released
            assert restarted["result"] == "Succeeded", restarted
            assert released.get("keptConnectionsCut", 0) == restarted.get("keptConnectionsCut", 0) == 0
            assert serves(space) == {f"v{number}"}
        pause(1)

    figures.write(releases=times, restarts=times, **clients.figures())
    assert clients.failed == 0, clients.failures()


@pytest.mark.plain
def test_control_a_sidecar_restarted_without_the_operator_loses_requests(space: Space, figures: Figures) -> None:
    # given: the same pods, and nobody who drains them
    space.apply(behind_a_sidecar("v0"), leading_to_it())
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")

    # when
    with traffic(space.url()) as clients:
        restart_plainly(space, count(1, proof=10))

    # then: the clients notice, or the test above proves nothing
    figures.write(**clients.figures())
    assert clients.failed > 0
