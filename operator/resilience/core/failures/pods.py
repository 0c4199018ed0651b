"""Diagnosis of a pod that is not ready: the class of failure, and advice for a person.

It reads the words of the kubelet, the scheduler and the runtime in `Pod.fault` and `Pod.trouble`. A pod that only needs
time has no failure. This module must not decide on actions.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from resilience.api.reasons import FailureClass
from resilience.core.failures import image_pulls
from resilience.core.model.observation import Pod

# A container that has ended this often will not recover by itself; the first two times, a dependency may not be up yet.
CRASHES: Final = 3
_CRASHED: Final = frozenset({"CrashLoopBackOff", "Error", "Completed", "PostStartHookError", "ContainerStatusUnknown"})
# The runtime could not create or start a container.
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
# A busy node, or a cache of the kubelet that will be filled soon.
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
    """The failure of a pod, without the pod's name."""

    kind: FailureClass
    reason: str
    what: str
    advice: str


@dataclass(frozen=True, slots=True)
class _Symptoms:
    """A pod in trouble, with the words about it and the names that advice needs."""

    pod: Pod
    words: str
    image: str
    secrets: tuple[str, ...]
    # The namespace as an option of kubectl.
    option: str


def read(pod: Pod, *, image: str, secrets: tuple[str, ...], option: str) -> PodTrouble | None:
    """The failure; None when the pod only needs time. `option`: kubectl's for the namespace, with a space before it."""
    if pod.ready or pod.deleting or not pod.fault:
        return None
    words = pod.trouble.removeprefix(pod.fault).lstrip(": ")
    return _rule(pod.fault)(_Symptoms(pod, words, image, secrets or pod.pull_secrets, option))


def _rule(fault: str) -> Callable[[_Symptoms], PodTrouble | None]:
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
    # For probes that have not passed, or an unknown word, the deadline decides.
    return lambda symptoms: None


def _of_pull(symptoms: _Symptoms) -> PodTrouble | None:
    pull = image_pulls.read(symptoms.words, image=symptoms.image)
    if pull is None:
        return None
    host = image_pulls.registry(pull.image)
    describe = f"kubectl{symptoms.option} describe pod {symptoms.pod.name}"
    match pull.kind:
        case FailureClass.AUTHENTICATION:
            advice = _credentials(symptoms, pull.image, host)
        case FailureClass.NETWORK:
            advice = f"check whether nodes reach the registry {host} (DNS, proxy, its limits), then release again"
        case FailureClass.RESOURCE:
            advice = f"make room for image {pull.image} on the disk of node {symptoms.pod.node or 'that the pod is on'}"
        case FailureClass.CONFIGURATION:
            advice = _wrong_image(pull, host)
        case _:
            advice = f"read the pod's events ({describe}), and pull {pull.image} by hand on its node"
    return PodTrouble(pull.kind, pull.reason, f"cannot pull image {pull.image}: {pull.cause}", advice)


def _credentials(symptoms: _Symptoms, image: str, host: str) -> str:
    if not symptoms.secrets:
        return (
            f"registry {host} requires credentials for {image} (or there is no such repository), and the pod has no "
            f"imagePullSecrets: kubectl{symptoms.option} create secret docker-registry NAME --docker-server={host} "
            "..., then name it in the pod template or its ServiceAccount"
        )
    names = ", ".join(symptoms.secrets)
    return (
        f"registry {host} does not accept the credentials in Secret {names} for {image} (or there is no such "
        f"repository): check that it exists, is for {host} and has not expired: "
        f"kubectl{symptoms.option} get secret {symptoms.secrets[0]} -o jsonpath='{{.type}}'"
    )


def _wrong_image(pull: image_pulls.Pull, host: str) -> str:
    if pull.reason == "WrongPlatform":
        return f"build image {pull.image} for the platform of the nodes: kubectl get nodes -L kubernetes.io/arch"
    if pull.reason == "RegistryCertificate":
        return f"have the nodes trust the certificate of registry {host}, or correct its address in {pull.image}"
    if pull.reason == "SignatureValidationFailed":
        return f"sign image {pull.image} as the nodes' policy requires"
    return f"push image {pull.image} to {host}, or correct its name and tag in the pod template"


def _of_image(symptoms: _Symptoms) -> PodTrouble:
    fault, image = symptoms.pod.fault, symptoms.image
    if fault == "InvalidImageName":
        advice = f"correct the image's name in the pod template; {image!r} has to be like registry/name:tag"
    else:
        advice = f"bring image {image} onto every node, or set imagePullPolicy: IfNotPresent in the pod template"
    return PodTrouble(FailureClass.CONFIGURATION, fault, symptoms.words or f"{fault}, image {image}", advice)


