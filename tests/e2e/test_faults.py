"""What happens when something breaks in the middle of a restart: nothing is lost, nothing is done twice."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.cluster import engine
from tests.support.counts import PROOF, Figures, count
from tests.support.killer import Killer, kill_leader
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.shop_manifests import deployment, resilient, service, shop
from tests.support.space import Space
from tests.support.spending import pause
from tests.support.traffic import LIGHT, traffic
from tests.support.witness import Sighting, Witness

STEPS = ["accepted", "replacing", "leaving", "left", "draining", "deleting"]


def accepted(space: Space, value: str) -> None:
    """Waits until status says that the restart is in flight."""
    wait_until(lambda: space.handled("restart").get("value") == value, what="acceptance", every=0.02)


def reached(step: str, pod: Sighting) -> bool:
    return pod.deleting if step == "deleting" else pod.step == step


@pytest.mark.killing
@pytest.mark.parametrize("step", STEPS if PROOF else ["accepted", "leaving", "deleting"])
def test_the_operator_is_killed_at_each_step(
    operator: Release, killer: Killer, space: Space, figures: Figures, step: str
) -> None:
    # given: a shop under load
    space.start(*shop())
    durations, rounds = [], count(1, proof=5)
    with Witness(space) as witness, traffic(space.url()) as clients:
        for _ in range(rounds):
            began = time.monotonic()
            # when: the leader dies as soon as the step is seen
            value = space.request("restart")
            if step == "accepted":
                accepted(space, value)
            else:
                witness.wait(partial(reached, step), what=f"a pod that is {step}", since=began)
            hit = kill_leader(operator, killer)
            # then: the restart ends as if nothing had been
            result = space.ended(value, timeout=60)
            durations.append(round(time.monotonic() - began, 1))
            assert result["result"] == "Succeeded", result
            assert len(witness.names(since=began)) == 1, "exactly one replacement"
            assert {pod["metadata"]["name"] for pod in space.shop_pods()} == witness.names(since=began)
            operator.renew(hit)
    figures.write(step=step, kills=rounds, durations=durations, **clients.figures())
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= 1
    assert space.retiring() == []


@pytest.mark.killing
def test_another_replica_takes_over_when_the_leader_is_gone_for_good(
    operator: Release, killer: Killer, space: Space, figures: Figures
) -> None:
    # given: a restart in the middle of a replacement
    space.start(*shop())
    with Witness(space) as witness, traffic(space.url()) as clients:
        began = time.monotonic()
        value = space.request("restart")
        witness.wait(partial(reached, "leaving"), what="a pod that is leaving", since=began)
        # when: the leader's node is lost, in effect
        hit = kill_leader(operator, killer)
        operator.kube.delete("pod", hit, "--grace-period=0", "--force")
        # then: another finishes it, after the time that a lease must be seen unrenewed
        result = space.ended(value, timeout=60)
        seconds = round(time.monotonic() - began, 1)
    figures.write(seconds_to_finish=seconds, **clients.figures())
    assert result["result"] == "Succeeded", result
    assert operator.leader() != hit
    assert len(witness.names(since=began)) == 1
    assert clients.failed == 0, clients.failures()


def test_the_operator_is_not_the_first_process_of_its_pid_namespace(operator: Release) -> None:
    # That one ignores a signal until it has a handler, so a replica that is told to end at its start would go on.
    for pod in operator.pods():
        first = operator.kube.kubectl("exec", pod["metadata"]["name"], "--", "cat", "/proc/1/cmdline")
        assert "resilience" not in first, first


KNOB = {"configMapKeyRef": {"name": "knobs", "key": "fail"}}


def knobs(*, fail: str) -> Object:
    """Read by pods when they start: those that run do not notice a change."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "knobs"}, "data": {"fail": fail}}


@pytest.mark.parametrize(
    ("broken", "why"), [("unready", "readiness probe fails"), ("refused", "exceeded quota")], ids=["unready", "quota"]
)
def test_a_replacement_that_never_comes_up_changes_nothing(
    operator: Release, space: Space, figures: Figures, broken: str, why: str
) -> None:
    # given: two pods that serve, and no way for another one to become ready
    target = deployment(replicas=2, env={"FAIL_READY": KNOB})
    space.start(knobs(fail="0"), target, service(), resilient(rollout={"progressDeadline": "15s"}))
    if broken == "unready":
        space.apply(knobs(fail="1"))
    else:
        space.allow_pods(2)
    before = {pod["metadata"]["name"] for pod in space.shop_pods()}

    # when: a restart is asked for
    with Witness(space) as witness, traffic(space.url(), **LIGHT) as clients:
        value = space.request("restart")
        # then: status says what it waits for, and why
        wait_until(lambda: why in space.status()["explanation"], what=f"an explanation with {why!r}")
        # and, after the deadline the pod is given back
        result = space.ended(value)
        wait_until(lambda: len(space.list("pods")) == 2, what="the failed replacement to go")
    figures.write(case=broken, duration=result["duration"], **clients.figures())
    assert result["result"] == "Failed", result
    assert why in result["message"], result
    assert {pod["metadata"]["name"] for pod in space.shop_pods()} == before
    assert len({each.name for each in witness.sightings() if each.step}) == 1, "only one pod was touched"
    assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in space.shop_pods()} == {"ReplicaSet"}
    assert space.retiring() == []
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= 2


@pytest.fixture
def stopped_api(operator: Release) -> Iterator[Callable[[float], None]]:
    """Stops the API server for so many seconds; it runs afterwards, whatever happens, and so do fresh replicas."""
    cluster = engine.current()

    def stop(seconds: float) -> None:
        cluster.stop_api_server()
        try:
            pause(seconds)
        finally:
            cluster.start_api_server()

    yield stop
    for pod, restarts in operator.restarts().items():
        if restarts:
            operator.renew(pod)


@pytest.mark.exclusive
def test_the_api_server_is_away_during_a_restart(
    operator: Release, stopped_api: Callable[[float], None], space: Space, figures: Figures
) -> None:
    # given: a restart in the middle of a replacement
    replicas, seconds = count(1, proof=3), count(15, proof=30)
    space.start(*shop(replicas=replicas))
    with Witness(space) as witness, traffic(space.url()) as clients:
        began = time.monotonic()
        value = space.request("restart")
        witness.wait(partial(reached, "leaving"), what="a pod that is leaving", since=began)
        # when
        stopped_api(seconds)
        # then: it goes on by itself, and nobody noticed
        back = time.monotonic()
        result = space.ended(value, timeout=200)
        after = round(time.monotonic() - back, 1)
    figures.write(seconds_away=seconds, seconds_to_finish=after, **clients.figures())
    assert result["result"] == "Succeeded", result
    assert len(witness.names(since=began)) == replicas, "exactly one replacement each"
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= replicas
    assert space.retiring() == []
