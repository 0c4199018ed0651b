"""Failures of a rollout by class (docs/concepts/releases.md): the observation, and advice for a person.

A pod that only needs time is no failure. This module must not decide what is undone, and a lack of information is
never a failure.
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
    """A failure of a rollout. `pod` is the name of the pod that shows it; empty when none does."""

    kind: FailureClass
    reason: str
    message: str
    advice: str
    pod: str = ""

    @property
    def is_transient(self) -> bool:
        """The failure may end by itself within seconds."""
        return self.kind is FailureClass.NETWORK

    @property
    def may_clear(self) -> bool:
        """The failure may end by itself before the deadline: resources become free, nodes are added."""
        return self.kind is FailureClass.RESOURCE


def of_pod(pod: Pod, *, image: str, pull_secrets: tuple[str, ...] = (), namespace: str = "") -> Failure | None:
    """The failure of a pod; None when it only needs time. `image`: the image that the rollout brings."""
    trouble = read_pod(pod, image=image, secrets=pull_secrets, option=namespace_option(namespace))
    if trouble is None:
        return None
    message = _cut(f"pod {pod.name}: {trouble.what}", _MESSAGE_LENGTH)
    return Failure(trouble.kind, trouble.reason, message, _cut(trouble.advice, _ADVICE_LENGTH), pod.name)


def of_workload(workload: Workload) -> Failure | None:
    """The failure of its controller to create pods; None when nothing is known or a retry may be enough."""
    if not workload.trouble:
        return None
    refusal = admission.read(workload.trouble, option=namespace_option(workload.namespace))
    if refusal.kind is FailureClass.NETWORK:
        return None
    message = _cut(f"{workload.kind} {workload.name} cannot make pods: {workload.trouble}", _MESSAGE_LENGTH)
    return Failure(refusal.kind, refusal.reason, message, refusal.advice)


def of_refusal(message: str) -> Failure:
    """The failure behind the API server's refusal to create or change green."""
    refusal = admission.read(message)
    return Failure(
        refusal.kind, refusal.reason, _cut(f"the API server refused: {message}", _MESSAGE_LENGTH), refusal.advice
    )


def timed_out(pods: Sequence[Pod], *, deadline: timedelta, what: str) -> Failure:
    """The failure when the deadline passed and no other cause is known; it reports how many pods are ready."""
    ready = sum(pod.ready for pod in pods)
    not_ready = [pod for pod in pods if not pod.ready and not pod.deleting]
    worst = next((pod for pod in not_ready if pod.trouble), not_ready[0] if not_ready else None)
    message = f"{what} was not complete within {format_duration(deadline)}: {ready} of {len(pods)} pods are ready"
    longer = "or give it longer with rollout.progressDeadline"
    if worst is None:
        advice = f"find out why its pods are missing or not available: kubectl describe deployment; {longer}"
        return Failure(FailureClass.TIMEOUT, "DeadlineExceeded", _cut(message, _MESSAGE_LENGTH), advice)
    message += f"; pod {worst.name}: {worst.trouble or 'the kubelet reports nothing about it yet'}"
    advice = f"kubectl describe pod {worst.name}; kubectl logs {worst.name} --all-containers; fix that, {longer}"
    return Failure(FailureClass.TIMEOUT, "DeadlineExceeded", _cut(message, _MESSAGE_LENGTH), advice, worst.name)


def never_began(lack: str, *, deadline: timedelta) -> Failure:
    """The failure when the deadline passed before the first step, because a precondition was not met."""
    is_short = lack.startswith("quota ") or ("need" in lack and " nodes" in lack)
    return Failure(
        FailureClass.RESOURCE if is_short else FailureClass.TIMEOUT,
        "NeverBegan",
        _cut(f"the release could not begin within {format_duration(deadline)}: {lack}", _MESSAGE_LENGTH),
        "resolve what it waited for, then request it again: resilience.dev/retry-requested-at",
    )


def first(workload: Workload, pods: Sequence[Pod], *, image: str, pull_secrets: tuple[str, ...] = ()) -> Failure | None:
    """The worst failure of the workload and its pods, or None."""
    of_pods = [of_pod(pod, image=image, pull_secrets=pull_secrets, namespace=workload.namespace) for pod in pods]
    failures = [failure for failure in (of_workload(workload), *of_pods) if failure is not None]
    return min(failures, key=lambda failure: _ORDER.index(failure.kind), default=None)


def backoff(tries: int) -> timedelta:
    """Time to wait before the next try, after this number of tries."""
    return min(_RETRY_FIRST * (1 << min(tries, 10)), _RETRY_LAST)


def namespace_option(namespace: str) -> str:
    """The option by which kubectl finds the namespace, with a space before it; empty without a namespace."""
    return f" -n {namespace}" if namespace else ""


def cut_message(text: str) -> str:
    """The text at the length of a failure's message."""
    return _cut(text, _MESSAGE_LENGTH)


def _cut(text: str, length: int) -> str:
    """The text, without its middle when it is too long: the event comes first in it, the cause last."""
    if len(text) <= length:
        return text
    head = length // 3
    return f"{text[:head]} … {text[len(text) - (length - head - 3) :]}"
