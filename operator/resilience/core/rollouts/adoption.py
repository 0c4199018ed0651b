"""Taking a Deployment into blue-green and giving it back: when it may be paused, and when it must not stay so."""

from resilience.api.names import ANNOTATION_FAILED, LABEL_TRACK
from resilience.core.model.actions import Hold, MarkLeft, Resume
from resilience.core.rollouts.context import Move, RolloutContext


def obstacle(context: RolloutContext) -> str:
    """Why the target cannot have a second colour beside it, with what to do; empty when it can."""
    workload, template = context.workload, context.workload.template
    ports = [port.number for each in template.containers for port in each.ports if port.on_host]
    instead = "use rollout.strategy: RollingUpdate"
    if workload.paused and not context.held and ANNOTATION_FAILED not in workload.annotations:
        return "somebody else has paused the Deployment; resume it (kubectl rollout resume) to have it adopted"
    if context.view.green_taken:
        name = context.view.green_taken
        return f"Deployment {name} exists and is not the operator's, and a release needs that name; rename or delete it"
    if workload.strategy == "Recreate":
        return f"strategy Recreate forbids two versions at once; change the Deployment's strategy, or {instead}"
    if template.host_network or ports:
        what = "the host's network" if template.host_network else f"host port {ports[0]}"
        return f"a second set of pods cannot use {what} on the same nodes; {instead}"
    if context.view.exclusive_claims:
        claim = context.view.exclusive_claims[0]
        return f"volume claim {claim} can be mounted once only (ReadWriteOnce); {instead}"
    if context.view.autoscaler is not None and context.view.autoscaler.min_replicas == 0:
        name = context.view.autoscaler.name
        return f"HorizontalPodAutoscaler {name} may scale to zero; set minReplicas to 1, or {instead}"
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
    """Pauses the target once its template serves completely, and again when somebody resumed it meanwhile."""
    if context.workload.replicas == 0 or obstacle(context):
        return Move()
    if context.workload.paused and ANNOTATION_FAILED in context.workload.annotations:
        # Left paused by an earlier life of ours: what serves is the only template that has pods.
        active = [each for each in context.view.replica_sets if each.replicas]
        return Move(actions=(Hold(active[0].fingerprint),)) if len(active) == 1 else Move()
    if not context.workload.settled:
        return Move(waiting="the Deployment rolls by itself; it is adopted when that has ended")
    if any(pod.step is not None for pod in context.view.pods):
        return Move(waiting="pods are being replaced; the Deployment is adopted when that has ended")
    return Move(actions=(Hold(context.wanted),))


def give_back(context: RolloutContext) -> Move:
    """With green gone and nothing pinned: as the user had it; a template that failed stays paused, and says why."""
    if not context.held:
        return Move()
    if context.failed(context.wanted) and context.workload.replicas > 0:
        reason = "paused: its newest template failed and has not been released; change it, then: kubectl rollout resume"
        return Move(actions=(Resume(give_back=True, stay_paused=True), MarkLeft(reason)))
    return Move(actions=(Resume(give_back=True),))
