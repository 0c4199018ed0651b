"""The optional ValidatingAdmissionPolicy: what the operator's ServiceAccount may and may not write, whatever RBAC says.

Must not need the operator: kubectl acts in its name.
"""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_kind import KindCluster

from tests.support.chart import Chart
from tests.support.spending import pause

pytestmark = [pytest.mark.plain, pytest.mark.xdist_group("admission policy")]

Patch = dict[str, Any]

# Nothing here is ever scheduled, so that no image is needed.
POD_SPEC: Patch = {
    "serviceAccountName": "app",
    "nodeSelector": {"resilience.dev/nowhere": "true"},
    "volumes": [{"name": "tmp", "emptyDir": {}}],
    "containers": [
        {"name": "app", "image": "app:1", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 8080}]},
        {"name": "side", "image": "side:1", "readinessProbe": {"exec": {"command": ["true"]}}},
    ],
}
LABELS = {"app": "checkout"}
TEMPLATE: Patch = {"metadata": {"labels": LABELS}, "spec": POD_SPEC}
SELECTED: Patch = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout", "uid": "1", "controller": True}


def container(**fields: Any) -> Patch:
    return {"spec": {"template": {"spec": {"containers": [{"name": "app", **fields}]}}}}


def in_template(**fields: Any) -> Patch:
    return {"spec": {"template": {"spec": fields}}}


def metadata(**fields: Any) -> Patch:
    return {"metadata": fields}


PROBE = {"httpGet": {"path": "/readyz", "port": 8080}}
ALLOWED: list[tuple[str, Patch]] = [
    *((kind, container(readinessProbe=PROBE)) for kind in ("deployment", "statefulset", "daemonset")),
    ("deployment", container(livenessProbe=PROBE, startupProbe={"tcpSocket": {"port": 8080}})),
    ("deployment", container(lifecycle={"preStop": {"sleep": {"seconds": 5}}})),
    ("deployment", container(readinessProbe=None, lifecycle=None)),
    ("deployment", metadata(labels={"resilience.dev/managed": "true"}, annotations={"resilience.dev/claimed-by": "x"})),
    ("deployment", metadata(labels={"resilience.dev/managed": None}, annotations={"resilience.dev/claimed-by": None})),
    ("deployment", {"spec": {"paused": True, "progressDeadlineSeconds": 2147483647}}),
    ("deployment", {"spec": {"paused": None, "replicas": 2}}),
    ("service", metadata(labels={"resilience.dev/managed": "true"})),
    ("service", {"spec": {"selector": {"pod-template-hash": "5d4c"}}}),
    ("service", {"spec": {"selector": {"pod-template-hash": None}}}),
    ("pod", metadata(labels={"resilience.dev/retiring": "leaving", "app": "left"})),
]
REFUSED: list[tuple[str, Patch, str]] = [
    *((kind, container(image="evil:1"), "of a container") for kind in ("deployment", "statefulset", "daemonset")),
    ("deployment", container(command=["sh"]), "of a container"),
    ("deployment", container(env=[{"name": "A", "value": "2"}]), "of a container"),
    ("deployment", container(securityContext={"privileged": True}), "of a container"),
    ("deployment", container(volumeMounts=[{"name": "tmp", "mountPath": "/x"}]), "of a container"),
    ("deployment", in_template(containers=[{"name": "extra", "image": "x:1"}]), "of a container"),
    ("deployment", container(readinessProbe={"exec": {"command": ["sh"]}}), "run commands by a probe"),
    ("deployment", container(lifecycle={"preStop": {"exec": {"command": ["sh"]}}}), "no lifecycle hook but"),
    ("deployment", container(lifecycle={"postStart": {"sleep": {"seconds": 1}}}), "no lifecycle hook but"),
    ("deployment", in_template(serviceAccountName="admin"), "of a pod template"),
    ("deployment", in_template(hostNetwork=True), "of a pod template"),
    ("deployment", in_template(initContainers=[{"name": "i", "image": "x:1"}]), "of a pod template"),
    ("deployment", {"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}, "of a pod template"),
    ("deployment", {"spec": {"minReadySeconds": 9}}, "of a workload's spec"),
    ("deployment", {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 9}}}}, "of a workload's spec"),
    ("deployment", metadata(labels={"team": "x"}), "only labels under resilience.dev/"),
    ("deployment", metadata(annotations={"team": "x"}), "only annotations under resilience.dev/"),
    ("deployment", metadata(finalizers=["example.com/x"]), "only labels, annotations and"),
    ("service", {"spec": {"selector": {"app": "other"}}}, "but the pin in its selector"),
    ("service", {"spec": {"selector": {"more": "x"}}}, "but the pin in its selector"),
    ("service", {"spec": {"externalIPs": ["192.0.2.1"]}}, "but the pin in its selector"),
    ("pod", {"spec": {"containers": [{"name": "app", "image": "evil:1"}]}}, "the spec of a pod"),
    ("pod", metadata(labels={"app": "other"}), "only labels under resilience.dev/"),
    ("pod", metadata(labels={"new": "left"}), "only labels under resilience.dev/"),
    ("service", metadata(annotations={"resilience.dev/preview-of": "checkout"}), "may mark nothing afterwards"),
    ("deployment", metadata(annotations={"resilience.dev/green-of": "checkout"}), "may mark nothing afterwards"),
    ("pod", metadata(ownerReferences=[{**OWNER, "kind": "DaemonSet"}]), "only to a Deployment"),
]


