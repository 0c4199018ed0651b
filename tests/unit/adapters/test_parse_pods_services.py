"""Raw pods in trouble and raw Services, as API servers have them, to views; and what failures make of such pods."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resilience.adapters.kube import parse
from resilience.api.reasons import FailureClass
from resilience.api.status_base import format_time
from resilience.core.failures import classify
from resilience.core.model.observation import Pod
from resilience.core.model.service import Service
from tests.support.factories import LABELS, NOW

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team-checkout/services/checkout:2026-03-01.1-9f3c2d1"
_RESOLVE = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": '
_NOT_FOUND = f"rpc error: code = NotFound desc = {_RESOLVE}{IMAGE}: not found"
_BACK_OFF = "back-off 20s restarting failed container=app pod=green-1_shop(3e8)"
_START = "failed to create containerd task: OCI runtime create failed: exec: /srv: permission denied: unknown"


def container(name: str = "app", *, restarts: int = 0, last: Any = None, **state: Any) -> dict[str, Any]:
    """A container's status; `state` is waiting, running or terminated, and the rest of its fields."""
    fields = {key: state.pop(key) for key in ("ready", "started") if key in state}
    made = {"name": name, "image": IMAGE, "ready": False, "started": False, "restartCount": restarts, "state": state}
    return made | {"lastState": {"terminated": last} if last else {}} | fields


def raw_pod(*containers: Any, init: Any = (), status: Any = None, spec: Any = None, meta: Any = None) -> dict[str, Any]:
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-01T11:59:00Z"},
        {
            "type": "Ready",
            "status": "False",
            "reason": "ContainersNotReady",
            "message": "containers with unready status",
        },
    ]
    base = {"phase": "Pending", "conditions": conditions, "containerStatuses": list(containers)}
    base |= {"initContainerStatuses": list(init)} if init else {}
    metadata = {"namespace": "shop", "name": "green-1", "uid": "u", "resourceVersion": "7", "labels": LABELS}
    return {
        "metadata": metadata | (meta or {}),
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": IMAGE}]} | (spec or {}),
        "status": base | (status or {}),
    }


def read(raw: dict[str, Any]) -> Pod:
    return parse.pod(raw, min_ready_seconds=0, now=NOW)


def wait(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str, message: str = "") -> dict[str, Any]:
    return {"exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-03-01T11:59:30Z"}


