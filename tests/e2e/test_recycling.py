"""Pods that leak, spin, age, hang or flap are replaced for the right reason, and no client notices."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.support.counts import PROOF, Figures, count
from tests.support.killer import Killer, kill_leader
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.shop_manifests import deployment, policies, resilient, service, shop
from tests.support.space import Space, stays
from tests.support.spending import pause
from tests.support.traffic import LIGHT, traffic
from tests.support.witness import Witness

# From 30 MiB to the line of the policy in half a minute, to the limit of 128 MiB in more than one: time for both pods.
LEAK = {"LEAK_MB_PER_MINUTE": "40" if PROOF else "60"}
# The kernel ends it all the same, only sooner.
FAST_LEAK = {"LEAK_MB_PER_MINUTE": "160"}
LEAKS: Object = {"name": "leak", "memory": {"above": "60%" if PROOF else "50%", "for": "2s"}}
MISBEHAVE = "open('/tmp/bad', 'w')"
# Not at once: whatever is executed in a container dies with it, and kubectl would say that it failed.
END_SOON = (
    "import subprocess, sys; nothing = subprocess.DEVNULL; subprocess.Popen([sys.executable, '-c', 'import os, time;"
    " time.sleep(2); os.kill(1, 15)'], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)"
)
HUNG: Object = {"name": "stuck", "check": {"name": "live", "failures": 3}}
SPINS: Object = {"name": "spin", "cpu": {"above": "200m", "for": "5s"}}
# A pod that spins has to get what it is measured by, however many others start beside it.
ROOM_TO_SPIN: Object = {"requests": {"cpu": "250m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}}
FLAPS: Object = {"name": "flappy", "containerRestarts": {"above": 2, "within": "10m"}}


def killed_for_memory(space: Space) -> int:
    """Containers of the shop's pods that the kernel has ended, as far as pods still tell."""
    found = 0
    for pod in space.list("pods", "app.kubernetes.io/name=shop"):
        for each in pod["status"].get("containerStatuses", []):
            states = [each.get("lastState") or {}, each.get("state") or {}]
            found += any((state.get("terminated") or {}).get("reason") == "OOMKilled" for state in states)
    return found


def restarts_of(space: Space) -> list[Object]:
    return [entry for entry in space.status().get("history") or [] if entry["kind"] == "Restart"]


def names(space: Space) -> set[str]:
    return {pod["metadata"]["name"] for pod in space.shop_pods()}


@pytest.mark.load
@pytest.mark.long
def test_a_leaking_pod_goes_before_it_is_killed(operator: Release, space: Space, figures: Figures) -> None:
    # given
    space.start(*shop(replicas=2, env=LEAK, restart=policies(LEAKS)))
    began, killed, first = time.monotonic(), 0, names(space)

    def is_over() -> bool:
        """Both pods have gone before their limit; at full counts for ten minutes, again and again."""
        nonlocal killed
        killed += killed_for_memory(space)
        if PROOF:
            return time.monotonic() - began > 600
        return not first & names(space) and "restart" not in space.status()

    # when
    with Witness(space) as witness, traffic(space.url()) as clients:
        wait_until(is_over, what="both pods to be replaced", timeout=700, every=1)
    # then
    restarts = restarts_of(space)
    figures.write(
        seconds_of_leak=round(time.monotonic() - began), restarts=len(restarts), killed=killed, **clients.figures()
    )
    assert restarts and all(each["result"] == "Succeeded" for each in restarts), restarts
    assert all("policy leak: pod" in each["message"] and "% of 128 MiB" in each["message"] for each in restarts)
    assert killed == 0
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= 2


@pytest.mark.plain
@pytest.mark.long
def test_control_without_the_policy_the_pod_is_killed(space: Space, figures: Figures) -> None:
    # given
    space.apply(deployment(replicas=1, env=LEAK if PROOF else FAST_LEAK), service())
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    # when
    with traffic(space.url(), kept=4, new=4) as clients:
        wait_until(lambda: killed_for_memory(space) > 0, what="the kernel to end it", timeout=180)
        pause(3)
    # then: or the test above proves nothing
    figures.write(**clients.figures())
    assert clients.failed > 0


def oldest_first(space: Space) -> list[str]:
    born = {each["metadata"]["name"]: each["metadata"]["creationTimestamp"] for each in space.list("pods")}
    return sorted(names(space), key=lambda name: (born[name], name))


def is_grown(space: Space, pod: str) -> bool:
    """Whether a pod was made more than a minute ago."""
    born = datetime.fromisoformat(space.get("pods", pod)["metadata"]["creationTimestamp"])
    return datetime.now(UTC) - born > timedelta(minutes=1)


@pytest.mark.parametrize(
    ("policy", "switch", "says"),
    [
        (HUNG, "HANG_FILE", "policy stuck: pod"),
        (SPINS, "SPIN_FILE", "policy spin: pod"),
    ],
    ids=["hangs", "spins"],
)
def test_the_pod_that_misbehaves_is_replaced_and_no_other(
    operator: Release, space: Space, figures: Figures, policy: Object, switch: str, says: str
) -> None:
    # given
    spacious = deployment(replicas=2, env={switch: "/tmp/bad"}, resources=ROOM_TO_SPIN)
    space.start(spacious, service(), resilient(restart=policies(policy)))
    durations, last = [], ""
    # Few clients: what they cost must be far from what a pod costs that spins, however slow the machine.
    with Witness(space) as witness, traffic(space.url(), kept=4, new=4, vegeta=10) as clients:
        for number in range(count(1, proof=5)):
            # when: one that has served for a while; a fresh one that fails the same way is a loop, and left alone
            bad, good = oldest_first(space)
            if number:
                wait_until(partial(is_grown, space, bad), what=f"{bad} to have served for a minute", timeout=90)
            began = time.monotonic()
            space.inside(bad, MISBEHAVE)
            result = space.recycled(after=last)
            durations.append(round(time.monotonic() - began, 1))
            # then
            assert result["result"] == "Succeeded" and result["pods"] == 1, result
            assert says in result["reason"] and bad in result["reason"], result
            assert good in names(space) and bad not in names(space)
            last = result["traceId"]
    figures.write(durations=durations, **clients.figures())
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= 2
    assert space.status()["restarts"].get("firing", []) == []


