"""A load balancer that sends to pods itself and learns of them late loses nothing, with the values of its page.

docs/operations/load-balancers.md has these values.
"""

import pytest

from tests.cluster import engine
from tests.support.balancer import GATED, LoadBalancer
from tests.support.counts import PROOF, Figures, count
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.rollouts import adopted, at_rest, checks, release, rollout, serves, shop, template
from tests.support.shop_manifests import DRAIN, deployment, resilient, service
from tests.support.space import Space
from tests.support.spending import pause

# Seconds that the load balancer is late, and the delay that is enough for it.
LATE = 25.0 if PROOF else 2.0
ENOUGH = "30s" if PROOF else "3500ms"
# Seconds. A pod that is drained takes a few by itself, which a little delay would hide behind.
LONGER_THAN_A_DRAIN = 25.0
SLOW = {"progressDeadline": "5m"}
REACHES_PODS = pytest.mark.skipif(engine.uses_kind(), reason="pods of kind are not reached from here")


def gated(version: str, *, replicas: int = 1) -> Object:
    return template(version, replicas=replicas, pod=GATED)


@REACHES_PODS
@pytest.mark.load
def test_a_late_load_balancer_loses_nothing(operator: Release, space: Space, figures: Figures) -> None:
    # given: a delay that is longer than the load balancer's
    adopted(space, *shop("v0", drain=DRAIN | {"propagationDelay": ENOUGH}, rollout=rollout(**SLOW)))
    with LoadBalancer(space, adds=LATE, removes=LATE) as balancer:
        pause(1)
        balancer.send()
        # when
        for _ in range(count(1, proof=3)):
            assert space.restart(timeout=count(60, proof=240))["result"] == "Succeeded"
        for number in range(count(0, proof=2)):
            assert release(space, template(f"v{number + 1}"), timeout=600)["result"] == "Succeeded"
        pause(LATE + 1)
    # then
    figures.write(**balancer.figures())
    assert balancer.sent > 0
    assert balancer.failed == 0, balancer.failures()


@REACHES_PODS
def test_control_a_late_load_balancer_with_too_short_a_delay_loses_requests(
    operator: Release, space: Space, figures: Figures
) -> None:
    # given
    space.start(deployment(), service(), resilient(drain=DRAIN | {"propagationDelay": "0s"}))
    with LoadBalancer(space, adds=LATE, removes=max(LATE, LONGER_THAN_A_DRAIN)) as balancer:
        pause(1)
        balancer.send()
        # when: the old pod has ended, which a restart does not wait for
        assert space.restart()["result"] == "Succeeded"
        wait_until(lambda: len(space.list("pods")) == 1, what="the end of the old pod")
        pause(1)
    # then: it sends to pods that have ended, or these tests prove nothing
    figures.write(**balancer.figures())
    assert balancer.failed > 0


@REACHES_PODS
@pytest.mark.load
@pytest.mark.long
def test_readiness_gates_are_waited_for(operator: Release, space: Space, figures: Figures) -> None:
    # given: one pod with a readiness gate, and a load balancer that takes its time to add a pod, but none to remove one
    adds = count(2, proof=15)
    wanted = resilient(health=checks(), rollout=rollout(**SLOW))
    with LoadBalancer(space, adds=adds, removes=0) as balancer:
        adopted(space, gated("v0"), service(), wanted)
        balancer.send()
        # when
        restarted = space.restart(timeout=count(60, proof=120))
        released = release(space, gated("v1"), timeout=count(120, proof=300))
        pause(1)
    # then: the gate of a pod without traffic was not waited for, and that of a pod with traffic was
    figures.write(**balancer.figures())
    assert restarted["result"] == "Succeeded", restarted
    assert released["result"] == "Succeeded", released
    assert serves(space) == {"v1"}
    at_rest(space)
    assert balancer.failed == 0, balancer.failures()


@REACHES_PODS
def test_control_without_a_readiness_gate_the_load_balancer_has_no_target_meanwhile(
    operator: Release, space: Space, figures: Figures
) -> None:
    # given: the same without the gate
    space.start(deployment(), service(), resilient(drain=DRAIN))
    with LoadBalancer(space, adds=2, removes=0) as balancer:
        pause(1)
        balancer.send()
        # when
        assert space.restart()["result"] == "Succeeded"
        pause(1)
    # then
    figures.write(**balancer.figures())
    assert balancer.failed > 0
