"""`decide`: from what exists to what is to be done. The order of the steps is the state machine.

A pass is safe to cut off after any action and to repeat; a converged resource yields no action and no write.
"""

from dataclasses import replace as replace_fields
from datetime import datetime, timedelta

from resilience.api.reasons import Reason
from resilience.api.status import Effective, Status
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.alerting import service_status as alerts
from resilience.core.degradation import dead_letters, flags, publish
from resilience.core.health import targets
from resilience.core.model import requests
from resilience.core.model.decision import SOON, Action, Claim, Decision, Event, SetFinalizer, StepResult
from resilience.core.model.draft import Draft
from resilience.core.model.observation import Observation, Resource
from resilience.core.model.profiles import resolve
from resilience.core.model.workload import Workload
from resilience.core.ownership import claim, handback
from resilience.core.replacement.context import Scene
from resilience.core.replacement.plan import Plan, plan_replacements
from resilience.core.report import phase, prerequisites, slo
from resilience.core.report.condition_rules import Facts
from resilience.core.report.events import condition_events
from resilience.core.report.status import compose_status, stalled_status
from resilience.core.restarts import lifecycle, triggers
from resilience.core.rollouts import rollout

# What is missing carries no label of ours, so no watch tells when it comes.
MISSING_POLL = timedelta(seconds=15)
_MISSING = (
    Reason.TARGET_NOT_FOUND,
    Reason.TARGET_TAKEN,
    Reason.CONTAINER_NOT_FOUND,
    Reason.SERVICE_NOT_FOUND,
    Reason.SERVICE_MISMATCH,
    Reason.PORT_NOT_FOUND,
)


def decide(resource: Resource, seen: Observation, now: datetime) -> Decision:
    """What to do about one resource."""
    if resource.deleting_since is not None:
        return handback.release(resource, seen, now)
    status = requests.first_seen(resource.annotations, resource.status, now=now)
    verdict = prerequisites.find(resource, seen)
    spec = resource.spec
    if spec is None or seen.workload is None or prerequisites.blocks_everything(verdict):
        status, said, wait = _alert(resource, stalled_status(resource, status, verdict, now), seen, now)
        waits = [each for each in (wait, MISSING_POLL if verdict.reason in _MISSING else None) if each is not None]
        events = (*said, *condition_events(resource.status, status))
        return Decision(
            status=status, events=events, requeue_after=min(waits, default=None), pods_next=_in_flight(seen)
        )
    effective, workload = resolve(spec), seen.workload
    draft = Draft(status.model_copy(update={"effective": effective}))
    template = claim.template(spec, effective, seen)
    plan, look, recycled = None, None, None
    if not spec.suspend:
        # Pods first: what is in flight must not wait for a mark that somebody refuses.
        recycled = _recycle(draft, resource, spec, effective, seen, workload, now)
        plan = _pods(draft, resource, spec, effective, seen, workload, now)
        claim.adopt(draft, resource, seen, workload)
        writing = claim.sync(draft, resource, spec, seen, template, now)
        look = _release(draft, resource, spec, effective, seen, now, writing=writing)
        verdict = prerequisites.of_release(verdict, draft.status, look.obstacle)
    else:
        told = triggers.look(resource, spec, effective, seen, draft.status, now)
        draft.take(StepResult(told.status, events=told.events))
        if told.wait is not None:
            draft.waits.append(max(told.wait, SOON))
    if verdict.reason in _MISSING:
        draft.waits.append(MISSING_POLL)
    if not draft.actions:
        # Nothing is tried any more, so nothing is refused.
        seen = replace_fields(seen, refusal="")
    publishing = _degrade(draft, resource, spec, seen, now)
    letters = _replay(draft, resource, spec, seen, now)
    facts = Facts(resource, spec, effective, seen, workload, verdict, template, plan, look.move if look else None)
    composed = compose_status(draft.status, facts, now)
    by_time = phase.appointment(resource, composed, workload, now)
    if by_time is not None:
        draft.waits.append(max(by_time, SOON))
    composed = _count(draft, resource, spec, composed, seen, now)
    final, said, wait = _alert(resource, composed, seen, now)
    if wait is not None:
        draft.waits.append(max(wait, SOON))
    return Decision(
        actions=(*publishing.actions, *draft.actions, *letters),
        status=final,
        events=(*draft.events, *said, *condition_events(resource.status, final)),
        requeue_after=SOON if draft.actions else min(draft.waits, default=None),
        checks=(
            *targets.check_targets(spec, effective, seen),
            *slo.watched(spec, effective, namespace=resource.key.namespace),
            *triggers.watched(spec, effective, seen, final, now),
            *flags.watched(spec, effective, final, namespace=resource.key.namespace),
            *(look.checks if look is not None else ()),
        ),
        verify=targets.verify_target(spec, final, seen),
        # Whoever was told the version before has to be told this one.
        pods_next=_in_flight(seen) or bool(publishing.actions) or final.flags != status.flags,
        refused=plan.refusal.reason if plan is not None and plan.refusal is not None else "",
        ticket=recycled.ticket if recycled is not None else None,
    )


