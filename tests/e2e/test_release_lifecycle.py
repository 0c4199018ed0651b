"""Coming, going and being taken over in the middle of releases: the user's Deployment stays the user's."""

import time
from functools import partial

import pytest

from tests.e2e.test_release_faults import STEPS, at
from tests.support.counts import PROOF, Figures, count
from tests.support.handing_back import as_the_user_had_it, ours, with_managed_fields
from tests.support.kube import wait_until
from tests.support.release import Release
from tests.support.rollouts import (
    GREEN,
    HASH,
    Endpoints,
    adopted,
    at_rest,
    ended,
    in_flight,
    reached,
    release,
    rollout,
    serves,
    shop,
    template,
    trace,
)
from tests.support.shop_manifests import autoscaler, deployment, resilient, service
from tests.support.space import CLAIM, MANAGED, Space, stays
from tests.support.spending import pause
from tests.support.traffic import LIGHT, Traffic, traffic

NOTES = ("resilience.dev/serving-template", "resilience.dev/progress-deadline-seconds", "resilience.dev/claimed-by")
DELETED = STEPS if PROOF else ["green Preparing", "green Warm"]


def notes(space: Space) -> set[str]:
    return set(space.get("deployments", "shop")["metadata"].get("annotations") or {})


def given_back(space: Space) -> bool:
    """Whether the Deployment is as a user has it, its pods serving by themselves."""
    target = space.get("deployments", "shop")
    mine = not notes(space) & set(NOTES) and not target["spec"].get("paused")
    pins = HASH in space.get("services", "shop")["spec"]["selector"]
    return mine and not pins and space.find("deployments", GREEN) is None


@pytest.mark.parametrize("step", DELETED)
def test_deleting_the_resource_in_the_middle_of_a_release(
    operator: Release, space: Space, figures: Figures, step: str
) -> None:
    # given
    adopted(space, *shop("v1", replicas=2))
    before = space.get("deployments", "shop")["spec"]
    with Endpoints(space) as endpoints, traffic(space.url(), **LIGHT) as clients:
        space.apply(template("v2", replicas=2))
        at(space, step)
        # when
        space.delete("rsvc", "shop")
        # then: whatever served kept serving; the template that was wanted is the Deployment's own affair again
        assert given_back(space)
        assert endpoints.fewest() >= 2, endpoints.story()
        failed = clients.failed
        space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    figures.write(step=step, failed_until_given_back=failed, **clients.figures())
    assert failed == 0, clients.failures()
    assert space.get("deployments", "shop")["spec"]["progressDeadlineSeconds"] != before["progressDeadlineSeconds"]
    assert serves(space) == {"v2"}


def test_deleting_it_after_a_failed_release_leaves_it_paused_and_says_why(operator: Release, space: Space) -> None:
    # given
    adopted(space, *shop("v1"))
    assert release(space, template("v2", env={"CRASH": "1"}))["result"] == "RolledBack"
    # when
    space.delete("rsvc", "shop")
    # then
    target = space.get("deployments", "shop")
    assert target["spec"]["paused"]
    assert "newest template failed" in target["metadata"]["annotations"]["resilience.dev/left-as-it-is"]
    assert serves(space) == {"v1"}
    at_rest(space)
    # when: the resource comes back, and then a good template
    space.apply(resilient(**shop("v1")[2]["spec"]))
    space.wait_for("Stalled", "True", reason="RolloutFailed")
    assert release(space, template("v3"))["result"] == "Succeeded"
    assert serves(space) == {"v3"}


@pytest.mark.exclusive
def test_uninstalling_gives_back_at_rest_and_in_a_release_and_installing_adopts_again(
    operator: Release, space: Space, other_space: Space, figures: Figures
) -> None:
    # given: a service at rest, and one in the middle of a release
    before = with_managed_fields(other_space)
    adopted(space, *shop("v1", rollout=rollout(blueGreen={"warmPeriod": "60s"})))
    with Endpoints(space) as endpoints, traffic(space.url(), kept=4, new=4, vegeta=20) as clients:
        space.apply(template("v2"))
        reached(space, "Warm")
        # when
        operator.uninstall()
        # then: the workloads are the user's, and the resources are still there
        assert given_back(space)
        assert serves(space) == {"v2"}
        assert as_the_user_had_it(other_space, before)
        assert other_space.status()["phase"] == "Suspended"
        assert "uninstalled" in other_space.status()["explanation"]
        assert "finalizers" not in other_space.get("resilientservices", "shop")["metadata"]
        # and when it is installed again, it adopts them
        operator.install()
        space.wait_running()
        other_space.wait_running()
        assert ours(other_space.get("deployments", "shop")) == {MANAGED, CLAIM}
    figures.write(**clients.figures())
    assert clients.failed == 0, clients.failures()
    assert endpoints.fewest() >= 1, endpoints.story()