class Actor:
    """Patches in a namespace, as the operator's ServiceAccount."""

    def __init__(self, cluster: KindCluster, *, namespace: str, user: str) -> None:
        self._cluster = cluster
        self._base = ("--namespace", namespace, "--as", user)

    def patch(self, kind: str, patch: Patch, *options: str) -> str:
        """What kubectl said, whether it could or not."""
        style = "merge" if "ownerReferences" in patch.get("metadata", {}) else "strategic"
        return self._say("patch", kind, "checkout", "--type", style, "-p", json.dumps(patch), *options)

    def create(self, made: Patch, *options: str) -> str:
        """What kubectl said to a new object."""
        return self._say("create", "-f", "-", *options, stdin=json.dumps(made))

    def delete(self, kind: str) -> str:
        """What kubectl said, without anything being deleted."""
        return self._say("delete", kind, "checkout", "--dry-run=server")

    def _say(self, *command: str, stdin: str = "") -> str:
        try:
            return str(self._cluster.kubectl(*self._base, *command, input=stdin, stderr=subprocess.STDOUT))
        except subprocess.CalledProcessError as error:
            return f"refused: {error.output}"


@pytest.fixture(scope="module")
def actor(cluster: KindCluster) -> Iterator[Actor]:
    suffix = uuid.uuid4().hex[:8]
    home, shop = f"policy-operator-{suffix}", f"policy-shop-{suffix}"
    kinds = {"ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    rendered = Chart(namespace=home).render(admissionPolicy={"enabled": True}, rbac={"aggregate": False})
    rules = listed([item for item in rendered if item["kind"] in kinds])
    cluster.kubectl("apply", "-f", "-", input=rules)
    cluster.kubectl("create", "namespace", shop)
    cluster.kubectl("create", "-n", shop, "-f", "-", input=listed(workloads()))
    account = f"{home}:resilience-operator"
    # kubectl reads before it patches; the operator does not, and has no right to.
    cluster.kubectl("create", "role", "reader", "-n", shop, "--verb=get", "--resource=pods,services")
    cluster.kubectl("create", "rolebinding", "reader", "-n", shop, "--role=reader", f"--serviceaccount={account}")
    actor = Actor(cluster, namespace=shop, user=f"system:serviceaccount:{account}")
    wait_for_the_policy(actor)
    yield actor
    cluster.kubectl("delete", "-f", "-", "--wait=false", input=rules)
    cluster.kubectl("delete", "namespace", shop, "--wait=false")


def workloads() -> list[Patch]:
    def named(api: str, kind: str, **fields: Any) -> Patch:
        return {"apiVersion": api, "kind": kind, "metadata": {"name": "checkout", "labels": LABELS}, **fields}

    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app"}},
        named("apps/v1", "Deployment", spec=SELECTED),
        named("apps/v1", "StatefulSet", spec={**SELECTED, "serviceName": "checkout"}),
        named("apps/v1", "DaemonSet", spec=SELECTED),
        named("v1", "Service", spec={"selector": LABELS, "ports": [{"port": 80}]}),
        named("v1", "Pod", spec=POD_SPEC),
        named("v1", "ConfigMap", data={"a": "1"}),
    ]


