"""The availability guard, which permits or refuses every write that can reduce capacity, by a person or by a policy.

The rule: after the step there must not be fewer serving pods than the floor. A pod that does not serve never counts
and may always be replaced, because budgets must not block the repair. While another rollout of the target is moving,
the guard refuses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resilience.api.names import ANNOTATION_FAILED, LABEL_TEMPLATE_HASH, LEFT_VALUE
from resilience.api.reasons import RefusalReason
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetKind
from resilience.core.health import ports
from resilience.core.model import held
from resilience.core.model.observation import Observation, Pod, PodsView
from resilience.core.model.service import Service
from resilience.core.model.workload import ReplicaSet, Workload


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason that a step is not taken. `reason` is a fixed word for metrics, `message` is for people."""

    reason: RefusalReason
    message: str


def serving(observation: Observation, view: PodsView) -> frozenset[str]:
    """Uids of the pods that clients reach: available, not ending, and listed by every Service that selects them."""
    return frozenset(pod.uid for pod in view.pods if is_serving(observation, pod))


def is_serving(observation: Observation, pod: Pod) -> bool:
    """Clients reach this pod."""
    if pod.deleting or not pod.available:
        return False
    services = [service for service in observation.services if service.selects(pod.labels)]
    if observation.selecting and not services:
        return False
    return all(observation.lists(service, pod) for service in services)


def floor(workload: Workload, view: PodsView) -> int:
    """Smallest number of serving pods that a step may leave.

    Kinds without surge have to go one below their replicas; on eviction the API server enforces their budgets.
    """
    if workload.kind is not TargetKind.DEPLOYMENT:
        return max(workload.replicas - 1, 0)
    ours = sum(pod.ready and not pod.deleting for pod in view.pods)
    # A budget may cover pods of other workloads, too; the target need not provide their share.
    required = [budget.desired_healthy - max(budget.current_healthy - ours, 0) for budget in view.budgets]
    return max([workload.replicas, *required])


def staying(view: PodsView) -> tuple[Pod, ...]:
    """Pods that are neither being replaced nor ending; the floor counts these."""
    return tuple(pod for pod in view.pods if pod.step is None and not pod.deleting)


def may_begin(observation: Observation) -> Refusal | None:
    """The refusal to begin any replacement of a pod, or None."""
    workload = observation.workload
    if workload is None:
        return Refusal(RefusalReason.TARGET_GONE, "the target is gone")
    if observation.pods is not None and not observation.pods.limits_read:
        return Refusal(RefusalReason.LIMITS_NOT_READ, "what limits the replacement of pods was not read this time")
    if not workload.observed:
        return Refusal(
            RefusalReason.NOT_OBSERVED, f"{workload.kind} {workload.name} has a change that its controller has not seen"
        )
    if is_rolling_out(observation):
        return Refusal(RefusalReason.RELEASE_MOVING, f"a release of {workload.kind} {workload.name} is in progress")
    if workload.rolling:
        return Refusal(
            RefusalReason.ROLLOUT_MOVING,
            f"a rollout of {workload.kind} {workload.name} is in progress ({workload.updated} of {workload.current} "
            "pods run the current template)",
        )
    return None


def is_rolling_out(observation: Observation) -> bool:
    """The target is in the middle of a blue-green rollout, or about to begin one."""
    workload, view = observation.workload, observation.pods
    if workload is None or not held.is_held(workload):
        return False
    served = held.serving_template(workload, view.replica_sets if view is not None else ())
    is_waiting = workload.template.fingerprint not in (served, workload.annotations.get(ANNOTATION_FAILED))
    return is_waiting or (view is not None and view.green is not None)


def may_lose(observation: Observation, view: PodsView, pod: Pod) -> Refusal | None:
    """The refusal to let this pod stop serving now, or None."""
    workload = observation.workload
    if workload is None or workload.replicas == 0:
        return None
    if pod.step is not None and lingers(observation, pod):
        return Refusal(RefusalReason.STILL_LISTED, "its Services still send it new connections")
    if not is_serving(observation, pod):
        return None
    if not workload.observed:
        return may_begin(observation)
    others = sum(is_serving(observation, other) for other in staying(view) if other.uid != pod.uid)
    least = floor(workload, view)
    if others >= least:
        return None
    return Refusal(
        RefusalReason.BELOW_FLOOR,
        f"{others} other pod{'s' if others != 1 else ''} would serve and {least} are needed",
    )


def spare(observation: Observation, view: PodsView) -> int:
    """Number of pods that may be handed back to their ReplicaSet without the loss of a client.

    The ReplicaSet then has one pod too many, and ends pods that are not ready first.
    """
    workload = observation.workload
    if workload is None:
        return 0
    idle = sum(
        not (pod.ready if observation.selecting else pod.available) and pod.uid not in observation.reached
        for pod in staying(view)
    )
    return workload.replicas - len(staying(view)) + idle


def may_give_back(observation: Observation, view: PodsView, home: ReplicaSet) -> Refusal | None:
    """The refusal to hand a pod back to its ReplicaSet now, or None."""
    if not any(replica_set.uid == home.uid and replica_set.is_current for replica_set in view.replica_sets):
        return Refusal(RefusalReason.NOT_CURRENT, f"ReplicaSet {home.name} no longer has the current template")
    if spare(observation, view) <= 0:
        return Refusal(RefusalReason.REPLACEMENT_SERVES, "the replacement has begun to serve")
    return None


