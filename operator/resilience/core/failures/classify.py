"""Why a release fails, by class (docs/concepts/releases.md): what was seen, and what a person should do about it.

A pod that only needs time is no failure. Must not decide what is undone, and never takes silence for a failure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from resilience.api.reasons import FailureClass
from resilience.api.scalars import format_duration
from resilience.core.failures import admission
from resilience.core.failures.pods import read as read_pod
from resilience.core.model.observation import Pod
from resilience.core.model.workload import Workload

_RETRY_FIRST: Final = timedelta(seconds=1)
_RETRY_LAST: Final = timedelta(seconds=30)
_MESSAGE_LENGTH: Final = 500
_ADVICE_LENGTH: Final = 1000
# The worst first.
_ORDER: Final = (
    FailureClass.CONFIGURATION,
    FailureClass.AUTHENTICATION,
    FailureClass.UNKNOWN,
    FailureClass.TIMEOUT,
    FailureClass.NETWORK,
    FailureClass.RESOURCE,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of a release. `pod` is the name of the pod that shows it, if one does."""

    kind: FailureClass
    reason: str
    message: str
    advice: str
    pod: str = ""

    @property
    def retried(self) -> bool:
        """Whether it may pass by itself within seconds."""
        return self.kind is FailureClass.NETWORK

    @property
    def patient(self) -> bool:
        """Whether it may pass by itself until the deadline: room is made, nodes are added."""
        return self.kind is FailureClass.RESOURCE


def of_pod(pod: Pod, *, image: str, pull_secrets: tuple[str, ...] = (), namespace: str = "") -> Failure | None:
    """What is wrong with a pod; None when it only needs time. `image`: what the release brings."""
    found = read_pod(pod, image=image, secrets=pull_secrets, option=_option(namespace))
    if found is None:
        return None
    message = _cut(f"pod {pod.name}: {found.what}", _MESSAGE_LENGTH)
    return Failure(found.kind, found.reason, message, _cut(found.advice, _ADVICE_LENGTH), pod.name)


def of_workload(workload: Workload) -> Failure | None:
    """Why its controller cannot make pods; None when nothing is known or it only has to try again."""
    if not workload.trouble:
        return None
    found = admission.read(workload.trouble, option=_option(workload.namespace))
    if found.kind is FailureClass.NETWORK:
        return None
    message = _cut(f"{workload.kind} {workload.name} cannot make pods: {workload.trouble}", _MESSAGE_LENGTH)
    return Failure(found.kind, found.reason, message, found.advice)


def of_refusal(message: str) -> Failure:
    """What it means that the API refused to make or change green."""
    found = admission.read(message)
    return Failure(found.kind, found.reason, _cut(f"the API server refused: {message}", _MESSAGE_LENGTH), found.advice)


def timed_out(pods: Sequence[Pod], *, deadline: timedelta, what: str) -> Failure:
    """The deadline passed and nothing else is known to be wrong; says how far the pods are."""
    ready = sum(pod.ready for pod in pods)
    slow = [pod for pod in pods if not pod.ready and not pod.deleting]
    worst = next((pod for pod in slow if pod.trouble), slow[0] if slow else None)
    message = f"{what} was not complete within {format_duration(deadline)}: {ready} of {len(pods)} pods are ready"
    longer = "or give it longer with rollout.progressDeadline"
    if worst is None:
        advice = f"look why its pods are not there or not available: kubectl describe deployment; {longer}"
        return Failure(FailureClass.TIMEOUT, "DeadlineExceeded", _cut(message, _MESSAGE_LENGTH), advice)
    message += f"; pod {worst.name}: {worst.trouble or 'the kubelet says nothing about it yet'}"
    advice = f"kubectl describe pod {worst.name}; kubectl logs {worst.name} --all-containers; mend that, {longer}"
    return Failure(FailureClass.TIMEOUT, "DeadlineExceeded", _cut(message, _MESSAGE_LENGTH), advice, worst.name)


def never_began(lack: str, *, deadline: timedelta) -> Failure:
    """The deadline passed before the first step, for something else had to be so first."""
    short = lack.startswith("quota ") or ("need" in lack and " nodes" in lack)
    return Failure(
        FailureClass.RESOURCE if short else FailureClass.TIMEOUT,
        "NeverBegan",
        _cut(f"the release could not begin within {format_duration(deadline)}: {lack}", _MESSAGE_LENGTH),
        "see to what it waited for, then ask for it again: resilience.dev/retry-requested-at",
    )


def first(workload: Workload, pods: Sequence[Pod], *, image: str, pull_secrets: tuple[str, ...] = ()) -> Failure | None:
    """The worst that the workload and its pods show."""
    found = [of_pod(pod, image=image, pull_secrets=pull_secrets, namespace=workload.namespace) for pod in pods]
    seen = [each for each in (of_workload(workload), *found) if each is not None]
    return min(seen, key=lambda each: _ORDER.index(each.kind), default=None)


def backoff(tries: int) -> timedelta:
    """How long to wait before the next try of something that is retried, after so many."""
    return min(_RETRY_FIRST * (1 << min(tries, 10)), _RETRY_LAST)


def _option(namespace: str) -> str:
    return f" -n {namespace}" if namespace else ""


def _cut(text: str, length: int) -> str:
    """A text that is too long without its middle: what happened comes first, the cause last."""
    if len(text) <= length:
        return text
    head = length // 3
    return f"{text[:head]} … {text[len(text) - (length - head - 3) :]}"
