"""A restart from its request to its result: accept, follow, finish, fail or abort.

A request covers the pods that exist when it is accepted, by the API server's own clock. The package `replacement`
replaces them.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from resilience.api.reasons import Reason, ReplaceStep, Request, RestartOutcome, RolloutStage
from resilience.api.status import HistoryEntry, Status
from resilience.api.status_restarts import ReplacementStatus, RestartResult, RestartsStatus, RestartStatus
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model import requests, trace_ids
from resilience.core.model.context import Context
from resilience.core.model.decision import SOON, Event, StepResult
from resilience.core.model.history import remember
from resilience.core.model.observation import PodsView
from resilience.core.model.traffic import Traffic
from resilience.core.model.workload import Workload
from resilience.core.replacement import availability
from resilience.core.replacement.context import ReplacementRequest
from resilience.core.replacement.plan import ReplacementPlan

# Creation times have whole seconds: a pod created in the second of the acceptance must be an old one.
SETTLE = timedelta(seconds=1)

# Stages in which the new version serves already, and only the target's own pods follow.
_TOWARDS_BLUE = (
    RolloutStage.HOPPING_BACK,
    RolloutStage.RETURNING,
    RolloutStage.DRAINING_GREEN,
    RolloutStage.FINISHING,
)
_NOTHING = "nothing was in flight"

_REASONS = {
    RestartOutcome.SUCCEEDED: Reason.RESTART_SUCCEEDED,
    RestartOutcome.FAILED: Reason.RESTART_FAILED,
    RestartOutcome.REFUSED: Reason.RESTART_REFUSED,
    RestartOutcome.ABORTED: Reason.RESTART_ABORTED,
    RestartOutcome.UNNEEDED: Reason.REQUEST_IGNORED,
}


def accept(context: Context, view: PodsView) -> StepResult:
    """Accept a pending request, unless a restart is in flight or the target cannot be restarted."""
    resource, status, workload, now = context.resource, context.status, context.workload, context.now
    value = requests.pending(resource.annotations, status, Request.RESTART)
    if value is None or status.restart is not None:
        return StepResult(status)
    pods = availability.staying(view)
    begun = RestartStatus(
        request=value[:1024],
        trace_id=trace_ids.new(resource.uid, now),
        started_at=now,
        born_before=max((pod.created for pod in pods), default=now),
        total=len(pods),
    )
    if workload.replicas == 0 or not pods:
        return _end(status, begun, RestartOutcome.UNNEEDED, "the target has no pods; nothing to restart", now)
    refusal = availability.drain_refusal(context.spec, workload)
    if refusal is None and workload.kind is TargetKind.DEPLOYMENT:
        refusal = availability.replacement_refusal(workload, view)
    if refusal is not None:
        return _end(status, begun, RestartOutcome.REFUSED, refusal.message, now)
    note = f"restart of {len(pods)} pod{'s' if len(pods) > 1 else ''} began"
    status = requests.handle(status, Request.RESTART, value, now=now, note=note)
    event = Event(Reason.RESTART_STARTED, f"{note}{_cost(workload)} (trace {begun.trace_id})")
    return StepResult(status.model_copy(update={"restart": begun}), events=(event,), requeue_after=SOON)


def _cost(workload: Workload) -> str:
    if workload.kind is TargetKind.DEPLOYMENT:
        return ""
    if workload.replicas == 1:
        return f"; a {workload.kind} cannot surge and this is its only pod: requests fail until it is back"
    return f"; a {workload.kind} cannot surge: its pods go one by one and requests in flight to them may be lost"


def wish(status: Status, *, deleting: bool) -> ReplacementRequest:
    """The replacements that the restart in flight requires. `deleting`: none, and those begun are undone."""
    running = status.restart
    if running is None or deleting:
        return ReplacementRequest(born_before=None, not_before=None, undo=deleting)
    undo = running.aborted or bool(running.failure)
    only = tuple(reference.uid for reference in running.only)
    return ReplacementRequest(running.born_before, running.started_at + SETTLE, undo, only)


def follow(context: Context, view: PodsView, plan: ReplacementPlan) -> StepResult:
    """Record the progress of the restart in flight, and end it."""
    status, now = context.status, context.now
    running = status.restart
    if running is None:
        return StepResult(status)
    running, finished = _fold_pods(running, view, plan, now)
    running = _with_requests(running, context.observation.traffic)
    if plan.given_up and not running.failure:
        # The failure is recorded first: the restart ends when none of its pods is in flight any more.
        failure = f"the replacement did not come up: {plan.waiting}"[:1024]
        running = running.model_copy(update={"failure": failure})
        return StepResult(status.model_copy(update={"restart": running}), requeue_after=SOON)
    ending = {pod.name for pod in view.pods if pod.uid in plan.released}
    replaced = tuple(
        Event(Reason.POD_REPLACED, f"pod {name} was replaced and {'is ending' if name in ending else 'is gone'}")
        for name in finished
    )
    replaced += tuple(
        Event(Reason.POD_GIVEN_BACK, f"pod {name} stays: it was handed back to its ReplicaSet", warning=True)
        for name in sorted(_handed_back(status.restart or running, view))
    )
    replaced += tuple(Event(Reason.POD_NOT_GENTLE, note, warning=True) for note in plan.notes)
    ends = plan.released | plan.stuck
    in_flight = [pod for pod in view.pods if pod.step is not None and pod.uid not in ends]
    if plan.remaining == 0 or (not in_flight and (running.aborted or running.failure)):
        ended = _end(status, running, _outcome(running, plan), running.failure, now)
        return replace(ended, events=replaced + ended.events)
    return StepResult(status.model_copy(update={"restart": running}), events=replaced)


def _outcome(running: RestartStatus, plan: ReplacementPlan) -> RestartOutcome:
    if running.failure:
        return RestartOutcome.FAILED
    return RestartOutcome.ABORTED if running.aborted and plan.remaining else RestartOutcome.SUCCEEDED


def abort(context: Context) -> StepResult:
    """Accept a pending abort: no further pod is replaced, and replacements that do not serve yet are undone."""
    status, now = context.status, context.now
    value = requests.pending(context.resource.annotations, status, Request.ABORT)
    if value is None:
        return StepResult(status)
    is_accepted = _is_accepted(status)
    if status.restart is None and status.rollout.candidate is not None and not is_accepted:
        rollout = status.rollout.model_copy(update={"aborted": True})
        status = requests.handle(status, Request.ABORT, value, now=now, note="the release is being aborted")
        return StepResult(status.model_copy(update={"rollout": rollout}), requeue_after=SOON)
    if status.restart is None:
        note = "the new version is accepted already; to go back, change the template" if is_accepted else _NOTHING
        event = Event(Reason.REQUEST_IGNORED, f"abort: {note}")
        status = requests.handle(status, Request.ABORT, value, now=now, note=note)
        return StepResult(status, events=(event,), requeue_after=SOON)
    aborted = status.restart.model_copy(update={"aborted": True})
    status = requests.handle(status, Request.ABORT, value, now=now, note="the restart is being aborted")
    return StepResult(status.model_copy(update={"restart": aborted}), requeue_after=SOON)


def _is_accepted(status: Status) -> bool:
    """The new version is accepted: the rollout in flight only returns to the target's own pods."""
    rollout = status.rollout
    if rollout.candidate is None or rollout.serving is None or rollout.serving.hash != rollout.candidate.hash:
        return False
    return rollout.step in _TOWARDS_BLUE


