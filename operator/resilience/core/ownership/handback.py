"""Hands a workload back as its user had it: when its resource is deleted, or the operator is uninstalled.

Pods in flight come first, then the colour that serves, then the template, the flags, the marks and the finalizer.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from resilience.api.names import (
    ANNOTATION_CLAIM,
    ANNOTATION_LEFT,
    ANNOTATION_PAUSED_FOR,
    FINALIZER,
)
from resilience.api.reasons import Reason
from resilience.core.degradation import publish
from resilience.core.failures import stuck_pods
from resilience.core.model import held
from resilience.core.model.actions import DeleteGreen, MarkLeft
from resilience.core.model.context import Context
from resilience.core.model.decision import SOON, Action, ApplyTemplate, Decision, Event, LetGo, SetFinalizer, Unclaim
from resilience.core.model.observation import Green, Observation, PodsView, Resource
from resilience.core.ownership import managed_probes
from resilience.core.ownership.remains import completed, settings
from resilience.core.replacement.context import GONE_POLL, ReplacementContext
from resilience.core.replacement.plan import plan_replacements
from resilience.core.restarts import lifecycle
from resilience.core.rollouts import bluegreen, preview, rollout

# Longest wait of a deletion for pods in flight, and for the colour that serves; then both are left to their owners.
# Pins and the pause, which the target cannot work with, are tried to be undone as long again.
# Then the resource goes.
PATIENCE = timedelta(minutes=10)


def hand_back(resource: Resource, observation: Observation, now: datetime) -> Decision:
    """Decide the next step: pods in flight first, then the template, the marks, the finalizer.

    The specification need not be readable: everything to undo is found by the marks on it.
    """
    workload = observation.workload
    waited = now - resource.deleting_since if resource.deleting_since is not None else timedelta()
    is_late = waited >= PATIENCE
    if observation.namespace_refused and not is_late:
        return _left_to_others(resource, now)
    if workload is None or workload.annotations.get(ANNOTATION_CLAIM) not in (None, resource.claim):
        pins = (LetGo(observation.abandoned),) if observation.abandoned else ()
        return Decision(actions=(*pins, *_last(resource)))
    named = completed(resource, workload)
    assert named.spec is not None
    if observation.pods is not None and waited < 2 * PATIENCE:
        effective = settings(resource, named.spec)
        context = Context(named, named.spec, effective, observation, workload, resource.status, now)
        pending = None if is_late else _finish_pods(context, observation.pods)
        pending = pending or _return_to_target(context, observation.pods, is_late=is_late)
        if pending is not None:
            return pending
    actions: list[Action] = [MarkLeft(reason)] if (reason := _left_as_it_is(observation, is_late=is_late)) else []
    # Every container: spec.container may have named another one when its fields were written.
    plans = [managed_probes.empty_plan(container) for container in workload.template.containers]
    actions.extend([ApplyTemplate(fields.container, {}) for fields in plans if not fields.in_sync][:1])
    actions.extend(publish.withdraw(observation))
    actions.append(Unclaim(tuple(service.name for service in observation.selecting if service.managed)))
    events = (*_kept(actions), *_left_behind(observation))
    if observation.more_claimed:
        # Its specification named another target before: that one comes next, while the finalizer still stands.
        return Decision(actions=tuple(actions), events=events, requeue_after=SOON)
    return Decision(actions=(*actions, *_last(resource)), events=events)


def _finish_pods(context: Context, view: PodsView) -> Decision | None:
    """Finish or undo the replacements in flight; None when there is none."""
    wish = lifecycle.wish(context.status, deleting=True)
    plan = plan_replacements(ReplacementContext(context, view, wish))
    if not plan.remaining:
        return None
    return Decision(actions=plan.actions, requeue_after=SOON if plan.actions else plan.requeue_after or GONE_POLL)


def _return_to_target(base: Context, view: PodsView, *, is_late: bool) -> Decision | None:
    """Keep the serving colour until the target's own pods can take over; None when they have, or green has to stay.

    `is_late`: green has to stay if clients are led to it, and goes at once if none is.
    """
    context = rollout.make_context(base, view, leaving=True)
    if is_late and view.green is not None:
        if _serves(base.observation, view.green):
            return None
        if not view.green.deleting:
            return Decision(actions=(DeleteGreen(),), requeue_after=SOON)
    ends_soon = view.green is not None and not is_late and _ends_soon(view.green, base.now)
    if ends_soon and base.workload.paused:
        # Then the target rolls out by itself, which nobody covers: that comes last, and the resource goes with it.
        return Decision(requeue_after=GONE_POLL)
    move = bluegreen.plan(context)
    actions = (*move.actions, *preview.plan(context))
    is_stuck = bluegreen.stays_on_green(context)
    if actions:
        return Decision(actions=actions, events=_kept(actions), requeue_after=SOON)
    if view.green is None or is_stuck:
        return None
    if view.green.deleting and not move.waiting and not ends_soon:
        return None
    return Decision(requeue_after=move.wait or GONE_POLL)


def _ends_soon(green: Green, now: datetime) -> bool:
    """Green is being deleted, and its pods end as they should; of pods that are stuck nobody knows."""
    are_stuck = bool(green.pods) and all(stuck_pods.is_stuck(pod, now) for pod in green.pods)
    return green.deleting and not are_stuck


def _kept(actions: Sequence[Action]) -> tuple[Event, ...]:
    """Events about objects that stay behind on purpose."""
    marks = (action for action in actions if isinstance(action, MarkLeft))
    return tuple(Event(Reason.GIVEN_BACK, mark.reason, True) for mark in marks)


def _serves(observation: Observation, green: Green) -> bool:
    """Clients may be led to green; without a Service nobody knows."""
    if green.deleting:
        return False
    services, uids = observation.selecting, {pod.uid for pod in green.pods}
    is_selected = any(service.selects(pod.labels) for service in services for pod in green.pods)
    return not services or is_selected or bool(observation.reached & uids)


def _left_as_it_is(observation: Observation, *, is_late: bool) -> str:
    """Message about what the operator leaves behind, with the fix; empty when it leaves nothing."""
    workload, green = observation.workload, observation.pods.green if observation.pods is not None else None
    if workload is None or ANNOTATION_LEFT in workload.annotations:
        return ""
    if green is not None and not green.deleting and (_serves(observation, green) or not is_late):
        why = "took too long" if is_late else "has a newest template that failed"
        return (
            f"the target {why}, so Deployment {green.workload.name} still serves and Services stay pinned to it; make "
            "the target's own pods ready, take pod-template-hash out of the Services' selectors, then delete it"
        )
    if workload.annotations.get(ANNOTATION_PAUSED_FOR) == workload.template.fingerprint and workload.paused:
        return "paused: the rolling update of its newest template failed; change it, then: kubectl rollout resume"
    if is_late and held.is_held(workload):
        return (
            "paused: what the operator holds could not be given back in time; take pod-template-hash out of the "
            "Services' selectors, then: kubectl rollout resume"
        )
    return ""


def _left_behind(observation: Observation) -> tuple[Event, ...]:
    """Warning about pods that could not be finished in time: they serve, but no ReplicaSet counts them."""
    names = [
        pod.name
        for pod in (observation.pods.pods if observation.pods else ())
        if pod.step is not None and not pod.deleting
    ]
    if not names:
        return ()
    words = f"left behind in no ReplicaSet: {', '.join(names)}; delete them when other pods serve (kubectl delete pod)"
    return (Event(Reason.POD_NOT_GENTLE, words, warning=True),)


def _left_to_others(resource: Resource, now: datetime) -> Decision:
    """Wait in a refused namespace: another operator may look after it, and has to hand the workload back first."""
    if not _last(resource) or resource.deleting_since is None:
        return Decision()
    return Decision(requeue_after=resource.deleting_since + PATIENCE - now)


def _last(resource: Resource) -> tuple[Action, ...]:
    return (SetFinalizer(present=False),) if FINALIZER in resource.finalizers else ()