@pytest.mark.parametrize(
    ("status", "fault", "trouble"),
    [
        (container(**wait("ErrImagePull", "pull QPS exceeded")), "ErrImagePull", "ErrImagePull: pull QPS exceeded"),
        (
            container(**wait("ImagePullBackOff", 'Back-off pulling image "shop:2"')),
            "ImagePullBackOff",
            'ImagePullBackOff: Back-off pulling image "shop:2"',
        ),
        (container(**wait("InvalidImageName", "bad")), "InvalidImageName", "InvalidImageName: bad"),
        (container(**wait("ErrImageNeverPull")), "ErrImageNeverPull", "ErrImageNeverPull"),
        (
            container(**wait("CreateContainerConfigError", 'secret "db" not found')),
            "CreateContainerConfigError",
            'CreateContainerConfigError: secret "db" not found',
        ),
        (container(**wait("CreateContainerError", "no")), "CreateContainerError", "CreateContainerError: no"),
        (container(**wait("RunContainerError", _START)), "RunContainerError", f"RunContainerError: {_START}"),
        (
            container(restarts=3, last=ended(128, "StartError", _START), **wait("CrashLoopBackOff", _BACK_OFF)),
            "StartError",
            f"StartError: container app ended with exit code 128 (StartError): {_START}",
        ),
        (
            container(restarts=3, last=ended(1, "Error", "Traceback:\n  no\tdatabase\n"), **wait("CrashLoopBackOff")),
            "CrashLoopBackOff",
            "CrashLoopBackOff: container app ended with exit code 1: Traceback: no database",
        ),
        (
            container(restarts=2, last=ended(0, "Completed"), **wait("CrashLoopBackOff", _BACK_OFF)),
            "CrashLoopBackOff",
            "CrashLoopBackOff: container app ended with exit code 0",
        ),
        (
            container(restarts=1, **wait("CrashLoopBackOff", _BACK_OFF)),
            "CrashLoopBackOff",
            "CrashLoopBackOff: container app ends again and again",
        ),
        (
            container(restarts=1, last=ended(137, "OOMKilled"), **wait("CrashLoopBackOff", _BACK_OFF)),
            "OOMKilled",
            "OOMKilled: container app ended with exit code 137 (OOMKilled)",
        ),
        (
            container(terminated=ended(137, "OOMKilled")),
            "OOMKilled",
            "OOMKilled: container app ended with exit code 137 (OOMKilled)",
        ),
        (container(terminated=ended(2, "Error")), "Error", "Error: container app ended with exit code 2"),
        (container(terminated=ended(0, "Completed")), "Completed", "Completed: container app ended with exit code 0"),
        (
            container(running={"startedAt": "2026-03-01T11:59:30Z"}),
            "StartupFails",
            "container app runs, but its startup probe has not passed",
        ),
        (
            container(running={}, started=True, restarts=2, last=ended(137, "OOMKilled")),
            "ReadinessFails",
            "container app runs, but its readiness probe fails; before that container app ended with exit code 137 "
            "(OOMKilled)",
        ),
        (container(**wait("ContainerCreating")), "", ""),
        (container(**wait("PodInitializing")), "", ""),
        (container(running={}, started=True, ready=True), "", ""),
    ],
)
def test_a_container_in_trouble(status: dict[str, Any], fault: str, trouble: str) -> None:
    found = read(raw_pod(status))

    assert (found.fault, found.trouble, found.restarts) == (fault, trouble, status["restartCount"])


def test_an_init_container_counts_until_it_has_ended_well() -> None:
    waits = container(**wait("PodInitializing"))
    crash = container("migrate", restarts=2, last=ended(1, "Error"), **wait("CrashLoopBackOff", _BACK_OFF))

    assert read(raw_pod(waits, init=[crash])).trouble == "CrashLoopBackOff: container migrate ended with exit code 1"
    assert read(raw_pod(waits, init=[container("migrate", running={}, started=True)])).fault == ""
    assert read(raw_pod(waits, init=[container("migrate", terminated=ended(0, "Completed"))])).fault == ""
    assert read(raw_pod(waits, init=[container("migrate", terminated=ended(3, "Error"))])).fault == "Error"
    assert read(raw_pod(waits, init=[container("migrate", **wait("ErrImagePull", _NOT_FOUND))])).fault == "ErrImagePull"


def test_a_sidecar_among_the_init_containers_has_to_keep_running() -> None:
    spec = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}
    waits = container(**wait("PodInitializing"))

    unready = read(raw_pod(waits, init=[container("proxy", running={}, started=True)], spec=spec))
    gone = read(raw_pod(waits, init=[container("proxy", terminated=ended(0, "Completed"))], spec=spec))

    assert unready.trouble == "container proxy runs, but its readiness probe fails"
    assert gone.fault == "Completed"


def test_what_cannot_run_is_told_before_what_is_not_ready() -> None:
    found = read(
        raw_pod(
            container("proxy", running={}, started=True),
            container(restarts=1, last=ended(1, "Error"), **wait("CrashLoopBackOff")),
        )
    )

    assert found.fault == "CrashLoopBackOff"


def test_one_crash_of_each_of_many_containers_is_no_loop() -> None:
    crashes = [
        container(name, restarts=1, last=ended(1, "Error"), **wait("CrashLoopBackOff")) for name in ("app", "a", "b")
    ]

    assert read(raw_pod(*crashes)).restarts == 1
    assert read(raw_pod(*crashes, init=[container("m", restarts=4, terminated=ended(0, "Completed"))])).restarts == 4


