"""Preconditions of a rollout, checked before anything is changed, so that nothing has to be undone."""

from resilience.core.health import ports
from resilience.core.health.targets import client_service
from resilience.core.rollouts.context import RolloutContext


def blocker(context: RolloutContext) -> str:
    """The reason why a rollout waits before its first step; empty when it may begin."""
    if context.being_replaced:
        return f"pod {context.being_replaced[0].name} is being replaced"
    if context.writing:
        return "managed fields are being written into the template"
    if context.observation.unsettled:
        return "the API server was away; nodes may not have caught up"
    lost = ports.missing(context.spec, context.workload.template, client_service(context.spec, context.observation))
    return lost or _service(context) or _drained_node(context) or _room(context) or context.view.quota_short


def _service(context: RolloutContext) -> str:
    """Message about a Service that does not lead to both colours: the switch would leave it without pods. Or empty."""
    old_labels = [pod.labels for pod in context.view.pods]
    for service in context.services:
        selects_new = service.concerns(context.workload.template.labels)
        if selects_new and any(service.concerns(labels) for labels in old_labels):
            continue
        which = "old" if selects_new else "new"
        return (
            f"Service {service.name} does not select pods of the {which} template; have its selector name only labels "
            "that both templates carry"
        )
    return ""


def _drained_node(context: RolloutContext) -> str:
    cordoned = {node.name for node in context.view.nodes or () if node.unschedulable}
    drained = sorted({pod.node for pod in context.view.pods} & cordoned)
    if not drained or len(cordoned) == len(context.view.nodes or ()):
        return ""
    return f"node {drained[0]} under its pods is cordoned; the release begins when they have moved or it is uncordoned"


def _room(context: RolloutContext) -> str:
    if not context.workload.template.needs_separate_nodes or context.view.nodes is None:
        return ""
    # A pod that ends keeps its node until it is gone.
    taken = {pod.node for pod in context.view.pods if pod.deleting}
    usable = sum(not node.unschedulable and node.name not in taken for node in context.view.nodes)
    needed = 2 * context.workload.replicas
    if usable >= needed:
        return ""
    return (
        f"its pods must not share a node (required anti-affinity), and two sets of them need {needed} nodes; there are "
        f"{usable}: make the anti-affinity preferred, or use rollout.strategy: RollingUpdate"
    )
