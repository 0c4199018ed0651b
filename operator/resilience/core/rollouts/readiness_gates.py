"""Readiness gates of the two colours: what is waited for, and the Deployment that cannot roll without them.

A load balancer's controller sets a pod's gate only when a Service lists the pod. While a colour is pinned away, its new
pods cannot become Ready, so these rules count them without their gates; once a Service selects them, gates are waited
for before the other colour leaves.
"""

from resilience.api.reasons import Colour
from resilience.core.model.actions import EmptyReplicaSet
from resilience.core.model.observation import Pod
from resilience.core.rollouts.context import Move, RolloutContext


def waiting(context: RolloutContext, colour: Colour) -> str:
    """The readiness gates that a colour's pods wait for, in words; empty when they wait for none."""
    pods = [pod for pod in context.pods_of(colour) if pod.awaits_gates and not pod.available]
    if not pods:
        return ""
    gates = ", ".join(sorted({gate for pod in pods for gate in pod.open_gates}))
    return f"both versions serve; {len(pods)} pods still wait for readiness gate {gates}"


def has_own_pods(context: RolloutContext) -> bool:
    """All of the target's own pods have its newest template, and only their readiness gates keep some from serving."""
    workload = context.workload
    return workload.observed and not workload.stale and context.usable(Colour.BLUE) >= workload.replicas


def replace_own_pods(context: RolloutContext) -> Move | None:
    """The move that ends the target's own old pods when its Deployment waits for gates of the new ones; else None.

    The Deployment's controller ends old pods only when new ones are Ready, which these cannot become without traffic.
    No client is led to the old pods.
    """
    if context.workload.paused or not context.workload.observed:
        return None
    if not any(_is_stuck(context, pod) for pod in context.pods_of(Colour.BLUE)):
        return None
    old = [
        replica_set
        for replica_set in context.view.replica_sets
        if replica_set.replicas and replica_set.fingerprint != context.wanted
    ]
    if not old or context.any_listed(Colour.BLUE):
        return None
    message = "the Deployment's old pods end, because its new ones cannot be Ready before a Service leads to them"
    return Move(actions=tuple(EmptyReplicaSet(replica_set) for replica_set in old), waiting=message)


def _is_stuck(context: RolloutContext, pod: Pod) -> bool:
    return not pod.available and context.is_gated_outside(pod)
