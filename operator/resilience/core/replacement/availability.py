"""The availability guard: every write that can take capacity away asks here first, by hand or by policy alike.

The rule: serving pods after the step must not be fewer than the floor. A pod that does not serve never counts, and may
always be replaced, for budgets must not block the cure. Nothing is done while somebody else's rollout is moving.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_SERVING, LEFT_VALUE
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.observation import Observation, Pod, PodsView
from resilience.core.model.service import Endpoint
from resilience.core.model.workload import ReplicaSet, Workload


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a step is not taken. `reason` is a fixed word for metrics, `message` is for people."""

    reason: str
    message: str


def serving(observation: Observation, view: PodsView) -> frozenset[str]:
    """Uids of the pods that clients reach: available, not ending, and listed by every Service that selects them."""
    return frozenset(pod.uid for pod in view.pods if is_serving(observation, pod))


def is_serving(observation: Observation, pod: Pod) -> bool:
    """Whether clients reach this pod."""
    if pod.deleting or not pod.available:
        return False
    listed = {(each.service, each.pod_uid) for each in observation.endpoints if each.counts}
    services = [service for service in observation.services if service.selects(pod.labels)]
    if observation.selecting and not services:
        return False
    return all((service.name, pod.uid) in listed for service in services)


def floor(workload: Workload, view: PodsView) -> int:
    """Fewest serving pods that a step may leave behind.

    Kinds without surge have to go one below; their disruption budgets are asked by the API server on eviction.
    """
    if workload.kind is not TargetKind.DEPLOYMENT:
        return max(workload.replicas - 1, 0)
    ours = sum(pod.ready and not pod.deleting for pod in view.pods)
    # A budget may cover pods of others too: what they contribute is not asked of ours.
    asked = [each.desired_healthy - max(each.current_healthy - ours, 0) for each in view.budgets]
    return max([workload.replicas, *asked])


def staying(view: PodsView) -> tuple[Pod, ...]:
    """Pods that are not being replaced and not ending: the ones that the floor counts."""
    return tuple(pod for pod in view.pods if pod.step is None and not pod.deleting)


def may_begin(observation: Observation) -> Refusal | None:
    """Whether a pod may be picked for replacement at all."""
    workload = observation.workload
    if workload is None:
        return Refusal("TargetGone", "the target is gone")
    if observation.pods is not None and not observation.pods.limits_read:
        return Refusal("LimitsNotRead", "what limits the replacement of pods was not read this time")
    if not workload.observed:
        return Refusal("NotObserved", f"{workload.kind} {workload.name} has a change that its controller has not seen")
    if releasing(observation):
        return Refusal("ReleaseMoving", f"a release of {workload.kind} {workload.name} is moving")
    if workload.rolling:
        return Refusal(
            "RolloutMoving",
            f"a rollout of {workload.kind} {workload.name} is moving ({workload.updated} of {workload.current} pods "
            "run the current template)",
        )
    return None


def releasing(observation: Observation) -> bool:
    """Whether the target is in the middle of a blue-green release, or about to begin one."""
    workload, view = observation.workload, observation.pods
    if workload is None or ANNOTATION_SERVING not in workload.annotations:
        return False
    wanted = workload.template.fingerprint
    waits = wanted not in (workload.annotations[ANNOTATION_SERVING], workload.annotations.get(ANNOTATION_FAILED))
    return waits or (view is not None and view.green is not None)


def may_lose(observation: Observation, view: PodsView, pod: Pod) -> Refusal | None:
    """Whether this pod may stop serving now."""
    workload = observation.workload
    if workload is None or workload.replicas == 0:
        return None
    if pod.step is not None and lingers(observation, pod):
        return Refusal("StillListed", "its Services still send it new connections")
    if not is_serving(observation, pod):
        return None
    if not workload.observed:
        return may_begin(observation)
    others = sum(is_serving(observation, each) for each in staying(view) if each.uid != pod.uid)
    least = floor(workload, view)
    if others >= least:
        return None
    return Refusal(
        "BelowFloor",
        f"{others} other pod{'s' if others != 1 else ''} would serve and {least} are needed",
    )


