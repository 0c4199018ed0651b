"""Coming and going: resources, the installation, requests that are old, and what it costs to do nothing."""

import time

import pytest

from tests.support.counts import Figures, count
from tests.support.handing_back import as_the_user_had_it, with_managed_fields
from tests.support.kube import wait_until
from tests.support.release import Release
from tests.support.shop_manifests import DRAIN, resilient, shop
from tests.support.space import CLAIM, Space, stays
from tests.support.spending import pause
from tests.support.traffic import LIGHT, traffic
from tests.support.witness import Witness


def test_deleting_the_resource_gives_the_workload_back(operator: Release, space: Space) -> None:
    # given
    before = with_managed_fields(space)
    # when
    space.delete("rsvc", "shop")
    # then
    assert as_the_user_had_it(space, before)
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=30s")


def test_deleting_it_in_the_middle_of_a_restart_finishes_what_was_begun(operator: Release, space: Space) -> None:
    # given
    space.start(*shop(replicas=2))
    before = {pod["metadata"]["name"] for pod in space.shop_pods()}
    with Witness(space) as witness, traffic(space.url(), **LIGHT) as clients:
        space.request("restart")
        witness.wait(lambda pod: pod.step == "leaving", what="a pod that is leaving")
        # when
        space.delete("rsvc", "shop")
        pause(1)
    # then: the pod that had left is gone, the other one was never touched
    after = {pod["metadata"]["name"] for pod in space.shop_pods()}
    assert len(after) == 2
    assert len(after & before) == 1
    assert space.retiring() == []
    assert clients.failed == 0, clients.failures()


def test_helm_test(operator: Release) -> None:
    assert "Phase:          Succeeded" in operator.test()


def claimant(space: Space) -> str:
    """Name of the resource whose claim the Deployment has; empty without one. It is written after status."""
    notes = space.get("deployments", "shop")["metadata"].get("annotations") or {}
    return str(notes.get(CLAIM, "")).partition("/")[0]


def test_of_two_resources_on_one_target_the_older_wins(operator: Release, space: Space) -> None:
    # given
    space.start(*shop())
    # when
    pause(1.1)  # a creation time has whole seconds
    space.apply(resilient("second", target="shop"))
    # then
    found = space.wait_for("Stalled", "True", "second", reason="TargetTaken")
    assert "the older ResilientService shop" in found["message"]
    assert claimant(space) == "shop"
    # when
    space.delete("rsvc", "shop")
    # then
    space.wait_running("second")
    wait_until(lambda: claimant(space) == "second", what="the claim of the younger one")


def test_a_restored_backup_restarts_nothing(operator: Release, space: Space) -> None:
    # given: a resource that had been asked to restart, as a backup has it: without status
    target, at, resource = shop()
    resource["metadata"]["annotations"] = {
        "resilience.dev/restart-requested-at": "last year",
        "resilience.dev/adopt-requested-at": "last year",
    }
    # when
    space.start(target, at, resource)
    # then
    assert "before the resource was first seen" in space.handled("restart")["note"]
    uids = {pod["metadata"]["uid"] for pod in space.list("pods")}
    stays(lambda: "restart" not in space.status() and not space.retiring(), seconds=2, what="nothing is restarted")
    assert "lastRestart" not in space.status()
    assert {pod["metadata"]["uid"] for pod in space.list("pods")} == uids


def suspend(space: Space, *, on: bool) -> None:
    space.patch("rsvc", "shop", {"spec": {"suspend": on}})


def test_suspended_in_the_middle(operator: Release, space: Space) -> None:
    # given: a suspended resource whose pods take their time to leave
    space.start(*shop(drain=DRAIN | {"propagationDelay": "8s"}))
    suspend(space, on=True)
    wait_until(lambda: space.status()["phase"] == "Suspended", what="the suspension")
    with Witness(space) as witness, traffic(space.url(), **LIGHT) as clients:
        # when: a restart is asked for, then: it waits
        value = space.request("restart")
        stays(lambda: space.retiring() == [], seconds=2, what="nothing is begun")

        # when: it is resumed and suspended again in the middle
        suspend(space, on=False)
        witness.wait(lambda pod: pod.step == "leaving", what="a pod that is leaving")
        suspend(space, on=True)
        wait_until(lambda: space.status()["phase"] == "Suspended", what="the suspension")
        here = [(pod["metadata"]["name"], pod["metadata"]["labels"]) for pod in space.list("pods")]

        # then: it stays where it is, and serves
        def unmoved() -> bool:
            return [(pod["metadata"]["name"], pod["metadata"]["labels"]) for pod in space.list("pods")] == here

        stays(unmoved, seconds=2, what="pods stay where they are")

        # when: it is resumed, then: it finishes
        suspend(space, on=False)
        assert space.ended(value)["result"] == "Succeeded"
    assert clients.failed == 0, clients.failures()
    assert len(space.shop_pods()) == 1


def versions(space: Space) -> dict[tuple[str, str], str]:
    """The version of everything that the operator could have written to."""
    plurals = ("resilientservices", "deployments", "services", "pods", "events")
    return {
        (plural, each["metadata"]["name"]): each["metadata"]["resourceVersion"]
        for plural in plurals
        for each in space.list(plural)
    }


@pytest.mark.exclusive
def test_quiet_services_cost_no_write(operator: Release, space: Space, figures: Figures) -> None:
    # given: many services at rest, and a leader that has just listed everything: the next time is in five minutes
    operator.renew(operator.leader())
    operator.settle()
    services, seconds = count(8, proof=20), count(12, proof=60)
    names = [f"shop-{number}" for number in range(services)]
    space.start(*(each for name in names for each in shop(name)), timeout=180)
    settled = wait_until(lambda: settles(space), what="everything to be at rest", timeout=60)

    # when: nothing happens for a while
    before, began = operator.requests(), time.monotonic()
    pause(seconds)
    spent = {verb: total - before.get(verb, 0) for verb, total in operator.requests().items()}
    passed = time.monotonic() - began

    # then: nothing was written but the Lease, by PUT
    figures.write(services=services, quiet_seconds=round(passed), requests=spent)
    assert versions(space) == settled
    assert {verb for verb, total in spent.items() if total and verb != "GET"} == {"PUT"}
    assert spent["PUT"] <= passed / 2 + 2
    assert spent["GET"] <= passed / 2 + 2, "a quiet service is not looked at, and the Lease is read as often as written"


def settles(space: Space) -> dict[tuple[str, str], str] | None:
    """What there is, if it does not change for three seconds."""
    before = versions(space)
    pause(3)
    return before if versions(space) == before else None