def test_somebody_resumes_the_deployment_while_a_candidate_is_prepared(operator: Release, space: Space) -> None:
    # given: a candidate that waits for a person
    adopted(space, *shop("v1", replicas=2, rollout=rollout(blueGreen={"promotion": "Manual"})))
    space.apply(template("v2", replicas=2))
    space.wait_for("Ready", "False", reason="AwaitingPromotion", timeout=40)
    with Endpoints(space) as endpoints:
        # when: somebody has the Deployment roll by itself
        space.kubectl("rollout", "resume", "deployment/shop")
        # then: its pods get endpoints, the release ends, and the Deployment is held again
        wait_until(lambda: not in_flight(space) and serves(space) == {"v2"}, what="the end", timeout=60)
    assert endpoints.fewest() >= 2, endpoints.story()
    assert space.status()["lastRollout"]["result"] in ("Succeeded", "Superseded")
    wait_until(lambda: space.get("deployments", "shop")["spec"].get("paused"), what="adoption", timeout=20)
    at_rest(space)


def test_scaled_to_zero_and_up_again(operator: Release, space: Space) -> None:
    # given
    adopted(space, *shop("v1"))
    # when: nothing is to run, and meanwhile the template changes
    space.kubectl("scale", "deployment/shop", "--replicas=0")
    wait_until(lambda: not space.get("deployments", "shop")["spec"].get("paused"), what="release of the Deployment")
    space.apply(template("v2", replicas=0))
    space.kubectl("scale", "deployment/shop", "--replicas=2")
    # then: from zero the newest template starts, and is held
    wait_until(lambda: serves(space) == {"v2"}, what="v2")
    wait_until(lambda: space.get("deployments", "shop")["spec"].get("paused"), what="adoption")
    space.wait_running()
    at_rest(space)


def test_an_autoscaler_is_followed_and_never_undone(operator: Release, space: Space, figures: Figures) -> None:
    # given: an autoscaler that does not speak, so that only the test scales
    adopted(space, *shop("v1", replicas=2, rollout=rollout(blueGreen={"warmPeriod": "5s"})))
    space.apply(autoscaler("shop", least=1, most=5, silent=True))
    with Endpoints(space) as endpoints, traffic(space.url(), **LIGHT) as clients:
        before = trace(space)
        space.apply(template("v2", replicas=2))
        reached(space, "Warm", "Draining", "HoppingBack")
        # when: the load grows while the second Deployment serves
        space.kubectl("scale", "deployment/shop", "--replicas=4")
        # then: it grows at once, and the Deployment's own pods are as many before they take over
        wait_until(lambda: (space.find("deployments", GREEN) or {}).get("spec", {}).get("replicas") == 4, what="growth")
        result = ended(space, before, timeout=120)
    figures.write(**clients.figures())
    assert result["result"] == "Succeeded", result
    assert space.get("deployments", "shop")["spec"]["replicas"] == 4
    assert clients.failed == 0, clients.failures()
    assert endpoints.fewest() >= 2, endpoints.story()
    hpa = space.get("horizontalpodautoscalers", "shop")
    assert hpa["spec"]["scaleTargetRef"]["name"] == "shop"


def test_what_cannot_have_a_second_colour_is_not_adopted(operator: Release, space: Space) -> None:
    # given
    made = deployment(spec={"strategy": {"type": "Recreate"}})
    space.apply(made, service(), resilient(**shop("v1")[2]["spec"]))
    # then
    found = space.wait_for("Stalled", "True", reason="BlueGreenImpossible")
    assert "Recreate" in found["message"]
    stays(lambda: not space.get("deployments", "shop")["spec"].get("paused"), seconds=2, what="not paused")


def test_changing_the_strategy_gives_the_deployment_back(operator: Release, space: Space) -> None:
    # given
    adopted(space, *shop("v1"))
    # when
    space.patch("rsvc", "shop", {"spec": {"rollout": None}})
    # then
    wait_until(lambda: not space.get("deployments", "shop")["spec"].get("paused"), what="the Deployment given back")
    space.wait_running()
    assert "resilience.dev/serving-template" not in notes(space)
    assert space.get("deployments", "shop")["spec"]["progressDeadlineSeconds"] == 600


def answered(clients: Traffic, version: str) -> float | None:
    """When the version first answered on a new connection, in seconds since the load began."""
    seen = clients.load.result().new.versions.get(version)
    return seen.first if seen is not None else None


def test_how_long_a_release_takes_beside_a_native_rolling_update(
    operator: Release, space: Space, other_space: Space, figures: Figures
) -> None:
    """From the change of the template to the first answer of the new version, the same application in the same run."""
    # given: no gates, no preview
    quick = rollout(before=None, after=None, blueGreen={"warmPeriod": "0s"})
    adopted(space, *shop("v0", rollout=quick))
    other_space.apply(template("v0"), service())
    other_space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    ours: list[float] = []
    native: list[float] = []
    for number in range(1, count(1, proof=20) + 1):
        for where, taken in ((space, ours), (other_space, native)):
            with traffic(where.url(), kept=1, new=4, rate=20, vegeta=1) as clients:
                pause(0.5)
                began = time.monotonic()
                where.apply(template(f"v{number}"))
                start = time.monotonic() - clients.load.result().seconds
                first = wait_until(partial(answered, clients, f"v{number}"), what="the new version", every=0.02)
                taken.append(round(start + first - began, 2))
            if where is space:
                wait_until(lambda: not in_flight(space), what="the end", timeout=60)
            else:
                where.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    middle = len(ours) // 2
    figures.write(
        blue_green=ours,
        rolling_update=native,
        ratio_of_medians=round(sorted(ours)[middle] / sorted(native)[middle], 2),
    )
    assert not PROOF or sorted(ours)[middle] < sorted(native)[middle] + 5
