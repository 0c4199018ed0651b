"""Pods that need a person's attention: those that are not available, with the class of failure.

A pod that only needs time needs no attention; a rollout reports its own candidates.
"""

from typing import Final

from resilience.api.status_restarts import Attention
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.failures import classify
from resilience.core.model.observation import Observation
from resilience.core.model.workload import Workload

_MOST: Final = 20
_CRASHES: Final = ("CrashLoop", "OOMKilled")


def pods(
    observation: Observation, workload: Workload, spec: ResilientServiceSpec, before: list[Attention]
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


def crashes(known: list[Attention]) -> bool:
    """Containers of at least one pod crash or are killed for memory."""
    return any(entry.reason in _CRASHES for entry in known)
