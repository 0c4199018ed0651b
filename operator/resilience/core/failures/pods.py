"""What is wrong with a pod that is not ready, by failure class, and what a person should do about it.

The words are the kubelet's, the scheduler's and the runtime's, as `Pod.fault` and `Pod.trouble` have them. A pod that
only needs time is not wrong. Must not decide what follows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from resilience.api.reasons import FailureClass
from resilience.core.failures import image_pulls
from resilience.core.model.observation import Pod

# A container that has ended so often will not heal by itself; the first two times something else may not be up yet.
CRASHES: Final = 3
_CRASHED: Final = frozenset({"CrashLoopBackOff", "Error", "Completed", "PostStartHookError", "ContainerStatusUnknown"})
# The runtime was told to make or start a container, and could not.
_NOT_STARTED: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "StartError",
        "ContainerCannotRun",
        "PreStartHookError",
        "PreCreateHookError",
        "FailedMount",
    }
)
_NO_ROOM: Final = frozenset({"Unschedulable", "SchedulerError", "UnexpectedAdmissionError"})
# A busy node, or a cache of the kubelet that is filled in a moment.
_ONLY_SLOW: Final = re.compile(
    r"failed to sync \w+ cache|context deadline exceeded|is reserved for|timed out waiting", re.I
)
_MISSING: Final = re.compile(r'\b(?P<kind>configmap|secret) "(?P<name>[^"]+)" not found', re.I)
_MISSING_KEY: Final = re.compile(
    r"couldn't find key (?P<key>\S+) in (?P<kind>ConfigMap|Secret) (?:\S+/)?(?P<name>[^\s/]+)"
)
_FORBIDDEN: Final = re.compile(r'secrets? "(?P<name>[^"]+)" is forbidden', re.I)
_NO_KEY: Final = re.compile(r"references non-existent (?:config|secret) key:? ?(?P<key>\S*)", re.I)
_INSUFFICIENT: Final = re.compile(r"Insufficient ([\w/-]+(?:\.[\w/-]+)*)")
_NO_CLAIM: Final = re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)" not found')
_NO_COMMAND: Final = re.compile(
    r"executable file not found|no command specified|exec: .*(?:no such file|permission denied)"
)
_EXIT_CODE: Final = re.compile(r"exit code (\d+)")


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """What is wrong with a pod, its name aside."""

    kind: FailureClass
    reason: str
    what: str
    advice: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """A pod in trouble, with what is needed to name things."""

    pod: Pod
    words: str
    image: str
    secrets: tuple[str, ...]
    # The namespace as an option of kubectl.
    option: str


def read(pod: Pod, *, image: str, secrets: tuple[str, ...], option: str) -> PodTrouble | None:
    """What is wrong; None when it only needs time. `option`: kubectl's for the namespace, with a space before it."""
    if pod.ready or pod.deleting or not pod.fault:
        return None
    words = pod.trouble.removeprefix(pod.fault).lstrip(": ")
    return _rule(pod.fault)(_Seen(pod, words, image, secrets or pod.pull_secrets, option))


def _rule(fault: str) -> Callable[[_Seen], PodTrouble | None]:
    if fault in image_pulls.FAULTS:
        return _of_pull
    if fault in ("InvalidImageName", "ErrImageNeverPull"):
        return _of_image
    if fault in _NOT_STARTED:
        return _of_start
    if fault in _CRASHED:
        return _of_crash
    if fault == "OOMKilled":
        return _of_memory
    if fault in _NO_ROOM or fault == "Evicted" or fault.startswith("OutOf"):
        return _of_room
    # Probes that have not passed, or a word that is new: the deadline decides.
    return lambda seen: None


def _of_pull(seen: _Seen) -> PodTrouble | None:
    pull = image_pulls.read(seen.words, image=seen.image)
    if pull is None:
        return None
    host = image_pulls.registry(pull.image)
    describe = f"kubectl{seen.option} describe pod {seen.pod.name}"
    match pull.kind:
        case FailureClass.AUTHENTICATION:
            advice = _credentials(seen, pull.image, host)
        case FailureClass.NETWORK:
            advice = f"look whether nodes reach the registry {host} (DNS, proxy, its limits), then release again"
        case FailureClass.RESOURCE:
            advice = f"make room for image {pull.image} on the disk of node {seen.pod.node or 'that the pod is on'}"
        case FailureClass.CONFIGURATION:
            advice = _wrong_image(pull, host)
        case _:
            advice = f"look at the pod's events ({describe}), and pull {pull.image} by hand on its node"
    return PodTrouble(pull.kind, pull.reason, f"cannot pull image {pull.image}: {pull.cause}", advice)


def _credentials(seen: _Seen, image: str, host: str) -> str:
    if not seen.secrets:
        return (
            f"registry {host} wants credentials for {image} (or there is no such repository), and the pod has no "
            f"imagePullSecrets: kubectl{seen.option} create secret docker-registry NAME --docker-server={host} ..., "
            "then name it in the pod template or its ServiceAccount"
        )
    names = ", ".join(seen.secrets)
    return (
        f"registry {host} does not accept the credentials in Secret {names} for {image} (or there is no such "
        f"repository): check that it exists, is for {host} and has not expired: "
        f"kubectl{seen.option} get secret {seen.secrets[0]} -o jsonpath='{{.type}}'"
    )


