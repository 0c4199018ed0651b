"""A restart loses no request, though the application dies at once on SIGTERM, in the middle of what it does."""

import time

import pytest

from tests.support.counts import Figures, count
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.rollouts import restart_plainly
from tests.support.shop_manifests import (
    DRAIN,
    READY_PROBE,
    autoscaler,
    budget,
    deployment,
    resilient,
    service,
    shop,
)
from tests.support.space import CLAIM, Space
from tests.support.spending import pause
from tests.support.traffic import traffic
from tests.support.witness import Witness


def untouched(space: Space) -> dict[str, object]:
    """What a restart must leave as it is."""
    target = space.get("deployments", "shop")
    hpa = space.get("horizontalpodautoscalers", "shop")
    return {
        "generation": target["metadata"]["generation"],
        "spec": target["spec"],
        "revision": target["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "autoscaler": (hpa["spec"], hpa["metadata"].get("labels"), hpa["metadata"].get("annotations")),
    }


def pod_names(space: Space) -> set[str]:
    return {pod["metadata"]["name"] for pod in space.shop_pods()}


@pytest.mark.load
@pytest.mark.long
@pytest.mark.parametrize("replicas", [1, 3])
def test_restarts_under_load_lose_nothing(operator: Release, space: Space, figures: Figures, replicas: int) -> None:
    # given: a shop with a budget that allows no disruption and an autoscaler, under load
    extras = [budget("shop", maxUnavailable=0), autoscaler("shop", least=replicas, most=replicas + 2)]
    space.start(*shop(replicas=replicas), *extras)
    # Status is written before the claim, which counts as a change of the Deployment.
    wait_until(lambda: CLAIM in space.get("deployments", "shop")["metadata"]["annotations"], what="the claim")
    before, durations, reported = untouched(space), [], []
    restarts = count(2 if replicas == 1 else 1, proof=20)

    # when: it is restarted again and again
    with Witness(space) as witness, traffic(space.url()) as clients:
        for _ in range(restarts):
            began, old = time.monotonic(), pod_names(space)
            result = space.restart(timeout=60 * replicas)
            durations.append(round(time.monotonic() - began, 1))
            # then: it succeeded, every pod was replaced by exactly one other
            assert result["result"] == "Succeeded", result
            assert len(witness.names(since=began)) == replicas, f"{witness.names(since=began)} in the place of {old}"
            assert not old & pod_names(space)
            assert result["requests"]["failed"] == 0, result
            assert result.get("keptConnectionsCut", 0) == 0, result
            reported.append(result["requests"]["sent"])
        pause(1)

    # then: no client noticed, there never were fewer pods, and nothing else has changed
    figures.write(
        restarts=restarts, replicas=replicas, durations=durations, measured=sum(reported), **clients.figures()
    )
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= replicas
    assert untouched(space) == before
    assert space.retiring() == []


@pytest.mark.load
def test_without_a_drain_signal_status_says_how_many_connections_were_cut(
    operator: Release, space: Space, figures: Figures
) -> None:
    # given: an application that nobody can tell to let its clients go, and that counts connections of its probe, too
    rarely = {**READY_PROBE, "periodSeconds": 10}
    resource = resilient(drain={**DRAIN, "signal": None, "maxWait": "2s"})
    space.start(deployment(probe=rarely), service(), resource)
    kept, cut, restarts = 10, 0, count(1, proof=20)

    # when
    with traffic(space.url(), kept=kept) as clients:
        pause(1)
        for _ in range(restarts):
            result = space.restart()
            assert result["result"] == "Succeeded", result
            assert result["requests"]["failed"] == 0, result
            cut += result["keptConnectionsCut"]
            pause(1)

    # then: new connections lost nothing; of the kept ones each was cut once, and status counted them
    figures.write(restarts=restarts, reported_cut=cut, **clients.figures())
    assert clients.failed_new == 0, clients.failures()
    assert cut == kept * restarts
    assert 0 < clients.failed_kept <= cut, clients.failures()


@pytest.mark.plain
def test_control_without_the_operator_requests_are_lost(space: Space, figures: Figures) -> None:
    # given: the same application, and no ResilientService
    space.apply(deployment(replicas=1), service())
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")

    # when: it is restarted as everybody does it
    with traffic(space.url()) as clients:
        restart_plainly(space, count(2, proof=20))

    # then: the clients notice, or these tests prove nothing
    figures.write(**clients.figures())
    assert clients.failed > 0
    assert clients.failed_new > 0


@pytest.mark.load
def test_surge_replaces_several_at_once(operator: Release, space: Space, figures: Figures) -> None:
    # given
    space.start(*shop(replicas=3, restart={"surge": 3}))

    # when
    with Witness(space) as witness, traffic(space.url()) as clients:
        result: Object = space.restart()

    # then
    figures.write(duration=result["duration"], **clients.figures())
    assert result["result"] == "Succeeded", result
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= 3
