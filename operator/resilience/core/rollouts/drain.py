"""Letting the clients of a whole colour go before its pods end, and taking that back when the colour serves again."""

from datetime import timedelta

from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.health import targets
from resilience.core.model.actions import SignalPod, TakeBackSignal
from resilience.core.model.decision import Action
from resilience.core.model.observation import Pod, PodsView
from resilience.core.replacement.pod_steps import QUIET_POLL, SIGNAL_PATIENCE, time_to_leave
from resilience.core.rollouts.context import Move, RolloutContext


def audience(view: PodsView) -> tuple[Pod, ...]:
    """The pods that are asked for their connections: those of a colour that clients are leaving."""
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


def say(context: RolloutContext, colour: Colour) -> Move | None:
    """Signals every pod of the colour and waits until it is quiet; None when it may go."""
    drain, pods = context.spec.drain, [pod for pod in context.pods_of(colour) if pod.ready]
    if context.observation.unsettled:
        return Move(waiting="the API server was away; nodes may not have caught up", wait=context.observation.unsettled)
    over = time_to_know(context)
    knows = context.left(over)
    if knows is not None:
        return Move(waiting="every node learns that the old pods get no new connections", wait=knows)
    if drain.signal is None and drain.quiet is None:
        return None
    last = context.left(over + SIGNAL_PATIENCE) is None
    signals: list[Action] = [
        SignalPod(pod, target, context.now, last)
        for pod in pods
        if pod.signalled_at is None and (target := targets.signal_target(context.spec, pod)) is not None
    ]
    if signals:
        return Move(actions=tuple(signals), waiting="clients are told to move over", wait=QUIET_POLL)
    wait = context.left(over + drain.max_wait)
    if wait is None or not pods:
        return None
    if drain.quiet is None:
        return Move(waiting="clients move over", wait=wait)
    counts = [context.view.connections.get(pod.uid) for pod in pods]
    if all(count is not None and count < drain.quiet.http.below for count in counts):
        return None
    return Move(waiting="clients still keep connections to the old pods", wait=min(wait, QUIET_POLL))


def take_back(context: RolloutContext, colour: Colour) -> tuple[TakeBackSignal, ...]:
    """The colour serves again: its pods are told so."""
    return tuple(
        TakeBackSignal(pod, targets.signal_target(context.spec, pod))
        for pod in context.pods_of(colour)
        if pod.signalled_at is not None
    )


def kept_connections(context: RolloutContext) -> int | None:
    """Connections that clients keep to the colour that no longer gets new ones; None when no pod said."""
    counts = [context.view.connections.get(pod.uid) for pod in audience(context.view)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
