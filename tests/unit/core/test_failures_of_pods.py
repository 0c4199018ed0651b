"""Pods that cannot run or have no room, in the words of kubelets, runtimes and schedulers; and pods that need time."""

import pytest

from resilience.api.reasons import FailureClass
from resilience.core.failures import classify
from resilience.core.failures.classify import Failure
from resilience.core.model.observation import Pod
from tests.support.factories import make_pod
from tests.support.faults import IMAGE, broken

CONFIGURATION, AUTHENTICATION = FailureClass.CONFIGURATION, FailureClass.AUTHENTICATION
RESOURCE, UNKNOWN = FailureClass.RESOURCE, FailureClass.UNKNOWN
_RUNC = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "


def of(pod: Pod) -> Failure | None:
    return classify.of_pod(pod, image=IMAGE, namespace="shop")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'),
        ("ImagePullBackOff", ""),
        ("ErrImagePull", "pull QPS exceeded"),
        ("StartupFails", "container app runs, but its startup probe has not passed"),
        ("ReadinessFails", "container app runs, but its readiness probe fails"),
        ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"),
        ("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition"),
        ("CreateContainerError", "context deadline exceeded"),
        ("CreateContainerError", 'failed to reserve container name "app_1": name "app_1" is reserved for "9f"'),
        ("FailedMount", 'MountVolume.SetUp failed for volume "data": rpc error: volume is not ready for workloads'),
        ("NodeShutdown", "Pod was terminated in response to imminent node shutdown."),
        ("SomethingNew", "of a later Kubernetes"),
        ("", ""),
    ],
)
def test_a_pod_that_only_needs_time_is_no_failure(fault: str, words: str) -> None:
    assert of(broken(fault, words)) is None


@pytest.mark.parametrize(
    ("fault", "words", "kind", "reason", "advice"),
    [
        (
            "InvalidImageName",
            'Failed to apply default image tag "Shop:2": couldn\'t parse image reference "Shop:2": '
            "invalid reference format",
            CONFIGURATION,
            "InvalidImageName",
            IMAGE,
        ),
        (
            "ErrImageNeverPull",
            f'Container image "{IMAGE}" is not present with pull policy of Never',
            CONFIGURATION,
            "ErrImageNeverPull",
            "imagePullPolicy",
        ),
        (
            "CreateContainerConfigError",
            'secret "db" not found',
            CONFIGURATION,
            "CreateContainerConfigError",
            "create Secret db in the pod's namespace: kubectl -n shop get secret db",
        ),
        ("CreateContainerConfigError", 'configmap "env" not found', CONFIGURATION, None, "create ConfigMap env"),
        (
            "CreateContainerConfigError",
            "couldn't find key URL in ConfigMap shop/env",
            CONFIGURATION,
            None,
            "add key URL to ConfigMap env: kubectl -n shop get configmap env",
        ),
        (
            "CreateContainerConfigError",
            'container has runAsNonRoot and image will run as root (pod: "green-1_shop(1)", container: app)',
            CONFIGURATION,
            None,
            "set runAsUser",
        ),
        (
            "CreateContainerConfigError",
            'secrets "db" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group ""',
            AUTHENTICATION,
            "SecretForbidden",
            "Secret db",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "tls" : secret "shop-tls" not found',
            CONFIGURATION,
            "FailedMount",
            "create Secret shop-tls",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "c" : configmap references non-existent config key: app.yml',
            CONFIGURATION,
            None,
            "add key app.yml",
        ),
        (
            "RunContainerError",
            f'{_RUNC}unable to start container process: exec: "srv": executable file not found in $PATH: unknown',
            CONFIGURATION,
            "RunContainerError",
            "correct command and args",
        ),
        (
            "StartError",
            f"container app ended with exit code 128 (StartError): {_RUNC}exec: /srv: permission denied: unknown",
            CONFIGURATION,
            "StartError",
            "correct command and args",
        ),
        (
            "RunContainerError",
            f"{_RUNC}unable to start container process: container init was OOM-killed (memory limit too low?): unknown",
            RESOURCE,
            "OOMKilled",
            "resources.limits.memory",
        ),
        ("CreateContainerError", "failed to mount rootfs: no space left on device", RESOURCE, "NoSpace", "node n1"),
        (
            "CreateContainerError",
            'failed to generate container "9f" spec: failed to apply OCI options: no command specified',
            CONFIGURATION,
            "CreateContainerError",
            "command and args",
        ),
        ("CreateContainerError", "device not ready", CONFIGURATION, None, "kubectl -n shop describe pod green-1"),
        (
            "Unschedulable",
            "0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory.",
            RESOURCE,
            "Unschedulable",
            "cpu, memory is short",
        ),
        ("Unschedulable", "0/1 nodes are available: 1 node(s) had untolerated taint {a: }.", RESOURCE, None, "taints"),
        (
            "Unschedulable",
            '0/1 nodes are available: persistentvolumeclaim "cache" not found.',
            RESOURCE,
            None,
            "create PersistentVolumeClaim cache",
        ),
        ("Evicted", "The node was low on resource: memory.", RESOURCE, "Evicted", "kubectl describe node n1"),
        (
            "OutOfcpu",
            "Node didn't have enough resource: cpu, requested: 4000, used: 2100, capacity: 6000",
            RESOURCE,
            "OutOfcpu",
            "n1",
        ),
        ("OOMKilled", "container app ended with exit code 137 (OOMKilled)", RESOURCE, "OOMKilled", "limits.memory"),
    ],
)
def test_a_pod_by_its_fault(fault: str, words: str, kind: FailureClass, reason: str | None, advice: str) -> None:
    found = of(broken(fault, words, node="n1"))

    assert found is not None and found.kind is kind
    assert reason in (None, found.reason)
    assert advice in found.advice
    # What is short or missing is said, not only that something is.
    assert words[-30:] in found.message and found.pod == "green-1"


@pytest.mark.parametrize("fault", ["CrashLoopBackOff", "Error", "Completed"])
@pytest.mark.parametrize(("restarts", "fails"), [(0, False), (1, False), (2, True), (9, True)])
def test_the_third_crash_counts(fault: str, restarts: int, fails: bool) -> None:
    found = of(broken(fault, "container app ended with exit code 1: no database", restarts=restarts))

    assert (found is not None) is fails
    if found is not None:
        assert (found.kind, found.reason) == (UNKNOWN, "CrashLoop")
        assert "no database" in found.message and "kubectl -n shop logs green-1" in found.advice


@pytest.mark.parametrize(("code", "words"), [(0, "keep running"), (127, "not found"), (137, "probe"), (3, "read why")])
def test_an_exit_code_is_a_hint(code: int, words: str) -> None:
    found = of(broken("CrashLoopBackOff", f"container app ended with exit code {code}", restarts=2))

    assert found is not None and words in found.advice


@pytest.mark.parametrize(("ready", "deleting"), [(True, False), (False, True)])
def test_a_pod_that_serves_or_goes_shows_nothing(ready: bool, deleting: bool) -> None:
    pod = make_pod(ready=ready, deleting=deleting, fault="InvalidImageName", trouble="InvalidImageName")

    assert of(pod) is None