def _wrong_image(pull: image_pulls.Pull, host: str) -> str:
    if pull.reason == "WrongPlatform":
        return f"build image {pull.image} for the platform of the nodes: kubectl get nodes -L kubernetes.io/arch"
    if pull.reason == "RegistryCertificate":
        return f"have the nodes trust the certificate of registry {host}, or correct its address in {pull.image}"
    if pull.reason == "SignatureValidationFailed":
        return f"sign image {pull.image} as the nodes' policy asks"
    return f"push image {pull.image} to {host}, or correct its name and tag in the pod template"


def _of_image(seen: _Seen) -> PodTrouble:
    fault, image = seen.pod.fault, seen.image
    if fault == "InvalidImageName":
        advice = f"correct the image's name in the pod template; {image!r} has to be like registry/name:tag"
    else:
        advice = f"bring image {image} onto every node, or set imagePullPolicy: IfNotPresent in the pod template"
    return PodTrouble(FailureClass.CONFIGURATION, fault, seen.words or f"{fault}, image {image}", advice)


def _of_start(seen: _Seen) -> PodTrouble | None:
    words, fault = seen.words, seen.pod.fault
    if "OOM-killed" in words:
        return _of_memory(seen)
    if "no space left on device" in words:
        advice = f"make room on the disk of node {seen.pod.node or 'that the pod is on'}"
        return PodTrouble(FailureClass.RESOURCE, "NoSpace", words, advice)
    if _ONLY_SLOW.search(words):
        return None
    if found := _FORBIDDEN.search(words):
        advice = f"allow the pod's node to read Secret {found['name']}; it has to be in the pod's own namespace"
        return PodTrouble(FailureClass.AUTHENTICATION, "SecretForbidden", words, advice)
    advice = _absent(seen)
    if fault == "FailedMount" and not advice:
        # Volumes of every other kind may take a while.
        return None
    return PodTrouble(
        FailureClass.CONFIGURATION, fault, f"{fault}: {words}".rstrip(": "), advice or _start_advice(seen)
    )


def _absent(seen: _Seen) -> str:
    """Which ConfigMap, Secret or key is not there, as advice; empty when that is not what is wrong."""
    for found in (_MISSING.search(seen.words), _MISSING_KEY.search(seen.words)):
        if found is None:
            continue
        kind = "ConfigMap" if found["kind"].lower() == "configmap" else "Secret"
        what = f"{kind} {found['name']}"
        get = f"kubectl{seen.option} get {kind.lower()} {found['name']}"
        key = found.groupdict().get("key")
        return f"add key {key} to {what}: {get}" if key else f"create {what} in the pod's namespace: {get}"
    if found := _NO_KEY.search(seen.words):
        return f"add key {found['key']} to the ConfigMap or Secret that the volume names, or correct its items"
    return ""


def _start_advice(seen: _Seen) -> str:
    if "runAsNonRoot" in seen.words or "non-numeric user" in seen.words:
        return f"set runAsUser in the pod template to a user that image {seen.image} can run as, other than root"
    if _NO_COMMAND.search(seen.words):
        return f"correct command and args in the pod template: image {seen.image} cannot run them"
    return f"look at the pod's events and correct the pod template: kubectl{seen.option} describe pod {seen.pod.name}"


def _of_crash(seen: _Seen) -> PodTrouble | None:
    if seen.pod.restarts < CRASHES - 1:
        return None
    code = _EXIT_CODE.search(seen.words)
    hint = {
        "0": "it ended by itself; the program has to keep running",
        "126": "its command cannot be executed",
        "127": "its command was not found in the image",
        "137": "it was killed: look for a liveness or startup probe that fails",
        "139": "it crashed with a segmentation fault",
    }.get(code[1] if code else "", "")
    logs = f"read why it ended: kubectl{seen.option} logs {seen.pod.name} --all-containers --previous"
    what = f"{seen.pod.fault}, restarted {seen.pod.restarts} times: {seen.words}".rstrip(": ")
    return PodTrouble(FailureClass.UNKNOWN, "CrashLoop", what, f"{hint}; {logs}" if hint else logs)


def _of_memory(seen: _Seen) -> PodTrouble:
    advice = (
        "raise resources.limits.memory of the container, or find out why this version needs more: "
        f"kubectl{seen.option} describe pod {seen.pod.name}"
    )
    return PodTrouble(FailureClass.RESOURCE, "OOMKilled", f"a container ran out of memory: {seen.words}", advice)


def _of_room(seen: _Seen) -> PodTrouble:
    words, fault = seen.words, seen.pod.fault
    lacks = ", ".join(dict.fromkeys(_INSUFFICIENT.findall(words)))
    if found := _NO_CLAIM.search(words):
        advice = f"create PersistentVolumeClaim {found['name']} in the pod's namespace"
    elif lacks:
        advice = f"add nodes, or lower the requests of the pod template: {lacks} is short"
    elif fault == "Unschedulable":
        advice = (
            "add nodes that match, or loosen what the message names: taints, affinity, topology, volumes, host ports"
        )
    else:
        node = seen.pod.node or "NAME"
        advice = f"free what is short on node {node}: kubectl describe node {node}"
    what = f"{fault}: {words}".rstrip(": ")
    return PodTrouble(FailureClass.RESOURCE, fault, what, advice)
