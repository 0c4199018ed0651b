"""Pods that need a person's attention: those that are not available or do not end, with the class of failure.

A pod that only needs time needs no attention; a rollout reports its own candidates, except those that have traffic but
for a readiness gate.
"""

from datetime import datetime
from typing import Final

from resilience.api.reasons import Reason
from resilience.api.status_restarts import Attention
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.failures import classify, readiness_gates, stuck_pods
from resilience.core.model.observation import Observation, Pod
from resilience.core.model.workload import Workload

_MOST: Final = 20
_CRASHES: Final = ("CrashLoop", "OOMKilled")


def pods(
    observation: Observation,
    workload: Workload,
    spec: ResilientServiceSpec,
    before: list[Attention],
    *,
    now: datetime,
) -> list[Attention]:
    """One entry per pod. When pods were not read, the entries `before` remain as long as pods are missing."""
    if observation.pods is None:
        return before if workload.available < workload.replicas else []
    image = workload.template.image(spec.container)
    failures = [
        (pod, failure)
        for pod in observation.pods.pods
        if not pod.available and not pod.deleting
        if (failure := classify.of_pod(pod, image=image, namespace=workload.namespace)) is not None
    ]
    failures += [
        (pod, readiness_gates.unanswered(pod, namespace=workload.namespace))
        for pod in _gated(observation)
        if readiness_gates.is_unanswered(pod, now)
    ]
    failures += [
        (pod, stuck_pods.failure(pod, namespace=workload.namespace))
        for pod in observation.all_pods
        if stuck_pods.is_stuck(pod, now)
    ]
    return [
        Attention(
            pod=pod.name,
            class_=failure.kind,
            reason=failure.reason,
            message=failure.message,
            advice=failure.advice[:1024],
        )
        for pod, failure in failures[:_MOST]
    ]


def _gated(observation: Observation) -> list[Pod]:
    """Pods of both colours whose readiness gates somebody has to answer: those that a Service selects."""
    return [
        pod
        for pod in observation.all_pods
        if not pod.deleting
        and (not observation.selecting or any(service.selects(pod.labels) for service in observation.selecting))
    ]


def waits_for_gates(known: list[Attention]) -> list[Attention]:
    """The entries of pods that only need somebody to answer their readiness gates."""
    return [entry for entry in known if entry.reason == Reason.READINESS_GATE_UNANSWERED]


def includes_stuck_pods(known: list[Attention]) -> bool:
    """A pod does not end. Only the pods themselves show when that is over: enough others may be available."""
    return any(entry.reason == Reason.POD_STUCK for entry in known)


def crashes(known: list[Attention]) -> bool:
    """Containers of at least one pod crash or are killed for memory."""
    return any(entry.reason in _CRASHES for entry in known)
