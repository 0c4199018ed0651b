"""The status that people and machines read: conditions, phase, health, and one sentence that explains it all."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from resilience.api.checks import Scope
from resilience.api.reasons import ConditionType, HealthState, Phase, Reason
from resilience.api.status import CheckStatus, ComponentStatus, HealthStatus, Status
from resilience.api.status_alerts import AlertsStatus
from resilience.core.failures import attention
from resilience.core.health import ports, reach
from resilience.core.health.targets import client_service
from resilience.core.health.thresholds import NOT_RUN_YET, WELL, worst
from resilience.core.model import conditions, history, wrong_parts
from resilience.core.model.check_state import CheckState
from resilience.core.model.conditions import ConditionVerdict
from resilience.core.model.context import Context
from resilience.core.model.observation import Resource
from resilience.core.report import condition_rules, phase, prerequisites
from resilience.core.report.condition_rules import Facts
from resilience.core.restarts import lifecycle, triggers
from resilience.core.rollouts.description import describe_rollout

_NOT_KNOWN: Final = (Reason.CHECKS_UNKNOWN, Reason.CHECKS_UNREACHABLE)
_FIGURES: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


def stalled_status(resource: Resource, status: Status, verdict: ConditionVerdict, now: datetime) -> Status:
    """The status of a resource that the operator cannot manage until somebody fixes it."""
    not_known = "nothing is known while the resource is stalled"
    verdicts = [
        ConditionVerdict(ConditionType.READY, False, verdict.reason, verdict.message),
        ConditionVerdict(ConditionType.RECONCILING, False, verdict.reason),
        verdict,
        ConditionVerdict(ConditionType.HEALTHY, None, Reason.CHECKS_UNKNOWN, not_known),
    ]
    if (valid := prerequisites.spec_valid(resource)) is not None:
        verdicts.append(valid)
    generation = resource.generation
    return status.model_copy(
        update={
            "observed_generation": generation,
            "phase": Phase.FAILED,
            "explanation": f"Stalled: {verdict.message}.",
            "conditions": conditions.update(status.conditions, verdicts, generation=generation, now=now),
            "health": HealthStatus(passed=status.health.passed),
        }
    )


def uninstalled_status(resource: Resource, now: datetime) -> Status:
    """The status that stays behind when the operator is uninstalled."""
    message = "the operator was uninstalled and handed the workload back; it runs as it would without this resource"
    verdicts = [
        ConditionVerdict(ConditionType.READY, None, Reason.RELEASED, message),
        ConditionVerdict(ConditionType.RECONCILING, False, Reason.RELEASED),
        ConditionVerdict(ConditionType.STALLED, False, Reason.RELEASED),
    ]
    generation = resource.generation
    updated = conditions.update(resource.status.conditions, verdicts, generation=generation, now=now)
    return resource.status.model_copy(
        update={
            "phase": Phase.SUSPENDED,
            "explanation": f"Released: {message}.",
            "conditions": updated,
            "health": HealthStatus(),
            "restart": None,
            "alerts": AlertsStatus(),
        }
    )


def compose_status(facts: Facts) -> Status:
    """The whole status after a pass."""
    status, now = facts.base.status, facts.base.now
    health = _health(facts.base, status.health)
    troubled = attention.pods(facts.base.observation, facts.base.workload, facts.base.spec, status.attention, now=now)
    first = status.first_healthy_at or (now if phase.is_well(facts.base.workload, health) else None)
    status = status.model_copy(update={"attention": troubled, "first_healthy_at": first})
    verdicts = [
        condition_rules.ready(facts, status),
        condition_rules.reconciling(facts, status),
        facts.prerequisites,
        condition_rules.healthy(health),
        condition_rules.progressing(facts, status),
        condition_rules.probes_synced(facts),
        condition_rules.degraded(facts, status),
    ]
    generation = facts.base.resource.generation
    present = (condition_rules.can_leave(facts, status), prerequisites.spec_valid(facts.base.resource))
    reported = [*verdicts, *(verdict for verdict in present if verdict is not None)]
    updated = conditions.update(status.conditions, reported, generation=generation, now=now)
    return status.model_copy(
        update={
            "observed_generation": generation,
            "phase": phase.of(facts, health, status),
            "explanation": _explanation(facts, status, verdicts),
            "conditions": updated,
            "health": health,
            "restarts": status.restarts.model_copy(update={"summary": _summary(status, now)}),
        }
    )


def _health(base: Context, before: HealthStatus) -> HealthStatus:
    spec, observation = base.spec, base.observation
    known = {check.name: check for check in before.checks}
    checks = [
        _check(check.name, observation.checks.get(check.name), known.get(check.name)) for check in spec.health.checks
    ]
    dependencies = {check.name for check in spec.health.checks if check.scope is Scope.DEPENDENCY}
    counted = [condition_rules.counted(check.state, dependency=check.name in dependencies) for check in checks]
    # A check that cannot be read for a while has still passed.
    lasting = wrong_parts.left_out(base.resource, "health").intersection(before.passed or ())
    passed = sorted({*(reach.passed(spec, before, observation.checks) or ()), *lasting}) or None
    return HealthStatus(state=worst(counted), checks=checks, passed=passed)


def _check(name: str, state: CheckState | None, before: CheckStatus | None) -> CheckStatus:
    """The status of a check. The last one holds until there is a result: a new leader or a new pod changes nothing."""
    if state is None or state.reason == NOT_RUN_YET:
        unknown = CheckStatus(name=name, state=HealthState.UNKNOWN, reason=NOT_RUN_YET, message="has not run yet")
        return before or unknown
    return CheckStatus(
        name=name,
        asks=state.question,
        state=state.state,
        reason=state.reason,
        message=_words(state, before),
        since=state.since,
        latency=None if state.latency_seconds is None else timedelta(seconds=state.latency_seconds),
        failures=state.failed,
        reconnects=state.reconnects or None,
        components=[
            ComponentStatus(name=component.name, state=component.state, message=component.message)
            for component in state.components
        ],
    )


def _words(state: CheckState, before: CheckStatus | None) -> str:
    """The message of a check. Figures change with every run: while nothing fails, new figures alone are not written."""
    message = state.message[:1024]
    if before is None or before.state is not state.state or state.state not in WELL:
        return message
    return before.message if _shape(before.message) == _shape(message) else message


def _shape(message: str) -> str:
    """The message without figures, except for the number of pods that it is about."""
    pods, colon, rest = message.partition(" pods: ")
    return pods + colon + _FIGURES.sub("", rest) if colon else _FIGURES.sub("", message)


def _summary(status: Status, now: datetime) -> str:
    if status.restart is not None:
        return f"{status.restart.done}/{status.restart.total} now"
    recent = [entry for entry in status.history if entry.kind == "Restart" and entry.at > now - history.AGE]
    return str(len(recent))


def _explanation(facts: Facts, status: Status, verdicts: Sequence[ConditionVerdict]) -> str:
    """One paragraph: the current state, its reason, the blocker, and what it waits for."""
    ready, _, stalled_verdict, healthy, progressing, synced, degraded = verdicts
    parts = [f"Stalled: {stalled_verdict.message}"] if stalled_verdict.status else []
    valid = prerequisites.spec_valid(facts.base.resource)
    if valid is not None and stalled_verdict.reason is not Reason.INVALID_SPEC:
        parts.append(f"Specification: {valid.message}")
    if facts.base.spec.suspend:
        parts.append("Suspended by spec.suspend: observed and reported only")
    parts.append(f"{'Ready' if ready.status else 'Not ready'}: {ready.message}")
    if progressing.reason is Reason.RESTART_BLOCKED:
        parts.append("Blocked; tried again when pods or endpoints change")
    if facts.base.observation.refusal is not None:
        parts.append(f"Refused, and tried again every 10 s: {facts.base.observation.refusal}")
    if degraded.status:
        parts.append(f"Degraded: {degraded.message}")
    parts.extend(f"Flag {flag.name}: {flag.problem}" for flag in status.degradation if flag.problem)
    if status.flags is not None and status.flags.problem:
        parts.append(f"Flags are not published: {status.flags.problem}")
    service = client_service(facts.base.spec, facts.base.observation)
    if note := ports.ambiguous(facts.base.spec, facts.base.workload.template, service):
        parts.append(note[0].upper() + note[1:])
    parts.extend(_policies(status))
    parts.extend(triggers.not_judged(facts.base))
    # Pods that only start explain it themselves: nobody has to be let in to them yet.
    is_starting = healthy.reason is Reason.CHECKS_UNREACHABLE and not facts.base.workload.available
    if (healthy.status is False or healthy.reason in _NOT_KNOWN) and not is_starting:
        parts.append(f"{'Unhealthy' if healthy.status is False else 'Health unknown'}: {healthy.message}")
    if synced.status is False:
        parts.append(f"Probes: {synced.message}")
    if status.rollout.candidate is None and status.last_rollout is not None and ready.reason is Reason.ROLLED_BACK:
        parts.append(f"Last: {describe_rollout(status.last_rollout)}")
    if status.restart is None and status.last_restart is not None and not ready.status:
        parts.append(f"Last: {lifecycle.describe(status.last_restart)}")
    return ". ".join(part.rstrip(".") for part in parts)[:4000] + "."


def _policies(status: Status) -> list[str]:
    """The policies that fire and their blocker. Values change with every measurement, so status.restarts has them."""
    restarts = status.restarts
    acting = [policy for policy in restarts.firing if not policy.dry_run]
    if status.restart is not None:
        return []
    if not acting:
        return [f"What restart.onChange names has changed; {restarts.message}"] if restarts.message else []
    named = ", ".join(f"{policy.name} ({policy.pods} pod{'s' if policy.pods != 1 else ''})" for policy in acting)
    return [f"Policies fire: {named}" + (f"; nothing is restarted yet: {restarts.message}" if restarts.message else "")]
