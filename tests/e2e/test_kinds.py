"""Kinds and pods that cannot have a twin: one by one, through budgets, or refused with what to do instead."""

from tests.support.counts import Figures
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.shop_manifests import budget, deployment, resilient, service, shop, workload
from tests.support.space import Space, stays
from tests.support.witness import Witness


def test_a_stateful_set_and_a_daemon_set_restart_one_by_one(operator: Release, space: Space, figures: Figures) -> None:
    # given: three pods of the one, and one on the only node of the other
    space.start(
        *(workload("StatefulSet", "db", spec={"replicas": 3, "podManagementPolicy": "Parallel"}), service("db")),
        *(workload("DaemonSet", "agent"), service("agent"), resilient("agent", kind="DaemonSet")),
        resilient("db", kind="StatefulSet"),
    )
    before = {pod["metadata"]["uid"] for pod in space.list("pods")}
    with Witness(space) as witness:
        # when
        asked = {name: space.request("restart", name) for name in ("db", "agent")}
        results = {name: space.ended(value, name, timeout=90) for name, value in asked.items()}
    # then: all are new, and never two of the StatefulSet's were missing
    figures.write(**{name: result["duration"] for name, result in results.items()})
    assert {result["result"] for result in results.values()} == {"Succeeded"}, results
    assert {name: result["pods"] for name, result in results.items()} == {"db": 3, "agent": 1}
    assert len(space.list("pods")) == 4
    assert not before & {pod["metadata"]["uid"] for pod in space.list("pods")}
    assert witness.fewest_serving(of="db") >= 2
    # and it was said beforehand what that may cost
    said = "\n".join(space.events())
    assert "its pods go one by one" in said
    assert "a DaemonSet cannot surge and this is its only pod" in said


def test_a_budget_blocks_an_eviction_but_not_the_cure(operator: Release, space: Space) -> None:
    # given: a budget that allows no disruption
    target = workload("StatefulSet", "db", spec={"replicas": 1}, env={"FAIL_FILE": "/tmp/fail"})
    space.start(target, service("db"), resilient("db", kind="StatefulSet"), budget("db", maxUnavailable=0))
    uid = space.get("pods", "db-0")["metadata"]["uid"]

    # when: a restart is asked for
    value = space.request("restart", "db")

    # then: the budget is honoured, and status says so
    words = "disruption budget"
    wait_until(lambda: words in space.status("db")["explanation"], what=f"an explanation with {words!r}")
    assert space.get("pods", "db-0")["metadata"]["uid"] == uid

    # when: the pod does not serve any more
    space.inside("db-0", "open('/tmp/fail', 'w')")

    # then: it is replaced, for a budget must not block the cure
    assert space.ended(value, "db")["result"] == "Succeeded"
    assert space.get("pods", "db-0")["metadata"]["uid"] != uid
    assert words not in space.status("db")["explanation"]


def test_a_stateful_set_whose_new_pod_fails_goes_no_further(operator: Release, space: Space) -> None:
    # given: new pods will not become ready
    knob = {"configMapKeyRef": {"name": "knobs", "key": "fail"}}
    knobs: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "knobs"}, "data": {"fail": "0"}}
    target = workload("StatefulSet", "db", spec={"replicas": 2}, env={"FAIL_READY": knob})
    space.start(knobs, target, service("db"), resilient("db", kind="StatefulSet", rollout={"progressDeadline": "15s"}))
    space.patch("configmap", "knobs", {"data": {"fail": "1"}})
    before = {pod["metadata"]["uid"] for pod in space.list("pods")}

    # when
    result = space.restart("db")

    # then: one is lost, the other one is not touched, and it is said why
    assert result["result"] == "Failed", result
    assert "readiness probe fails" in result["message"]
    assert len(before & {pod["metadata"]["uid"] for pod in space.list("pods")}) == 1


CLAIM: Object = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "disk"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
}
DISK = {"name": "tmp", "persistentVolumeClaim": {"claimName": "disk"}}
PORTS = [
    {"name": "http", "containerPort": 8080, "hostPort": 18080},
    {"name": "admin", "containerPort": 8081},
]
# The target, how the restart ends, and what is said.
NO_TWIN: dict[str, tuple[Object, str, tuple[str, ...]]] = {
    "hostport": (deployment("hostport", ports=PORTS), "Refused", ("host port 8080", "delete its pods yourself")),
    "disk": (deployment("disk", pod={"volumes": [DISK]}), "Refused", ("volume claim disk", "ReadWriteOnce")),
    "recreate": (
        deployment("recreate", spec={"strategy": {"type": "Recreate"}}),
        "Refused",
        ("strategy Recreate", "or use RollingUpdate"),
    ),
    "empty": (deployment("empty", replicas=0), "Unneeded", ("the target has no pods",)),
}


def test_what_cannot_have_a_twin_is_refused_with_a_reason(operator: Release, space: Space) -> None:
    # given: one of each
    space.apply(CLAIM, *(target for target, _, _ in NO_TWIN.values()))
    for name in NO_TWIN:
        space.apply(service(name), resilient(name))
    for name in NO_TWIN:
        space.wait_for("Stalled", "False", name)
    # A pod of each that has any.
    wait_until(lambda: len(space.list("pods")) == 3, what="the pods")
    pods = sorted(pod["metadata"]["uid"] for pod in space.list("pods"))

    # when
    asked = {name: space.request("restart", name) for name in NO_TWIN}

    # then
    for name, (_, expected, words) in NO_TWIN.items():
        result = space.ended(asked[name], name)
        assert result["result"] == expected, result
        assert [word for word in words if word not in result["message"]] == [], result
    assert sorted(pod["metadata"]["uid"] for pod in space.list("pods")) == pods


def test_somebody_elses_rollout_is_waited_for(operator: Release, space: Space) -> None:
    # given: a release that does not come to an end
    space.start(*shop(replicas=2))
    space.kubectl("set", "env", "deployment/shop", "FAIL_READY=1")
    space.wait_for("Reconciling", "True", reason="RollingUpdate")

    # when: a restart is asked for, then: nothing is done, and status says why
    value = space.request("restart")
    space.wait_for("Progressing", "False", reason="RestartBlocked")
    assert "is in progress" in space.status()["explanation"]
    stays(lambda: space.retiring() == [], seconds=2, what="no pod is touched")

    # when: the user takes the release back, then: the restart goes on by itself
    space.kubectl("rollout", "undo", "deployment/shop")
    result = space.ended(value)
    assert result["result"] == "Succeeded", result
    space.wait_running()