def replacement_refusal(workload: Workload, view: PodsView) -> Refusal | None:
    """The refusal to run a replacement beside a Deployment's pod while the pod still serves, or None."""
    template = workload.template
    by_hand = "delete its pods yourself when the interruption is acceptable"
    if workload.strategy == "Recreate":
        return Refusal(
            RefusalReason.RECREATE, f"strategy Recreate forbids two pods at once; {by_hand}, or use RollingUpdate"
        )
    if template.host_network or template.host_ports:
        what = "the host's network" if template.host_network else f"host port {template.host_ports[0]}"
        return Refusal(RefusalReason.HOST_PORT, f"a second pod cannot use {what} on the same node; {by_hand}")
    if view.claims_problem:
        return Refusal(RefusalReason.CLAIMS_NOT_READ, f"{view.claims_problem}; correct the pod template, or {by_hand}")
    if view.exclusive_claims:
        claim = view.exclusive_claims[0]
        return Refusal(
            RefusalReason.EXCLUSIVE_VOLUME, f"volume claim {claim} can be mounted once only (ReadWriteOnce); {by_hand}"
        )
    return None


def drain_refusal(spec: ResilientServiceSpec, workload: Workload) -> Refusal | None:
    """The refusal to replace pods whose clients cannot be told to leave, because a port of the drain is missing."""
    lost = ports.missing_for_drain(spec, workload.template)
    return Refusal(RefusalReason.PORT_NOT_FOUND, lost) if lost else None


def too_strict(workload: Workload, view: PodsView) -> Refusal | None:
    """The refusal when a disruption budget requires more pods than the target has, or None.

    No number of replacements is enough then.
    """
    if floor(workload, view) <= workload.replicas:
        return None
    return Refusal(RefusalReason.BUDGET_TOO_STRICT, "a disruption budget requires more pods than the target has")


def full_budget(view: PodsView) -> Refusal | None:
    """The refusal when a disruption budget would block an eviction now, or None."""
    full = next((budget for budget in view.budgets if budget.current_healthy <= budget.desired_healthy), None)
    return (
        Refusal(RefusalReason.BUDGET_FULL, f"disruption budget {full.name} allows no eviction now")
        if full is not None
        else None
    )


def leave_labels(
    observation: Observation, view: PodsView, pod: Pod, *, leave_by: str | None = None
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Labels to overwrite so that no Service selects the pod, and the Services for which that is not possible."""
    chosen: set[str] = set()
    stuck: list[str] = []
    # The same choice in whatever order the Services are listed; those with few labels leave least choice.
    for service in sorted(observation.services, key=lambda service: (len(service.selector), service.name)):
        if not service.selects(pod.labels) or chosen.intersection(service.selector):
            continue
        key = way_out(observation, view, service, leave_by=leave_by)
        if key:
            chosen.add(key)
        else:
            stuck.append(service.name)
    return dict.fromkeys(sorted(chosen), LEFT_VALUE), tuple(stuck)


def way_out(observation: Observation, view: PodsView, service: Service, *, leave_by: str | None = None) -> str:
    """The label to overwrite so that the Service no longer selects a pod; empty when there is none.

    The user's choice comes first. Labels that a policy of the network or of a mesh selects by are not overwritten: that
    could cut the pod's open connections. Of the others, one is preferred that nothing but Services uses.
    """
    if leave_by is not None and leave_by in service.selector:
        return leave_by
    own = set(observation.workload.selector) if observation.workload is not None else set()
    used = own | view.budget_labels | {LABEL_TEMPLATE_HASH}
    return min(set(service.selector) - view.policy_labels, key=lambda key: (key in used, key), default="")


def newly_selected(seen: Observation, fresh: Observation, labels: Iterable[str]) -> tuple[str, ...]:
    """Those of the labels by which policies have begun to select pods since the decision to overwrite them."""
    known, now = (view.policy_labels if view else frozenset[str]() for view in (seen.pods, fresh.pods))
    return tuple(sorted(set(labels) & (now - known)))


def policies_words(observation: Observation, view: PodsView, services: Sequence[str]) -> str:
    """The policies that keep pods in these Services, as the beginning of a sentence that goes on with labels."""
    keys = {key for service in observation.services if service.name in services for key in service.selector}
    named = [f"{policy.kind} {policy.name}" for policy in view.policies if policy.labels & keys]
    if not named:
        return "a NetworkPolicy selects pods by"
    more = f" and {len(named) - 2} more" if len(named) > 2 else ""
    return f"{', '.join(named[:2])}{more} select{'s' if len(named) == 1 else ''} pods by"


def lingers(observation: Observation, pod: Pod) -> bool:
    """A Service that no longer selects the pod still sends new connections to it."""
    selecting = {service.name for service in observation.services if service.selects(pod.labels)}
    return any(
        endpoint.counts and endpoint.pod_uid == pod.uid and endpoint.service not in selecting
        for endpoint in observation.endpoints
    )


def is_out(observation: Observation, pod: Pod) -> bool:
    """The pod is ending and in no Service: however long that takes, no client waits for it, and nothing else should."""
    return pod.deleting and pod.uid not in observation.reached