def test_old_pods_go_one_after_the_other(operator: Release, space: Space, figures: Figures) -> None:
    # given
    aged: Object = {"name": "aged", "uptime": {"above": "30s"}}
    space.start(*shop(replicas=2))
    before = names(space)
    # when
    with Witness(space) as witness, traffic(space.url(), **LIGHT) as clients:
        space.apply(shop(replicas=2, restart=policies(aged))[-1])
        wait_until(lambda: not before & names(space), what="every old pod to be gone", timeout=120)
        space.apply(shop(replicas=2)[-1])
        wait_until(lambda: "restart" not in space.status(), what="the end", timeout=60)
    # then
    figures.write(**clients.figures())
    assert "policy aged: pod" in space.status()["lastRestart"]["reason"]
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= 2


@pytest.mark.long
def test_a_pod_whose_containers_keep_restarting_is_replaced(operator: Release, space: Space) -> None:
    # given
    space.start(*shop(replicas=2, restart=policies(FLAPS)))
    bad = sorted(names(space))[0]

    def restarted(before: int) -> bool:
        return bool(space.get("pods", bad)["status"]["containerStatuses"][0]["restartCount"] > before)

    # when
    for number in range(3):
        wait_until(lambda: _ready(space, bad), what=f"{bad} to run", timeout=90)
        space.inside(bad, END_SOON)
        # The kubelet waits for up to 30 s before the third one.
        wait_until(partial(restarted, number), what="its restart", timeout=90)
    # then
    result = space.recycled()
    assert "policy flappy: containers of pod" in result["reason"] and bad in result["reason"], result
    assert bad not in names(space)


def _ready(space: Space, pod: str) -> bool:
    statuses = space.get("pods", pod)["status"].get("containerStatuses", [])
    return all(each["ready"] for each in statuses)


def test_a_dry_run_only_says_what_it_would_do(operator: Release, space: Space) -> None:
    # given
    space.start(*shop(env={"HANG_FILE": "/tmp/bad"}, restart=policies(HUNG | {"dryRun": True})))
    (pod,) = names(space)
    # when
    space.inside(pod, MISBEHAVE)
    wait_until(lambda: any("WouldRestart" in each for each in space.events()), what="the Event", timeout=30)
    # then
    (firing,) = space.status()["restarts"]["firing"]
    assert firing["name"] == "stuck" and firing["dryRun"] and pod in firing["message"]
    stays(lambda: names(space) == {pod}, seconds=5, what="the pod stays")
    assert sum("WouldRestart" in each for each in space.events()) == 1


def test_a_useless_restart_is_not_repeated(operator: Release, space: Space) -> None:
    # given: what replaces a hung pod hangs as soon as it serves
    space.start(*shop(env={"HANG_FILE": "/tmp/bad"}, restart=policies(HUNG, coolDown="1m")))
    (pod,) = names(space)
    space.inside(pod, MISBEHAVE)
    first = space.recycled(timeout=120)
    (fresh,) = names(space)
    # when
    space.inside(fresh, MISBEHAVE)
    wait_until(lambda: space.status()["restarts"].get("blockedBy") == "RestartLoop", what="the loop", timeout=60)
    # then
    assert first["result"] == "Succeeded" and fresh != pod
    stays(lambda: names(space) == {fresh}, seconds=10, what="nothing is restarted")
    assert sum("RestartLoop" in each for each in space.events()) == 1
    assert "restarting them is useless" in space.status()["explanation"]


@pytest.mark.killing
@pytest.mark.long
def test_the_operator_is_killed_in_a_restart_by_policy(
    operator: Release, killer: Killer, space: Space, figures: Figures
) -> None:
    # given
    space.start(*shop(replicas=2, env={"HANG_FILE": "/tmp/bad"}, restart=policies(HUNG, coolDown="10m")))
    bad, good = sorted(names(space))
    with Witness(space) as witness, traffic(space.url()) as clients:
        # when
        space.inside(bad, MISBEHAVE)
        wait_until(lambda: bool(space.retiring()), what="its replacement to begin", timeout=60)
        hit = kill_leader(operator, killer)
        # then: finished once, and the cool-down goes on
        result = space.recycled(timeout=120)
        operator.renew(hit)
        other = next(iter(names(space) - {good}))
        space.inside(other, MISBEHAVE)
        wait_until(
            lambda: space.status()["restarts"].get("blockedBy") in ("CoolDown", "RestartLoop"),
            what="what holds it back",
            timeout=60,
        )
        stays(lambda: names(space) == {good, other}, seconds=5, what="the pods stay")
    figures.write(**clients.figures())
    assert result["result"] == "Succeeded" and result["pods"] == 1, result
    assert len(space.status()["restarts"]["recent"]) == 1
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= 2