def _handed_back(running: RestartStatus, view: PodsView) -> set[str]:
    """Names of pods that exist and no longer have a step. A StatefulSet reuses the name, but for a new pod."""
    known = {entry.name for entry in running.pods}
    old = {pod.name for pod in view.pods if pod.step is None and pod.created <= running.born_before}
    return known & old


def _fold_pods(
    running: RestartStatus, view: PodsView, plan: ReplacementPlan, now: datetime
) -> tuple[RestartStatus, list[str]]:
    """The restart with the pods in flight now, and the names of the pods that are gone, or only end.

    Connections that a pod had open when it went are added to the total once.
    """
    in_flight = {pod.name: pod for pod in view.pods if pod.step is not None and pod.uid not in plan.released}
    stayed = _handed_back(running, view)
    gone = [entry for entry in running.pods if entry.name not in in_flight and entry.name not in stayed]
    cut = [entry.connections for entry in gone if entry.connections is not None]
    total_cut = sum(cut) + (running.kept_connections_cut or 0) if cut else running.kept_connections_cut
    before = {entry.name: entry for entry in running.pods}
    pods = []
    for pod in list(in_flight.values())[:50]:
        ends = pod.deleting or pod.uid in plan.ending
        step = ReplaceStep.DELETING if ends else pod.step or ReplaceStep.REPLACING
        known = before.get(pod.name)
        count = view.connections.get(pod.uid)
        pods.append(
            ReplacementStatus(
                name=pod.name,
                step=step,
                since=pod.step_since or now,
                # A pod that is ending no longer answers: its last count is the number that was cut.
                connections=count if count is not None else known.connections if known else None,
            )
        )
    done = max(running.total - plan.remaining, running.done)
    return running.model_copy(
        update={
            "pods": pods,
            "done": done,
            "kept_connections_cut": total_cut,
            "message": plan.waiting[:1024],
        }
    ), [entry.name for entry in gone]


