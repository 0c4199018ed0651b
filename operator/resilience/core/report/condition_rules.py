"""The conditions as they should be now. kstatus must be able to read Ready, Reconciling and Stalled."""

from dataclasses import dataclass
from typing import Final

from resilience.api.checks import Scope
from resilience.api.reasons import ConditionType, HealthState, Reason
from resilience.api.status import HealthStatus, Status
from resilience.api.v1alpha1 import Management, TargetKind
from resilience.core.degradation import flags
from resilience.core.health import reach
from resilience.core.model import conditions, held
from resilience.core.model.conditions import ConditionVerdict
from resilience.core.model.context import Context
from resilience.core.model.observation import Observation
from resilience.core.ownership.managed_probes import TemplatePlan, UnknownFields
from resilience.core.replacement import availability
from resilience.core.replacement.plan import ReplacementPlan
from resilience.core.rollouts.context import Move

_LEAVE_RECIPE: Final = (
    "give the pods a label that only their Services select by, and name it in spec.drain.leaveBy; see "
    "docs/operations/meshes.md"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """The input of the report: the pass, and the decisions of its parts."""

    base: Context
    prerequisites: ConditionVerdict
    template: TemplatePlan | UnknownFields
    plan: ReplacementPlan | None
    # None while suspended.
    move: Move | None = None


def counted(state: HealthState, *, dependency: bool) -> HealthState:
    """The state of the service by a check's state: with a lost dependency the service is degraded, and still serves."""
    return HealthState.WARNING if dependency and state is HealthState.UNHEALTHY else state


def degraded(facts: Facts, status: Status) -> ConditionVerdict:
    """Degraded: a dependency of the service is lost, or a flag that its applications read is on."""
    kind = ConditionType.DEGRADED
    names = [check.name for check in facts.base.spec.health.checks if check.scope is Scope.DEPENDENCY]
    states = {name: facts.base.observation.checks.get(name) for name in names}
    lost = {name: state for name, state in states.items() if state is not None and state.state is HealthState.UNHEALTHY}
    flag_text = flags.words(status.degradation)
    if lost:
        words = "; ".join(f"{name}: {state.message}" for name, state in lost.items())
        words = f"{words}; {flag_text}" if flag_text else words
        return ConditionVerdict(kind, True, Reason.DEPENDENCY_LOST, words + _coupled(facts.base.observation))
    if flag_text:
        return ConditionVerdict(kind, True, Reason.FLAGS_ON, flag_text)
    if not names:
        return ConditionVerdict(kind, False, Reason.NO_DEPENDENCIES, "no check of scope Dependency is defined")
    return ConditionVerdict(kind, False, Reason.DEPENDENCIES_WORK, f"{', '.join(names)}: none is known to be lost")


def _coupled(observation: Observation) -> str:
    """A hint that all pods are unready, and so the whole service is down, with their dependency; else empty."""
    ours = {service.name for service in observation.selecting}
    listed = [endpoint for endpoint in observation.endpoints if endpoint.service in ours and not endpoint.terminating]
    if not listed or any(endpoint.counts for endpoint in listed):
        return ""
    return (
        "; all pods are unready together, so their readiness probe seems to check the dependency too: leave it out of "
        "the readiness endpoint, and let the application answer without it"
    )


def healthy(health: HealthStatus) -> ConditionVerdict:
    """Healthy: the result of the checks."""
    if not health.checks:
        return ConditionVerdict(
            ConditionType.HEALTHY, None, Reason.NO_CHECKS, "no checks are defined in spec.health.checks"
        )
    named = [f"{check.name}: {check.message}" for check in health.checks if _is_named(check.state, health.state)]
    match health.state:
        case HealthState.HEALTHY:
            return ConditionVerdict(
                ConditionType.HEALTHY, True, Reason.CHECKS_PASS, f"{len(named)} of {len(named)} checks pass"
            )
        case HealthState.WARNING:
            return ConditionVerdict(ConditionType.HEALTHY, True, Reason.CHECKS_WARN, "; ".join(named))
        case HealthState.UNHEALTHY:
            return ConditionVerdict(ConditionType.HEALTHY, False, Reason.CHECKS_FAIL, "; ".join(named))
        case HealthState.UNKNOWN:
            is_reached = all(check.reason != reach.UNREACHABLE for check in health.checks)
            reason = Reason.CHECKS_UNKNOWN if is_reached else Reason.CHECKS_UNREACHABLE
            return ConditionVerdict(ConditionType.HEALTHY, None, reason, "; ".join(named))


def _is_named(state: HealthState, whole: HealthState) -> bool:
    return state is whole or (whole is HealthState.WARNING and state is HealthState.UNHEALTHY)


def ready(facts: Facts, status: Status) -> ConditionVerdict:
    """Ready: the current template serves and nothing is in flight."""
    workload, kind = facts.base.workload, ConditionType.READY
    counts = f"{workload.available} of {workload.replicas} pods available"
    if workload.replicas == 0:
        return ConditionVerdict(kind, True, Reason.SCALED_TO_ZERO, "the target is scaled to zero")
    if status.restart is not None:
        return ConditionVerdict(kind, False, Reason.RESTARTING, restart_words(status))
    if status.rollout.candidate is not None:
        is_waiting = facts.move is not None and facts.move.awaits_promotion
        reason = Reason.AWAITING_PROMOTION if is_waiting else _rollout_reason(facts)
        return ConditionVerdict(kind, False, reason, rollout_words(status))
    if status.rollout.failure is not None:
        serving = status.rollout.serving
        old = f"; {serving.image} serves" if serving is not None else ""
        return ConditionVerdict(kind, False, Reason.ROLLED_BACK, f"{status.rollout.failure.version.image} failed{old}")
    if not workload.observed or workload.rolling:
        return ConditionVerdict(kind, False, Reason.ROLLING, f"a rollout is in progress; {counts}")
    if workload.available < workload.replicas:
        return ConditionVerdict(kind, False, Reason.NOT_AVAILABLE, counts)
    return ConditionVerdict(kind, True, Reason.SERVING, counts)


def reconciling(facts: Facts, status: Status) -> ConditionVerdict:
    """Reconciling: the operator or the workload's own controller is making a change."""
    kind, workload = ConditionType.RECONCILING, facts.base.workload
    if status.restart is not None:
        return ConditionVerdict(kind, True, Reason.RESTARTING, restart_words(status))
    if status.rollout.candidate is not None:
        return ConditionVerdict(kind, True, _rollout_reason(facts), rollout_words(status))
    if not workload.observed or workload.rolling:
        return ConditionVerdict(
            kind, True, Reason.ROLLING, f"a rollout of {workload.kind} {workload.name} is in progress"
        )
    return ConditionVerdict(kind, False, Reason.IDLE)


def progressing(facts: Facts, status: Status) -> ConditionVerdict:
    """Progressing: the change in flight moves; False with a reason when it is blocked."""
    kind = ConditionType.PROGRESSING
    if facts.plan is not None and facts.plan.is_overdue:
        words = restart_words(status) if status.restart is not None else facts.plan.waiting
        return ConditionVerdict(kind, False, Reason.OVERDUE, f"longer than expected: {words}")
    if facts.move is not None and facts.move.is_overdue and status.rollout.candidate is not None:
        return ConditionVerdict(kind, False, Reason.OVERDUE, f"longer than expected: {rollout_words(status)}")
    if status.restart is None:
        moving = reconciling(facts, status)
        return ConditionVerdict(kind, moving.status, moving.reason, moving.message)
    if facts.plan is not None and facts.plan.refusal is not None and not facts.plan.actions:
        return ConditionVerdict(kind, False, Reason.RESTART_BLOCKED, facts.plan.waiting)
    return ConditionVerdict(kind, True, Reason.RESTARTING, restart_words(status))


def can_leave(facts: Facts, status: Status) -> ConditionVerdict | None:
    """CanLeaveServices: a pod can leave its Services before it ends; None when it can."""
    base, kind = facts.base, ConditionType.CAN_LEAVE
    view = base.observation.pods
    if base.workload.kind is not TargetKind.DEPLOYMENT:
        return None
    if view is None or not view.limits_read:
        # Not read this time: the last answer stands.
        before = conditions.find(status.conditions, kind)
        known = {"False": False, "Unknown": None}
        if before is None or before.status not in known:
            return None
        return ConditionVerdict(kind, known[before.status], Reason(before.reason), before.message)
    leave_by = base.spec.drain.leave_by
    stuck = [
        service.name
        for service in base.observation.selecting
        if not availability.way_out(base.observation, view, service, leave_by=leave_by)
    ]
    if stuck:
        return ConditionVerdict(
            kind,
            False,
            Reason.POLICIES_SELECT_PODS,
            f"{availability.policies_words(base.observation, view, stuck)} every label that Service {', '.join(stuck)} "
            "selects them by: a pod that is replaced stays in it until it ends, and only its preStop hook covers that; "
            f"{_LEAVE_RECIPE}",
        )
    if view.unread_policies and leave_by is None:
        kinds = ", ".join(view.unread_policies)
        return ConditionVerdict(
            kind,
            None,
            Reason.POLICIES_NOT_READ,
            f"{kinds}: the operator may not list them, so it does not know which labels they select pods by; "
            f"let it (list), or: {_LEAVE_RECIPE}",
        )
    return None


def probes_synced(facts: Facts) -> ConditionVerdict:
    """ProbesSynced: the template has the fields that it should have from the operator."""
    kind, template, workload = ConditionType.PROBES_SYNCED, facts.template, facts.base.workload
    if isinstance(template, UnknownFields):
        return ConditionVerdict(kind, False, template.reason, template.message)
    if template.conflicts:
        named = "; ".join(
            f"{conflict.field} of container {template.container} belongs to {', '.join(conflict.owners)}"
            for conflict in template.conflicts
        )
        remedy = "take it out of that manifest, or out of spec.probes and spec.drain"
        waiting = "" if template.in_sync else " The other fields are written with the next rollout."
        return ConditionVerdict(kind, False, Reason.FIELD_CONFLICT, f"{named}; {remedy}.{waiting}")
    if not template.in_sync:
        adopt = (
            f"kubectl annotate -n {workload.namespace} rsvc {facts.base.resource.key.name} --overwrite "
            'resilience.dev/adopt-requested-at="$(date)"'
        )
        return ConditionVerdict(
            kind,
            False,
            Reason.WAITING_FOR_ROLLOUT,
            "written with the next template change, because a write rolls all pods, and the pods that run now end "
            f"without them; to write now: {adopt}",
        )
    if facts.base.spec.probes.management is Management.OBSERVE:
        return ConditionVerdict(kind, True, Reason.OBSERVED_ONLY, "spec.probes.management is Observe")
    if not template.fields:
        return ConditionVerdict(kind, True, Reason.NOT_MANAGED, "no probes are requested")
    return ConditionVerdict(kind, True, Reason.APPLIED, f"managing {', '.join(sorted(template.fields))}")


def restart_words(status: Status) -> str:
    """Progress of the restart in flight, in words."""
    running = status.restart
    assert running is not None
    text = f"restarting: {running.done} of {running.total} pods done"
    return f"{text}; {running.message}" if running.message else text


def _rollout_reason(facts: Facts) -> Reason:
    """The reason that names who rolls out the new template: the operator, or the workload's own controller."""
    return Reason.RELEASING if held.is_held(facts.base.workload) else Reason.ROLLING


def rollout_words(status: Status) -> str:
    """Progress of the rollout in flight, in words."""
    running = status.rollout
    assert running.candidate is not None
    text = f"releasing {running.candidate.image}: {running.step}, {running.progress} %"
    return f"{text}; {running.message}" if running.message else text