def _recycle(
    draft: Draft,
    resource: Resource,
    spec: ResilientServiceSpec,
    effective: Effective,
    seen: Observation,
    workload: Workload,
    now: datetime,
) -> triggers.Look:
    """Requests by hand first; then what policies and changed configuration ask for."""
    if seen.pods is not None:
        draft.take(lifecycle.abort(resource, draft.status, now))
        draft.take(lifecycle.accept(resource, draft.status, workload, seen.pods, now))
    found = triggers.look(resource, spec, effective, seen, draft.status, now)
    draft.take(StepResult(found.status, events=found.events, requeue_after=SOON if found.begun else None))
    if found.wait is not None:
        draft.waits.append(max(found.wait, SOON))
    return found


def _degrade(
    draft: Draft, resource: Resource, spec: ResilientServiceSpec, seen: Observation, now: datetime
) -> publish.Publishing:
    """Flags first in status, then in every channel. Suspended, what was told last stands."""
    look = flags.look(resource, spec, seen, draft.status, now)
    numbered = publish.number(resource, seen, draft.status, look.status, now)
    draft.take(StepResult(numbered.status, events=(*look.events, *numbered.events)))
    if look.wait is not None:
        draft.waits.append(look.wait)
    if spec.suspend:
        return publish.Publishing()
    told = publish.publish(resource, seen, draft.status)
    if told.actions:
        draft.waits.append(told.wait or SOON)
    return told


def _replay(
    draft: Draft, resource: Resource, spec: ResilientServiceSpec, seen: Observation, now: datetime
) -> tuple[Action, ...]:
    """Dead letters, after the flags: while one is on nothing is put back."""
    found = dead_letters.look(resource, spec, seen, draft.status, now)
    draft.take(StepResult(found.status, events=found.events))
    if found.wait is not None or found.actions:
        draft.waits.append(max(found.wait or SOON, SOON))
    return found.actions


def _count(
    draft: Draft, resource: Resource, spec: ResilientServiceSpec, status: Status, seen: Observation, now: datetime
) -> Status:
    """What became of the objectives, after everything else is said."""
    starting = phase.starting(resource, status, now)
    known = slo.follow(spec, status.slo, status, seen.workload, seen.checks, now, starting=starting)
    burns = known is not None and spec.slo is not None and slo.burning(spec.slo, known, now) is not None
    wait = slo.appointment(known, burns=burns)
    if wait is not None:
        draft.waits.append(wait)
    return status.model_copy(update={"slo": known})


def _alert(
    resource: Resource, status: Status, seen: Observation, now: datetime
) -> tuple[Status, tuple[Event, ...], timedelta | None]:
    """Last of all: what is wrong is read off everything else that is said."""
    status, events = alerts.explain(resource, status, seen, now)
    status, wait = alerts.report(resource, status, seen, now)
    return status, events, wait


def _in_flight(seen: Observation) -> bool:
    if seen.pods is None:
        return False
    return seen.pods.green is not None or any(pod.step is not None for pod in seen.pods.pods)


def _release(
    draft: Draft,
    resource: Resource,
    spec: ResilientServiceSpec,
    effective: Effective,
    seen: Observation,
    now: datetime,
    *,
    writing: bool,
) -> rollout.Look:
    """Nothing is begun in the pass that accepts it, nor before the target carries our marks."""
    look = rollout.look(resource, spec, effective, seen, draft.status, now, writing=writing)
    draft.status = look.status
    draft.events.extend(look.events)
    marks = any(isinstance(action, SetFinalizer | Claim) for action in draft.actions)
    if not marks:
        draft.actions.extend(look.actions)
    if look.move.wait is not None:
        draft.waits.append(look.move.wait)
    return look


def _pods(
    draft: Draft,
    resource: Resource,
    spec: ResilientServiceSpec,
    effective: Effective,
    seen: Observation,
    workload: Workload,
    now: datetime,
) -> Plan | None:
    """The pods in flight. Nothing is accepted and begun in the same pass: status is written first."""
    if seen.pods is None or not seen.pods.limits_read:
        return None
    scene = Scene(spec, effective, seen, workload, seen.pods, lifecycle.wish(draft.status, deleting=False), now)
    plan = plan_replacements(scene)
    draft.take(lifecycle.follow(draft.status, seen.pods, plan, seen.traffic, now))
    draft.actions.extend(plan.actions)
    if plan.requeue_after is not None:
        draft.waits.append(plan.requeue_after)
    return plan
