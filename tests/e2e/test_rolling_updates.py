"""RollingUpdate: the Deployment controller rolls, the operator tells how it goes and answers a failure once."""

from tests.support.counts import Figures
from tests.support.kube import wait_until
from tests.support.release import Release
from tests.support.rollouts import checks, ended, release, serves, template, trace
from tests.support.shop_manifests import resilient, service
from tests.support.space import Space, stays
from tests.support.traffic import LIGHT, traffic

AFTER = {"checks": ["health"], "for": "1s"}


def start(space: Space, **rollout: object) -> None:
    wanted = {"progressDeadline": "30s", **rollout}
    space.start(template("v1", replicas=2), service(), resilient(health=checks(), rollout=wanted))
    wait_until(lambda: space.status()["rollout"].get("serving"), what="the version that serves")


def test_a_good_template_is_followed_through_its_gate(operator: Release, space: Space) -> None:
    start(space, after=AFTER)
    result = release(space, template("v2", replicas=2))
    assert result["result"] == "Succeeded", result
    assert "Gate" in [each["name"] for each in result["steps"]]
    assert space.get("deployments", "shop")["spec"].get("paused") is None
    space.wait_for("Ready", "True")


def test_a_bad_template_is_paused_once(operator: Release, space: Space, figures: Figures) -> None:
    # given
    start(space)
    with traffic(space.url(), **LIGHT) as clients:
        # when
        result = release(space, template("v2", replicas=2, env={"CRASH": "1"}))
    # then: it stops where it is, the old pods serve
    figures.write(duration=result["duration"], **clients.figures())
    assert result["result"] == "Paused", result
    assert space.get("deployments", "shop")["spec"]["paused"]
    assert space.condition("Stalled")["reason"] == "RolloutFailed"
    assert clients.failed == 0, clients.failures()
    # when: a person resumes it
    space.kubectl("rollout", "resume", "deployment/shop")
    # then: he is not fought
    stays(lambda: not space.get("deployments", "shop")["spec"].get("paused"), seconds=5, what="it stays resumed")
    # when: another template comes
    before = trace(space)
    space.apply(template("v3", replicas=2))
    # then
    assert ended(space, before)["result"] == "Succeeded"
    assert serves(space) == {"v3"}


def test_a_paused_rollout_goes_on_with_another_template(operator: Release, space: Space) -> None:
    start(space)
    assert release(space, template("v2", replicas=2, env={"CRASH": "1"}))["result"] == "Paused"
    result = release(space, template("v3", replicas=2))
    assert result["result"] == "Succeeded", result
    assert serves(space) == {"v3"}
    assert not space.get("deployments", "shop")["spec"].get("paused")


def test_a_bad_template_is_taken_back_once(operator: Release, space: Space, figures: Figures) -> None:
    # given
    start(space, onFailure="Rollback", after=AFTER)
    with traffic(space.url(), **LIGHT) as clients:
        # when: it comes up, and fails its gate
        result = release(space, template("v2", replicas=2, env={"FAIL_HEALTH_AFTER": "0"}))
        # then: the last good template is the Deployment's again
        wait_until(lambda: serves(space) == {"v1"}, what="v1", timeout=60)
        space.wait_for("Ready", "False", reason="RolledBack")
    figures.write(duration=result["duration"], **clients.figures())
    assert result["result"] == "RolledBack", result
    # when: somebody insists
    space.apply(template("v2", replicas=2, env={"FAIL_HEALTH_AFTER": "0"}))
    # then: it is his
    wait_until(lambda: serves(space) == {"v2"}, what="v2", timeout=60)
    stays(lambda: serves(space) == {"v2"}, seconds=5, what="it is not taken back again")
