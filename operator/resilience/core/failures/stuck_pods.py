"""Pods that should have ended and are still there: their node is cut off or dead, or a finalizer keeps them.

Nobody knows when they end, so nothing may wait for them; a person is asked to look. Must not decide on actions: the
operator never forces a deletion, because the containers may still run.
"""

from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import FailureClass, Reason
from resilience.core.failures.classify import Failure, cut_message, namespace_option
from resilience.core.model.observation import Pod

# Time beyond its grace that a pod gets: the kubelet kills it then, and removes volumes. Clocks may differ, too.
MARGIN: Final = timedelta(minutes=1)


def is_stuck(pod: Pod, now: datetime) -> bool:
    """The pod's deletion was due some time ago."""
    return pod.ends_by is not None and now >= pod.ends_by + MARGIN


def failure(pod: Pod, *, namespace: str = "") -> Failure:
    """The failure of a pod that is stuck; it names the node, and what keeps the pod if that is known."""
    assert pod.ends_by is not None
    held = f", and has the finalizer {' and '.join(pod.finalizers)}" if pod.finalizers else ""
    where = f" on node {pod.node}" if pod.node else ""
    message = f"pod {pod.name}{where} does not end: it should have by {pod.ends_by:%Y-%m-%d %H:%M} UTC{held}"
    return Failure(FailureClass.TIMEOUT, Reason.POD_STUCK, cut_message(message), _advice(pod, namespace), pod.name)


def _advice(pod: Pod, namespace: str) -> str:
    by_force = f"kubectl{namespace_option(namespace)} delete pod {pod.name} --force --grace-period=0"
    if pod.finalizers:
        return f"find out why the controller of the finalizer does not take it off: {pod.finalizers[0]}"
    return (
        f"look at the node (kubectl describe node {pod.node}); if it is gone for good, delete it or taint it "
        "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute; if the pod surely no longer runs, "
        f"{by_force}"
    )
