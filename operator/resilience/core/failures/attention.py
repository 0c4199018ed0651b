"""Pods that need somebody's attention: what is wrong with those that are not available, by failure class.

A pod that only needs time needs nobody; a release tells of its own candidates.
"""

from typing import Final

from resilience.api.status_restarts import Attention
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.failures import classify
from resilience.core.model.observation import Observation
from resilience.core.model.workload import Workload

_MOST: Final = 20
_CRASHES: Final = ("CrashLoop", "OOMKilled")


def pods(seen: Observation, workload: Workload, spec: ResilientServiceSpec, before: list[Attention]) -> list[Attention]:
    """One entry a pod. Without a look at the pods what was known holds while pods are missing."""
    if seen.pods is None:
        return before if workload.available < workload.replicas else []
    image = workload.template.image(spec.container)
    found = [
        (pod, failure)
        for pod in seen.pods.pods
        if not pod.available and not pod.deleting
        if (failure := classify.of_pod(pod, image=image, namespace=workload.namespace)) is not None
    ]
    return [
        Attention(pod=pod.name, class_=each.kind, reason=each.reason, message=each.message, advice=each.advice[:1024])
        for pod, each in found[:_MOST]
    ]


def crashes(known: list[Attention]) -> bool:
    """Whether containers end by themselves."""
    return any(each.reason in _CRASHES for each in known)