def _of_start(symptoms: _Symptoms) -> PodTrouble | None:
    words, fault = symptoms.words, symptoms.pod.fault
    if "OOM-killed" in words:
        return _of_memory(symptoms)
    if "no space left on device" in words:
        advice = f"make room on the disk of node {symptoms.pod.node or 'that the pod is on'}"
        return PodTrouble(FailureClass.RESOURCE, "NoSpace", words, advice)
    if _ONLY_SLOW.search(words):
        return None
    if match := _FORBIDDEN.search(words):
        advice = f"allow the pod's node to read Secret {match['name']}; it has to be in the pod's own namespace"
        return PodTrouble(FailureClass.AUTHENTICATION, "SecretForbidden", words, advice)
    advice = _absent(symptoms)
    if fault == "FailedMount" and not advice:
        # Mounting any other kind of volume may take a while.
        return None
    return PodTrouble(
        FailureClass.CONFIGURATION, fault, f"{fault}: {words}".rstrip(": "), advice or _start_advice(symptoms)
    )


def _absent(symptoms: _Symptoms) -> str:
    """Advice that names the missing ConfigMap, Secret or key; empty when none of them is missing."""
    for match in (_MISSING.search(symptoms.words), _MISSING_KEY.search(symptoms.words)):
        if match is None:
            continue
        kind = "ConfigMap" if match["kind"].lower() == "configmap" else "Secret"
        what = f"{kind} {match['name']}"
        get = f"kubectl{symptoms.option} get {kind.lower()} {match['name']}"
        key = match.groupdict().get("key")
        return f"add key {key} to {what}: {get}" if key else f"create {what} in the pod's namespace: {get}"
    if match := _NO_KEY.search(symptoms.words):
        return f"add key {match['key']} to the ConfigMap or Secret that the volume names, or correct its items"
    return ""


def _start_advice(symptoms: _Symptoms) -> str:
    if "runAsNonRoot" in symptoms.words or "non-numeric user" in symptoms.words:
        return f"set runAsUser in the pod template to a user that image {symptoms.image} can run as, other than root"
    if _NO_COMMAND.search(symptoms.words):
        return f"correct command and args in the pod template: image {symptoms.image} cannot run them"
    return (
        f"read the pod's events and correct the pod template: kubectl{symptoms.option} describe pod {symptoms.pod.name}"
    )


def _of_crash(symptoms: _Symptoms) -> PodTrouble | None:
    if symptoms.pod.restarts < CRASHES - 1:
        return None
    code = _EXIT_CODE.search(symptoms.words)
    hint = {
        "0": "it ended by itself; the program has to keep running",
        "126": "its command cannot be executed",
        "127": "its command was not found in the image",
        "137": "it was killed: look for a liveness or startup probe that fails",
        "139": "it crashed with a segmentation fault",
    }.get(code[1] if code else "", "")
    logs = f"read why it ended: kubectl{symptoms.option} logs {symptoms.pod.name} --all-containers --previous"
    what = f"{symptoms.pod.fault}, restarted {symptoms.pod.restarts} times: {symptoms.words}".rstrip(": ")
    return PodTrouble(FailureClass.UNKNOWN, "CrashLoop", what, f"{hint}; {logs}" if hint else logs)


def _of_memory(symptoms: _Symptoms) -> PodTrouble:
    advice = (
        "raise resources.limits.memory of the container, or find out why this version needs more: "
        f"kubectl{symptoms.option} describe pod {symptoms.pod.name}"
    )
    return PodTrouble(FailureClass.RESOURCE, "OOMKilled", f"a container ran out of memory: {symptoms.words}", advice)


def _of_room(symptoms: _Symptoms) -> PodTrouble:
    words, fault = symptoms.words, symptoms.pod.fault
    short_resources = ", ".join(dict.fromkeys(_INSUFFICIENT.findall(words)))
    if match := _NO_CLAIM.search(words):
        advice = f"create PersistentVolumeClaim {match['name']} in the pod's namespace"
    elif short_resources:
        advice = f"add nodes, or lower the requests of the pod template: {short_resources} is short"
    elif fault == "Unschedulable":
        advice = (
            "add nodes that match, or loosen what the message names: taints, affinity, topology, volumes, host ports"
        )
    else:
        node = symptoms.pod.node or "NAME"
        advice = f"free what is short on node {node}: kubectl describe node {node}"
    what = f"{fault}: {words}".rstrip(": ")
    return PodTrouble(FailureClass.RESOURCE, fault, what, advice)
