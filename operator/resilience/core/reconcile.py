"""`decide`: one pass from the observation to the decision. The order of the parts is the state machine.

A pass is safe to interrupt after any action and to repeat; a converged resource yields no action and no write.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from resilience.api import parts
from resilience.api.reasons import Reason
from resilience.api.status import LastReadable, Status
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.alerting import service_status as alerts
from resilience.core.degradation import dead_letters, flags
from resilience.core.degradation import reconcile as degradation
from resilience.core.health import reach, targets
from resilience.core.model import requests, wrong_parts
from resilience.core.model.conditions import ConditionVerdict
from resilience.core.model.context import Context
from resilience.core.model.decision import SOON, Claim, Decision, SetFinalizer, earliest
from resilience.core.model.draft import Draft
from resilience.core.model.observation import Observation, Resource
from resilience.core.model.probes import CheckTarget
from resilience.core.model.profiles import resolve
from resilience.core.ownership import claim, handback
from resilience.core.ownership.managed_probes import TemplatePlan, UnknownFields
from resilience.core.replacement.context import ReplacementContext
from resilience.core.replacement.plan import ReplacementPlan, plan_replacements
from resilience.core.report import phase, prerequisites, slo
from resilience.core.report.condition_rules import Facts
from resilience.core.report.events import condition_events
from resilience.core.report.status import compose_status, stalled_status
from resilience.core.restarts import lifecycle, policies, triggers
from resilience.core.restarts import reconcile as restarts
from resilience.core.rollouts import gates, rollout
from resilience.core.rollouts.rollout import RolloutResult

# A missing object does not carry the operator's label, so no watch shows its creation.
MISSING_POLL = timedelta(seconds=15)
_MISSING = (
    Reason.TARGET_NOT_FOUND,
    Reason.TARGET_TAKEN,
    Reason.CONTAINER_NOT_FOUND,
    Reason.SERVICE_NOT_FOUND,
    Reason.SERVICE_MISMATCH,
    Reason.PORT_NOT_FOUND,
)


def decide(resource: Resource, observation: Observation, now: datetime) -> Decision:
    """The decision about one resource."""
    if observation.namespace_ending and resource.deleting_since is None:
        # The resource goes next. Nothing is written, checked or told meanwhile; its end may be missed by the watch.
        return Decision(requeue_after=MISSING_POLL)
    if resource.deleting_since is not None:
        return handback.hand_back(resource, observation, now)
    status = requests.ignore_preexisting(resource.annotations, resource.status, now=now)
    verdict = prerequisites.find(resource, observation)
    spec, workload = resource.spec, observation.workload
    if spec is None or workload is None or prerequisites.blocks_everything(verdict):
        return _stalled(resource, observation, status, verdict, now)
    effective = resolve(spec)
    status = status.model_copy(update={"effective": effective, "last_readable": _last_readable(resource, spec)})
    draft = Draft(Context(resource, spec, effective, observation, workload, status, now))
    fields = claim.plan_fields(draft.context)
    # Pods come first: replacements in flight must not wait for a claim that somebody refuses.
    restarted = restarts.reconcile(draft.context)
    draft.take(restarted)
    plan, rolled = None, None
    if not spec.suspend:
        plan = _replace_pods(draft)
        rolled = _roll_out(draft, fields)
        verdict = prerequisites.of_rollout(verdict, draft.context.status, rolled.obstacle)
    verdict = prerequisites.of_parts(verdict, resource)
    if verdict.reason in _MISSING:
        draft.wait(MISSING_POLL)
    has_acted = bool(draft.actions)
    if not has_acted:
        # This pass tries no action, so the last refusal no longer applies.
        draft.context = replace(draft.context, observation=replace(observation, refusal=None))
    degraded = degradation.reconcile(draft.context)
    draft.take(degraded, first=True)
    draft.take(dead_letters.reconcile(draft.context))
    _report(draft, Facts(draft.context, verdict, fields, plan, rolled.move if rolled is not None else None))
    final = draft.context
    return Decision(
        actions=tuple(draft.actions),
        status=final.status,
        events=(*draft.events, *condition_events(resource.status, final.status)),
        requeue_after=SOON if has_acted else min(draft.waits, default=None),
        checks=_with_proof(final, (*_checks(final), *(rolled.checks if rolled is not None else ()))),
        verify=targets.verify_target(spec, final.status, final.observation),
        # Pods that have the previous version of the flags have to receive this one.
        pods_next=_in_flight(observation) or bool(degraded.actions) or final.status.flags != status.flags,
        refused=plan.refusal.reason if plan is not None and plan.refusal is not None else "",
        ticket=restarted.ticket,
    )


def _last_readable(resource: Resource, spec: ResilientServiceSpec) -> LastReadable:
    before = resource.status.last_readable or LastReadable()
    return LastReadable(
        rollout=before.rollout if wrong_parts.lacks(resource, "rollout") else parts.settings(spec.rollout),
        drain=before.drain if wrong_parts.lacks(resource, "drain") else parts.settings(spec.drain),
    )


def _stalled(
    resource: Resource, observation: Observation, status: Status, verdict: ConditionVerdict, now: datetime
) -> Decision:
    """The decision while a person has to correct a prerequisite: report that, and continue with alerts."""
    alerted = alerts.reconcile(resource, stalled_status(resource, status, verdict, now), observation, now)
    return Decision(
        actions=_without_finalizer(resource, observation),
        status=alerted.status,
        events=(*alerted.events, *condition_events(resource.status, alerted.status)),
        requeue_after=earliest(alerted.requeue_after, MISSING_POLL if verdict.reason in _MISSING else None),
        pods_next=_in_flight(observation),
    )


def _without_finalizer(resource: Resource, observation: Observation) -> tuple[SetFinalizer, ...]:
    """A finalizer that must not be there is taken off in any case; none is set before there is something to mark."""
    if observation.with_finalizer or observation.namespace_refused:
        return ()
    return claim.finalizer(resource, observation)


def _replace_pods(draft: Draft) -> ReplacementPlan | None:
    """Advance the pods in flight. A restart begins after the pass that accepts it, so its status is written first."""
    context, view = draft.context, draft.context.observation.pods
    if view is None or not view.limits_read:
        return None
    wish = lifecycle.wish(context.status, deleting=False)
    plan = plan_replacements(ReplacementContext(context, view, wish))
    draft.take(lifecycle.follow(context, view, plan))
    draft.actions.extend(plan.actions)
    draft.wait(plan.requeue_after)
    return plan


def _roll_out(draft: Draft, fields: TemplatePlan | UnknownFields) -> RolloutResult:
    """Claim the target, write managed fields, and advance the rollout, which waits until the target is claimed."""
    claimed = claim.adopt(draft.context)
    draft.take(claimed)
    synced = claim.sync(draft.context, fields)
    draft.take(synced)
    result = rollout.reconcile(draft.context, writing=bool(synced.actions))
    is_claiming = any(isinstance(action, SetFinalizer | Claim) for action in claimed.actions)
    draft.take(replace(result.step, actions=()) if is_claiming else result.step)
    return result


def _report(draft: Draft, facts: Facts) -> None:
    """Compose the status, then derive the results that need all of it: objectives, and last the alerts."""
    context = draft.context
    resource, observation, now = context.resource, context.observation, context.now
    status = compose_status(facts)
    draft.wait(phase.next_change(resource, status, context.workload, now))
    counted = slo.reconcile(context.with_status(status))
    draft.take(counted)
    draft.take(alerts.reconcile(resource, counted.status, observation, now))


def _checks(context: Context) -> Iterator[CheckTarget]:
    """The checks to run from now on."""
    yield from targets.check_targets(context.spec, context.effective, context.observation)
    yield from slo.query_targets(context.spec, context.effective, namespace=context.namespace)
    yield from triggers.targets(context)
    yield from flags.targets(context)


def _with_proof(context: Context, run: Iterable[CheckTarget]) -> tuple[CheckTarget, ...]:
    """These targets, marked as unproven where nothing ever answered the check that they belong to."""
    unproven = reach.unproven(context.spec, context.status.health)
    names = {
        *unproven,
        *(gates.PREFIX + name for name in unproven),
        *(
            policies.PREFIX + policy.name
            for policy in context.spec.restart.policies
            if policy.check is not None and policy.check.name in unproven
        ),
    }
    return tuple(replace(target, proven=target.check not in names) for target in run)


def _in_flight(observation: Observation) -> bool:
    if observation.pods is None:
        return False
    return observation.pods.green is not None or any(pod.step is not None for pod in observation.pods.pods)
