"""Adopts a Deployment for blue-green and hands it back: when it may be paused, and when it must not stay paused."""

from resilience.api.names import ANNOTATION_FAILED, LABEL_TRACK
from resilience.core.model.actions import Hold, MarkLeft, Resume
from resilience.core.rollouts.context import Move, RolloutContext


def obstacle(context: RolloutContext) -> str:
    """The reason why the target cannot have a second colour beside it, with the remedy; empty when it can."""
    workload, template = context.workload, context.workload.template
    alternative = "use rollout.strategy: RollingUpdate"
    if workload.paused and not context.is_adopted and ANNOTATION_FAILED not in workload.annotations:
        return "somebody else has paused the Deployment; resume it (kubectl rollout resume) to have it adopted"
    if context.view.green_taken:
        name = context.view.green_taken
        return f"Deployment {name} exists and is not the operator's, and a release needs that name; rename or delete it"
    if workload.strategy == "Recreate":
        return f"strategy Recreate forbids two versions at once; change the Deployment's strategy, or {alternative}"
    if template.host_network or template.host_ports:
        host_resource = "the host's network" if template.host_network else f"host port {template.host_ports[0]}"
        return f"a second set of pods cannot use {host_resource} on the same nodes; {alternative}"
    if context.view.claims_problem:
        return f"{context.view.claims_problem}; correct the pod template, or {alternative}"
    if context.view.exclusive_claims:
        claim = context.view.exclusive_claims[0]
        return f"volume claim {claim} can be mounted once only (ReadWriteOnce); {alternative}"
    if context.view.autoscaler is not None and context.view.autoscaler.min_replicas == 0:
        name, is_kedas = context.view.autoscaler.name, context.view.autoscaler.is_scaled_object
        scaler, field = ("ScaledObject", "minReplicaCount") if is_kedas else ("HorizontalPodAutoscaler", "minReplicas")
        return f"{scaler} {name} may scale to zero; set {field} to 1, or {alternative}"
    if LABEL_TRACK in template.labels:
        return f"the pod template carries the label {LABEL_TRACK}, which tells the colours apart; take it out"
    for service in context.services:
        if service.selector_owner:
            return (
                f"the selector of Service {service.name} belongs to {service.selector_owner} (server-side apply), "
                "which would take a pin away; if you accept that during releases: kubectl annotate service "
                f"{service.name} resilience.dev/accept-selector-pin=true"
            )
    return ""


def adopt(context: RolloutContext) -> Move:
    """Pauses the target when its newest template serves completely, and again after somebody resumed it."""
    if context.workload.replicas == 0 or obstacle(context):
        return Move()
    if context.unread and not context.noted:
        # By settings that nobody has read nothing is adopted for the first time.
        return Move()
    if context.workload.paused and ANNOTATION_FAILED in context.workload.annotations:
        # The operator left it paused earlier. The template that serves is the only one that has pods.
        active = [replica_set for replica_set in context.view.replica_sets if replica_set.replicas]
        return Move(actions=(Hold(active[0].fingerprint),)) if len(active) == 1 else Move()
    if not context.workload.settled:
        return Move(waiting="the Deployment rolls by itself; it is adopted when that has ended")
    if context.being_replaced:
        return Move(waiting="pods are being replaced; the Deployment is adopted when that has ended")
    return Move(actions=(Hold(context.wanted),))


def hand_back(context: RolloutContext) -> Move:
    """Hands the Deployment back as the user had it, once green is gone and no Service is pinned.

    If its newest template failed, the Deployment stays paused, and a note on it gives the reason.
    """
    if not context.is_adopted:
        return Move()
    if context.failed(context.wanted) and context.workload.replicas > 0:
        reason = "paused: its newest template failed and has not been released; change it, then: kubectl rollout resume"
        return Move(actions=(Resume(give_back=True, stay_paused=True), MarkLeft(reason)))
    return Move(actions=(Resume(give_back=True),))