def spare(observation: Observation, view: PodsView) -> int:
    """How many pods may be given back to their ReplicaSet without costing a client.

    The ReplicaSet then has one too many, and ends first what is not ready.
    """
    workload = observation.workload
    if workload is None:
        return 0
    idle = sum(
        not (pod.ready if observation.selecting else pod.available) and not listed(observation.endpoints, pod)
        for pod in staying(view)
    )
    return workload.replicas - len(staying(view)) + idle


def may_give_back(observation: Observation, view: PodsView, home: ReplicaSet) -> Refusal | None:
    """Whether a pod may return to its ReplicaSet now."""
    if not any(each.uid == home.uid and each.is_current for each in view.replica_sets):
        return Refusal("NotCurrent", f"ReplicaSet {home.name} no longer has the current template")
    if spare(observation, view) <= 0:
        return Refusal("ReplacementServes", "the replacement has begun to serve")
    return None


def replacement_refusal(workload: Workload, view: PodsView) -> Refusal | None:
    """Why a Deployment's pod cannot have a twin beside it while it still serves; None when it can."""
    template = workload.template
    ports = [port.number for container in template.containers for port in container.ports if port.on_host]
    by_hand = "delete its pods yourself when the interruption is acceptable"
    if workload.strategy == "Recreate":
        return Refusal("Recreate", f"strategy Recreate forbids two pods at once; {by_hand}, or use RollingUpdate")
    if template.host_network or ports:
        what = "the host's network" if template.host_network else f"host port {ports[0]}"
        return Refusal("HostPort", f"a second pod cannot use {what} on the same node; {by_hand}")
    if view.exclusive_claims:
        claim = view.exclusive_claims[0]
        return Refusal("ExclusiveVolume", f"volume claim {claim} can be mounted once only (ReadWriteOnce); {by_hand}")
    return None


def too_strict(workload: Workload, view: PodsView) -> Refusal | None:
    """Whether a disruption budget asks for more pods than the target has: no number of replacements is enough then."""
    if floor(workload, view) <= workload.replicas:
        return None
    return Refusal("BudgetTooStrict", "a disruption budget asks for more pods than the target has")


def full_budget(view: PodsView) -> Refusal | None:
    """The disruption budget that would refuse an eviction now."""
    full = next((each for each in view.budgets if each.current_healthy <= each.desired_healthy), None)
    return Refusal("BudgetFull", f"disruption budget {full.name} allows no eviction now") if full is not None else None


def leave_labels(observation: Observation, view: PodsView, pod: Pod) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Labels to overwrite so that no Service selects the pod, and the Services for which that is not possible.

    A label that a NetworkPolicy selects by is left alone: without it the pod's open connections could be cut.
    """
    chosen: set[str] = set()
    stuck: list[str] = []
    for service in observation.services:
        keys = sorted(set(service.selector) - view.policy_labels)
        if not service.selects(pod.labels) or chosen.intersection(keys):
            continue
        if keys:
            chosen.add(keys[0])
        else:
            stuck.append(service.name)
    return dict.fromkeys(chosen, LEFT_VALUE), tuple(stuck)


def lingers(observation: Observation, pod: Pod) -> bool:
    """Whether a Service that no longer selects the pod still sends new connections to it."""
    selecting = {service.name for service in observation.services if service.selects(pod.labels)}
    return any(
        each.counts and each.pod_uid == pod.uid and each.service not in selecting for each in observation.endpoints
    )


def listed(endpoints: Sequence[Endpoint], pod: Pod) -> bool:
    """Whether any Service sends new connections to the pod."""
    return any(each.counts and each.pod_uid == pod.uid for each in endpoints)
