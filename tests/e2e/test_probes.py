"""When managed fields are written into the pod template, and how requests by annotation are answered."""

from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.shop_manifests import deployment, resilient, service, shop
from tests.support.space import Space, stays
from tests.support.witness import Witness

PROBES: Object = {"readiness": {"check": "ready"}, "startup": {"check": "live", "maxDuration": "1m"}}
MANAGED: Object = {"probes": PROBES, "drain": {"preStop": "1s"}}


def shop_container(space: Space) -> Object:
    found: Object = space.get("deployments", "shop")["spec"]["template"]["spec"]["containers"][0]
    return found


def managed_fields(space: Space) -> set[str]:
    return {"readinessProbe", "startupProbe", "livenessProbe", "lifecycle"} & shop_container(space).keys()


def revisions(space: Space) -> int:
    return len(space.list("replicasets"))


def test_probes_are_written_with_the_users_next_change(operator: Release, space: Space) -> None:
    # given: a service without probes whose releases last some seconds, and a resource that asks for them
    space.start(deployment(probe=None, spec={"minReadySeconds": 3}), service(), resilient(**MANAGED))

    # then: nothing is written, for that would roll all pods; status says when, and how to have it now
    waiting = space.wait_for("ProbesSynced", "False", reason="WaitingForRollout")
    assert "resilience.dev/adopt-requested-at" in waiting["message"]
    stays(lambda: revisions(space) == 1 and not managed_fields(space), seconds=2, what="the template stays")

    # when: the user releases something
    space.kubectl("set", "env", "deployment/shop", "VERSION=2")

    # then: they are there
    space.wait_for("ProbesSynced", "True", reason="Applied")
    space.wait_running()
    found = shop_container(space)
    assert managed_fields(space) == {"readinessProbe", "startupProbe", "lifecycle"}
    assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http", "scheme": "HTTP"}
    assert found["startupProbe"]["failureThreshold"] == 60
    assert found["lifecycle"] == {"preStop": {"sleep": {"seconds": 1}}}
    assert revisions(space) <= 3


def test_adopt_writes_them_now(operator: Release, space: Space) -> None:
    # given
    space.start(deployment(probe=None), service(), resilient(**MANAGED))
    assert managed_fields(space) == set()

    # when
    value = space.request("adopt")

    # then
    space.wait_for("ProbesSynced", "True", reason="Applied")
    space.wait_running()
    assert space.handled("adopt")["value"] == value
    assert managed_fields(space) == {"readinessProbe", "startupProbe", "lifecycle"}
    assert revisions(space) == 2

    # when: it is asked for again, then: there is nothing to do, and it says so
    again = space.request("adopt")
    wait_until(lambda: space.handled("adopt").get("value") == again, what="the second request to be handled")
    assert "are in place" in space.handled("adopt")["note"]
    assert revisions(space) == 2


def test_observe_writes_nothing(operator: Release, space: Space) -> None:
    # given
    observed = {**MANAGED, "probes": {**PROBES, "management": "Observe"}}
    space.start(deployment(probe=None), service(), resilient(**observed))
    assert space.condition("ProbesSynced")["reason"] == "ObservedOnly"

    # when: the user releases something, and even asks
    space.kubectl("set", "env", "deployment/shop", "VERSION=2")
    value = space.request("adopt")
    wait_until(lambda: space.handled("adopt").get("value") == value, what="the request to be handled")
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=30s")

    # then
    stays(lambda: not managed_fields(space), seconds=1, what="the template is the user's alone")
    assert revisions(space) == 2


def test_abort_gives_the_pod_back(operator: Release, space: Space) -> None:
    # given: a restart that waits for a pod that will not become ready for long
    space.start(*shop(replicas=2))
    before = {pod["metadata"]["name"] for pod in space.shop_pods()}
    space.allow_pods(2)
    with Witness(space) as witness:
        value = space.request("restart")
        witness.wait(lambda pod: pod.step == "replacing", what="a pod that was taken over")

        # when
        space.request("abort")

        # then
        assert space.ended(value)["result"] == "Aborted"
    assert {pod["metadata"]["name"] for pod in space.shop_pods()} == before
    assert space.retiring() == []
    assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in space.shop_pods()} == {"ReplicaSet"}

    # when: there is nothing to abort, then: it says so
    again = space.request("abort")
    wait_until(lambda: space.handled("abort").get("value") == again, what="the second request to be handled")
    assert space.handled("abort")["note"] == "nothing was in flight"
