"""Diagnosis of a pod whose containers are ready, but one of its readiness gates is never answered.

Some other controller has to set the gate, usually a load balancer's. This module must not decide on actions.
"""

from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import FailureClass, Reason
from resilience.core.failures.classify import Failure, cut_message, namespace_option
from resilience.core.model.observation import Pod

# Time after which a gate counts as unanswered: load balancers need 10 to 60 s for a new target.
PATIENCE: Final = timedelta(minutes=2)
_SETTERS: Final = {
    "target-health.elbv2.k8s.aws/": (
        "the AWS Load Balancer Controller sets it when the target is healthy: check that it runs, that the "
        "TargetGroupBinding of that name exists and leads to a Service that selects the pod, and the health check of "
        "its target group"
    ),
    "target-health.alb.ingress.k8s.aws/": (
        "only version 1 of the ALB ingress controller sets it: remove it from the pod template, and label the "
        "namespace elbv2.k8s.aws/pod-readiness-gate-inject=enabled"
    ),
    "application-networking.k8s.aws/": (
        "the AWS Gateway API Controller sets it when VPC Lattice has the target: check that it runs, and that a route "
        "leads to a Service that selects the pod"
    ),
    "cloud.google.com/load-balancer-neg-ready": (
        "GKE sets it when the pod is healthy in its network endpoint group: read the pod's Events, and check the "
        "health check of the backend service and the firewall rules for it"
    ),
}


def is_unanswered(pod: Pod, now: datetime) -> bool:
    """Only readiness gates have kept the pod from being Ready, for longer than a load balancer needs."""
    since = pod.containers_ready_since
    return pod.awaits_gates and not pod.ready and since is not None and now >= since + PATIENCE


def unanswered(pod: Pod, *, namespace: str = "") -> Failure:
    """The failure of a pod whose readiness gates are not answered; it names them."""
    gates = " and ".join(pod.open_gates)
    message = f"pod {pod.name}: its containers are ready, but readiness gate {gates} does not become True"
    words = pod.trouble.removeprefix(pod.fault).lstrip(": ")
    return Failure(
        FailureClass.TIMEOUT,
        Reason.READINESS_GATE_UNANSWERED,
        cut_message(f"{message}: {words}" if words else message),
        _advice(pod, namespace),
        pod.name,
    )


def _advice(pod: Pod, namespace: str) -> str:
    known = next((words for prefix, words in _SETTERS.items() if pod.open_gates[0].startswith(prefix)), "")
    setter = known or "find the controller that sets this condition, and check that it runs and knows the pod"
    describe = f"kubectl{namespace_option(namespace)} describe pod {pod.name}"
    return f"{setter}; {describe}; if nobody is to set it, remove it from the pod template"
