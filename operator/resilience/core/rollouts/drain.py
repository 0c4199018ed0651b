"""Drains the clients of a whole colour before its pods end, and cancels the drain when the colour serves again."""

from collections.abc import Sequence
from datetime import timedelta

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.health import targets
from resilience.core.model.actions import SignalPod, TakeBackSignal
from resilience.core.model.decision import Action
from resilience.core.model.observation import Pod, PodsView
from resilience.core.replacement.pod_steps import QUIET_POLL, SIGNAL_PATIENCE, time_to_leave
from resilience.core.rollouts.context import Move, RolloutContext


def draining_pods(view: PodsView) -> tuple[Pod, ...]:
    """The pods whose open connections are queried: those of a colour that clients are leaving."""
    green = view.green
    if green is None or green.deleting:
        return ()
    if green.step is ReleaseStep.DISCARDING:
        return green.pods
    if green.step in (ReleaseStep.WARM, ReleaseStep.DRAINING):
        return view.pods if green.towards is Colour.GREEN else green.pods
    return ()


def time_to_know(context: RolloutContext) -> timedelta:
    """Time until every client knows a change of the Services' endpoints."""
    return time_to_leave(context.services, context.effective)


def drain_colour(context: RolloutContext, colour: Colour) -> Move | None:
    """Signals every ready pod of the colour and waits until it is quiet; None when the colour may go."""
    drain, pods = context.spec.drain, [pod for pod in context.pods_of(colour) if pod.ready]
    if context.observation.unsettled:
        return Move(waiting="the API server was away; nodes may not have caught up", wait=context.observation.unsettled)
    propagation = time_to_know(context)
    remaining = context.left(propagation)
    if remaining is not None:
        return Move(waiting="every node learns that the old pods get no new connections", wait=remaining)
    if not is_wanted(context):
        return None
    signals = signal_pods(context, colour, is_last=context.left(propagation + SIGNAL_PATIENCE) is None)
    if signals:
        return Move(actions=signals, waiting="clients are signalled to move over", wait=QUIET_POLL)
    wait = context.left(propagation + drain.max_wait)
    if wait is None or not pods:
        return None
    unsignalled = _unsignalled(context, pods)
    if drain.quiet is None:
        return Move(waiting=f"clients move over{unsignalled}", wait=wait)
    counts = [context.view.connections.get(pod.uid) for pod in pods]
    if all(count is not None and count < drain.quiet.http.below for count in counts):
        return None
    words = f"clients still keep connections to the old pods{unsignalled}"
    return Move(waiting=words, wait=min(wait, QUIET_POLL))


def _unsignalled(context: RolloutContext, pods: Sequence[Pod]) -> str:
    """Words about a pod that takes no drain signal although the spec has one; empty when all have received it."""
    signal, pod = context.spec.drain.signal, next((pod for pod in pods if pod.signalled_at is None), None)
    if signal is None or pod is None:
        return ""
    return f"; pod {pod.name} gets no drain signal, for none of its containers has port {signal.http.port}"


def is_wanted(context: RolloutContext) -> bool:
    """Clients of pods that are about to end are signalled to move over, or waited for."""
    return context.spec.drain.signal is not None or context.spec.drain.quiet is not None


def signal_pods(context: RolloutContext, colour: Colour, *, is_last: bool) -> tuple[Action, ...]:
    """Signals to the colour's ready pods that have not received one; after the last attempt it counts as received."""
    return tuple(
        SignalPod(pod, target, context.now, is_last)
        for pod in context.pods_of(colour)
        if pod.ready and pod.signalled_at is None and (target := targets.signal_target(context.spec, pod)) is not None
    )


def cancel_signals(context: RolloutContext, colour: Colour) -> tuple[TakeBackSignal, ...]:
    """Cancels the drain signal of the colour's pods, because the colour serves again."""
    return tuple(
        TakeBackSignal(pod, targets.signal_target(context.spec, pod))
        for pod in context.pods_of(colour)
        if pod.signalled_at is not None
    )


def kept_connections(context: RolloutContext) -> int | None:
    """Number of connections that clients keep to the colour without new ones; None when no pod reported a number."""
    counts = [context.view.connections.get(pod.uid) for pod in draining_pods(context.view)]
    reported = [count for count in counts if count is not None]
    return sum(reported) if reported else None