def _with_requests(running: RestartStatus, traffic: Traffic | None) -> RestartStatus:
    """The restart with what is measured; what was measured before stands while nothing is."""
    return running if traffic is None else running.model_copy(update={"requests": traffic.in_status()})


def _end(status: Status, running: RestartStatus, outcome: RestartOutcome, message: str, now: datetime) -> StepResult:
    result = RestartResult(
        request=running.request,
        reason=running.reason,
        trace_id=running.trace_id,
        result=outcome,
        message=message[:1024],
        started_at=running.started_at,
        duration=now - running.started_at,
        pods=running.done,
        requests=running.requests,
        kept_connections_cut=running.kept_connections_cut,
    )
    words = describe(result)
    entry = HistoryEntry(
        at=now,
        kind="Restart",
        result=outcome,
        message=words[:1024],
        trace_id=running.trace_id,
        duration=result.duration,
    )
    if running.request:
        status = requests.handle(status, Request.RESTART, running.request, now=now, note=words[:1024])
    status = status.model_copy(
        update={
            "restart": None,
            "last_restart": result,
            "history": remember(status.history, entry, now),
            "restarts": _remembered(status, running, outcome),
        }
    )
    is_bad = outcome in (RestartOutcome.FAILED, RestartOutcome.REFUSED)
    event = Event(_REASONS[outcome], f"{words} (trace {running.trace_id})", is_bad)
    return StepResult(status, events=(event,), requeue_after=SOON)


def _remembered(status: Status, running: RestartStatus, outcome: RestartOutcome) -> RestartsStatus:
    """The restarts by policies, this one marked when it failed: failures are tried again less and less often."""
    has_failed = outcome is RestartOutcome.FAILED
    recent = [
        entry.model_copy(update={"failed": True}) if has_failed and entry.at == running.started_at else entry
        for entry in status.restarts.recent
    ]
    return status.restarts.model_copy(update={"recent": recent})


def describe(result: RestartResult) -> str:
    """The result of a restart in one sentence."""
    match result.result:
        case RestartOutcome.SUCCEEDED | RestartOutcome.ABORTED:
            verb = "restarted" if result.result is RestartOutcome.SUCCEEDED else "aborted after"
            text = (
                f"{verb} {result.pods} pod{'s' if result.pods != 1 else ''} in {result.duration.total_seconds():.0f} s"
            )
        case RestartOutcome.FAILED:
            text = f"restart failed after {result.pods} pods: {result.message}"
        case RestartOutcome.REFUSED:
            text = f"restart refused: {result.message}"
        case RestartOutcome.UNNEEDED:
            text = f"restart: {result.message}"
    if result.reason:
        text += f" ({result.reason})"
    if result.requests is not None:
        text += f"; {result.requests.failed} of {result.requests.sent} measured requests failed"
    if result.kept_connections_cut:
        text += f"; {result.kept_connections_cut} kept connections were cut"
    elif result.kept_connections_cut is None and result.pods:
        text += "; how many kept connections were cut is not known without spec.drain.quiet"
    return text
