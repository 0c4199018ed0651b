"""What has to be so before a release begins: found before anything is changed, so that nothing has to be undone."""

from resilience.core.rollouts.context import RolloutContext


def lack(context: RolloutContext) -> str:
    """What a release waits for before its first step; empty when it may begin."""
    retiring = [pod.name for pod in context.view.pods if pod.step is not None]
    if retiring:
        return f"pod {retiring[0]} is being replaced"
    if context.writing:
        return "managed fields are being written into the template"
    if context.observation.unsettled:
        return "the API server was away; nodes may not have caught up"
    return _service(context) or _drained_node(context) or _room(context) or context.view.quota_short


def _service(context: RolloutContext) -> str:
    """Every Service has to lead to both colours, or the switch would leave it with nothing."""
    old = [pod.labels for pod in context.view.pods]
    for service in context.services:
        new = service.concerns(context.workload.template.labels)
        if new and any(service.concerns(labels) for labels in old):
            continue
        which = "old" if new else "new"
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
    if not context.workload.template.apart or context.view.nodes is None:
        return ""
    usable = sum(not node.unschedulable for node in context.view.nodes)
    needed = 2 * context.workload.replicas
    if usable >= needed:
        return ""
    return (
        f"its pods must not share a node (required anti-affinity), and two sets of them need {needed} nodes; there are "
        f"{usable}: make the anti-affinity preferred, or use rollout.strategy: RollingUpdate"
    )