def test_the_scheduler_says_what_is_short() -> None:
    message = (
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 "
        "Insufficient memory. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}

    found = read(raw_pod(status={"conditions": [condition]}, spec={"nodeName": ""}))

    assert found.fault == "Unschedulable" and found.node == ""
    assert found.trouble.startswith("Unschedulable: 0/3 nodes") and found.trouble.endswith("Insufficient memory.")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi."),
        ("OutOfcpu", "Node didn't have enough resource: cpu, requested: 4000, used: 2100, capacity: 6000"),
    ],
)
def test_a_node_gives_a_pod_up(reason: str, message: str) -> None:
    over = container(terminated=ended(137, "Error"))

    found = read(raw_pod(over, status={"phase": "Failed", "reason": reason, "message": message}))

    assert (found.fault, found.trouble) == (reason, f"{reason}: {message}")


def test_somebody_elses_readiness_gate() -> None:
    message = 'the status of pod readiness gate "lb.example.com/ready" is not "True", but False'
    condition = {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": message}
    ready = container(running={}, started=True, ready=True)

    found = read(raw_pod(ready, status={"conditions": [condition]}))

    assert (found.fault, found.trouble) == ("ReadinessGatesNotReady", f"ReadinessGatesNotReady: {message}")


def gated(*answers: Any, ready: bool = True, ago: int = 60) -> Pod:
    """A pod with two readiness gates; its containers have been ready for `ago` seconds, if they are."""
    since = format_time(NOW - timedelta(seconds=ago))
    containers = {"type": "ContainersReady", "status": str(ready), "lastTransitionTime": since}
    unready = {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": "not yet"}
    raw = raw_pod(
        container(running={}, started=True, ready=ready), status={"conditions": [containers, unready, *answers]}
    )
    raw["spec"]["readinessGates"] = [{"conditionType": "lb.example/one"}, {"conditionType": "lb.example/two"}]
    return parse.pod(raw, min_ready_seconds=30, now=NOW)


def answer(status: str, **fields: str) -> dict[str, str]:
    return {"type": "lb.example/one", "status": status, **fields}


@pytest.mark.parametrize(
    ("pod", "open_gates", "awaits"),
    [
        (gated(), ("lb.example/one", "lb.example/two"), True),
        (gated(answer("True")), ("lb.example/two",), True),
        (gated(answer("False")), ("lb.example/one", "lb.example/two"), True),
        (gated(answer("True"), answer("True", type="lb.example/two")), (), False),
        (gated(ready=False), ("lb.example/one", "lb.example/two"), False),
        # minReadySeconds counts from when its containers were ready.
        (gated(ago=20), ("lb.example/one", "lb.example/two"), False),
    ],
)
def test_readiness_gates_that_are_not_true_are_open(pod: Pod, open_gates: tuple[str, ...], awaits: bool) -> None:
    assert (pod.open_gates, pod.awaits_gates, pod.available) == (open_gates, awaits, False)


def test_the_words_of_who_answers_a_gate_are_kept() -> None:
    found = gated(answer("False", reason="Target.FailedHealthChecks", message="Health checks failed"))
    assert found.trouble == "ReadinessGatesNotReady: not yet; Target.FailedHealthChecks: Health checks failed"


def test_a_ready_pod_has_no_trouble_whatever_it_went_through() -> None:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T11:59:55Z"}
    status = container(running={}, started=True, ready=True, restarts=5, last=ended(137, "OOMKilled"))

    found = read(raw_pod(status, status={"conditions": [condition]}))

    assert (found.ready, found.fault, found.trouble, found.restarts) == (True, "", "", 5)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (f"{IMAGE}: not found", FailureClass.CONFIGURATION),
        ("unexpected status from HEAD request to https://x/v2/: 401 Unauthorized", FailureClass.AUTHENTICATION),
        ("failed to do request: Head: dial tcp: lookup x: no such host", FailureClass.NETWORK),
    ],
)
@pytest.mark.parametrize("digest", ["", "@sha256:" + "9f3c2d1e" * 8])
def test_the_cause_of_a_long_message_is_kept(cause: str, kind: FailureClass, digest: str) -> None:
    words = f'Back-off pulling image "{IMAGE}": ErrImagePull: rpc error: code = Unknown desc = {_RESOLVE}{cause}'
    words = words.replace(IMAGE, IMAGE + digest)

    pod = read(raw_pod(container(**wait("ImagePullBackOff", words)), spec={"imagePullSecrets": [{"name": "ecr"}]}))
    found = classify.of_pod(pod, image="other:1")

    assert len(pod.trouble) <= 600 and pod.pull_secrets == ("ecr",)
    assert found is not None and found.kind is kind and f"cannot pull image {IMAGE}{digest}: " in found.message
    assert ("Secret ecr" in found.advice) is (kind is FailureClass.AUTHENTICATION)