def listed(items: list[Patch]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def wait_for_the_policy(actor: Actor) -> None:
    deadline = time.monotonic() + 30
    while "of a container" not in (said := actor.patch("deployment", container(image="evil:1"), "--dry-run=server")):
        assert time.monotonic() < deadline, said
        pause(0.2)


@pytest.mark.parametrize(("kind", "patch"), ALLOWED, ids=lambda value: json.dumps(value)[:60])
def test_what_the_operator_writes_is_let_through(actor: Actor, kind: str, patch: Patch) -> None:
    said = actor.patch(kind, patch)
    assert "checkout patched" in said
    assert "no change" not in said


def test_a_label_that_was_left_is_not_written_again(actor: Actor) -> None:
    # given: the pod may have its label from the test before, or not
    actor.patch("pod", metadata(labels={"app": "left"}))
    # when
    for value in ("other", "checkout", None):
        said = actor.patch("pod", metadata(labels={"app": value}), "--dry-run=server")
        # then
        assert said.startswith("refused") and "only labels under resilience.dev/" in said


def test_a_pod_may_be_given_to_a_deployment(actor: Actor) -> None:
    # Dry, because an owner that does not exist gets the pod collected.
    said = actor.patch("pod", metadata(ownerReferences=[OWNER]), "--dry-run=server")
    assert "checkout patched" in said


@pytest.mark.parametrize(("kind", "patch", "message"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_everything_else_is_refused(actor: Actor, kind: str, patch: Patch, message: str) -> None:
    said = actor.patch(kind, patch, "--dry-run=server")
    assert said.startswith("refused")
    assert message in said


def test_a_template_is_replaced_only_where_one_has_failed(actor: Actor) -> None:
    # given
    other = container(image="good:1")
    assert "of a container" in actor.patch("deployment", other, "--dry-run=server")
    # when
    noted = other | metadata(annotations={"resilience.dev/failed-template": "abc"})
    # then
    assert "checkout patched" in actor.patch("deployment", noted, "--dry-run=server")


SECOND: Patch = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "checkout-green",
        "annotations": {"resilience.dev/green-of": "checkout"},
        "ownerReferences": [OWNER],
    },
    "spec": SELECTED,
}
PREVIEW: Patch = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "preview", "annotations": {"resilience.dev/preview-of": "checkout"}},
    "spec": {"selector": LABELS, "ports": [{"port": 80}]},
}


FLAGS: Patch = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "checkout-flags", "labels": {"resilience.dev/flags-of": "checkout"}},
    "data": {"redis-degraded": "true"},
}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (FLAGS, ""),
        ({**FLAGS, "metadata": {"name": "checkout-flags"}}, "no ConfigMap but those with flags"),
        ({**FLAGS, "metadata": {**FLAGS["metadata"], "name": "settings"}}, "no ConfigMap but those with flags"),
        (SECOND, ""),
        ({**SECOND, "metadata": {"name": "checkout-green"}}, "no Deployment but the second one"),
        ({**SECOND, "metadata": {**SECOND["metadata"], "name": "other"}}, "no Deployment but the second one"),
        (PREVIEW, ""),
        ({**PREVIEW, "metadata": {"name": "preview"}}, "no Service but a preview"),
        ({**PREVIEW, "spec": {**PREVIEW["spec"], "type": "NodePort"}}, "no Service but a preview"),
    ],
)
def test_it_makes_only_what_a_release_and_flags_need(actor: Actor, made: Patch, message: str) -> None:
    said = actor.create(made, "--dry-run=server")
    assert message in said
    assert said.startswith("refused") == bool(message), said


def test_it_deletes_nothing_of_others(actor: Actor) -> None:
    for kind in ("deployment", "service"):
        assert "may make and delete no" in actor.delete(kind)
    assert "no ConfigMap but those with flags" in actor.delete("configmap")