@pytest.mark.parametrize(
    ("text", "time"),
    [("2026-03-01T11:59:55Z", datetime(2026, 3, 1, 11, 59, 55, tzinfo=UTC)), ("just now", None), (None, None)],
)
def test_when_a_pod_was_told_to_let_its_clients_go(text: str | None, time: datetime | None) -> None:
    annotations = {} if text is None else {"resilience.dev/drain-signalled-at": text}

    found = read(raw_pod(meta={"annotations": annotations}))

    assert (found.signalled_at, found.node) == (time, "n1")


@pytest.mark.parametrize(
    ("states", "time"),
    [
        ([{"running": {"startedAt": "2026-03-01T11:59:55Z"}}], datetime(2026, 3, 1, 11, 59, 55, tzinfo=UTC)),
        ([{"waiting": {"reason": "CrashLoopBackOff"}}], None),
        ([], None),
        (
            [{"running": {"startedAt": "2026-03-01T11:00:00Z"}}, {"running": {"startedAt": "2026-03-01T11:00:07Z"}}],
            datetime(2026, 3, 1, 11, 0, 7, tzinfo=UTC),
        ),
    ],
)
def test_when_the_last_of_its_containers_started(states: list[dict[str, Any]], time: datetime | None) -> None:
    statuses = [container(**state) for state in states]

    assert read(raw_pod(*statuses)).started == time


def raw_service(*managed: dict[str, Any], **annotations: str) -> Service:
    keys = {key.replace("_", "-"): value for key, value in annotations.items()}
    meta = {
        "namespace": "shop",
        "name": "checkout",
        "resourceVersion": "42",
        "annotations": {f"resilience.dev/{key}": value for key, value in keys.items()},
        "managedFields": list(managed),
    }
    return parse.service({"metadata": meta, "spec": {"selector": LABELS, "ports": [{"port": 80}]}})


def entry(manager: str, operation: str = "Apply", field: str = "f:selector") -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {}}, "f:spec": {field: {}}},
    }


@pytest.mark.parametrize(
    ("managed", "annotations", "owner"),
    [
        ([], {}, ""),
        ([entry("argocd-controller")], {}, "argocd-controller"),
        ([entry("kubectl-client-side-apply", "Update"), entry("flux")], {}, "flux"),
        ([entry("helm", "Update")], {}, ""),
        ([entry("flux", field="f:ports")], {}, ""),
        ([entry("resilience-operator")], {}, ""),
        ([entry("resilience-operator"), entry("flux")], {}, "flux"),
        ([entry("flux")], {"accept_selector_pin": "true"}, ""),
        ([entry("flux")], {"accept_selector_pin": "yes"}, "flux"),
        ([{"manager": "kube-controller-manager", "operation": "Apply", "subresource": "status"}], {}, ""),
    ],
)
def test_whose_the_selector_is(managed: list[dict[str, Any]], annotations: dict[str, str], owner: str) -> None:
    assert raw_service(*managed, **annotations).selector_owner == owner


def test_a_preview_service_names_its_deployment() -> None:
    found = raw_service(preview_of="checkout")

    assert (found.preview_of, found.resource_version) == ("checkout", "42")
    assert raw_service().preview_of == ""
