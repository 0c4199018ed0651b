"""Gates of a rollout: checks that run against every candidate pod, and the verdict over their results.

A failure decides. No data, an unreadable answer or a pod that was not checked yet does not: the gate waits, until the
deadline of the rollout if the answers stay inconclusive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.checks import Check, Scope
from resilience.api.reasons import FailureClass, HealthState
from resilience.api.status import Effective
from resilience.api.v1alpha1 import Gate, ResilientServiceSpec
from resilience.core.failures.classify import Failure
from resilience.core.health import hosts, reach, targets
from resilience.core.health.ports import PortMissing, check_port, container_port, service_port
from resilience.core.health.thresholds import WELL
from resilience.core.model.check_state import CheckState
from resilience.core.model.observation import Observation, Pod
from resilience.core.model.probes import CheckTarget
from resilience.core.rollouts.baseline import Baseline

# Gate checks are separate from the health checks of the same name: other pods, another interval.
PREFIX = "gate/"
# A rollout waits for its gates, so their checks run more often than health checks.
INTERVAL = timedelta(seconds=1)
# A gate ends only after answers were inconclusive for so long. A leader that begins after the deadline counts anew.
SILENCE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The gate's verdict now. `failure` decides; else it has `passed`, or `waiting` gives the reason for the wait."""

    passed: bool = False
    waiting: str = ""
    wait: timedelta | None = None
    failure: Failure | None = None
    # True when it waits because the answers are inconclusive, which a person may overrule.
    inconclusive: bool = False
    # The failure that the wait turns into at the rollout's deadline, when answers stay inconclusive. Else None.
    at_deadline: Failure | None = None
    # Time since which everything has passed.
    since: datetime | None = None


def evaluate(
    gate: Gate | None,
    observation: Observation,
    pods: Sequence[Pod],
    now: datetime,
    *,
    brief: bool = False,
    baseline: Baseline | None = None,
    unread: frozenset[str] = frozenset(),
) -> GateVerdict:
    """The gate's verdict over these pods.

    `unread`: checks that the specification has and that cannot be read, so that only a person can pass the gate.
    `brief`: one pass is enough, as when something worse has to be cured. `baseline`: a check that fails as it failed
    before the candidate got traffic counts neither for the candidate nor against it.
    """
    if gate is None:
        return GateVerdict(passed=True, since=now)
    states = {name: observation.checks.get(PREFIX + name) for name in gate.checks}
    excused = [
        name
        for name, state in states.items()
        if state is not None and baseline is not None and baseline.excuses_check(name, state)
    ]
    judged = {name: state for name, state in states.items() if name not in excused}
    for name, state in judged.items():
        if state is not None and _is_unhealthy(state, pods):
            return GateVerdict(failure=_failure(name, state))
    unknown = {name: f"check {name} cannot be read, see condition SpecValid" for name in judged if name in unread}
    reasons = unknown | {
        name: reason
        for name, state in judged.items()
        if name not in unknown and (reason := _reason_to_wait(name, state, pods))
    }
    if reasons:
        # A person may overrule a check that is inconclusive, not one that has not run or is about to fail.
        is_inconclusive = all(name in unknown or _is_inconclusive(states[name]) for name in reasons)
        late = _at_deadline({name: state for name, state in judged.items() if name not in unknown}, now)
        return GateVerdict(waiting=next(iter(reasons.values())), inconclusive=is_inconclusive, at_deadline=late)
    since = max((state.settled_since or state.since for state in states.values() if state is not None), default=now)
    remaining = since + gate.for_ - now
    if remaining > timedelta() and not brief:
        passing = f"checks {', '.join(judged)} pass; they have to for {gate.for_}" if judged else f"waits {gate.for_}"
        note = f"; check {', '.join(excused)} fails as before this release" if excused else ""
        return GateVerdict(waiting=passing + note, wait=remaining, since=since)
    return GateVerdict(passed=True, since=since)


def _is_unhealthy(state: CheckState, pods: Sequence[Pod]) -> bool:
    """The check is Unhealthy as a whole or at a single candidate: a pod that never passed is left out of the whole."""
    return state.state is HealthState.UNHEALTHY or any(
        state.by_pod.get(pod.uid) is HealthState.UNHEALTHY for pod in pods
    )


def _is_inconclusive(state: CheckState | None) -> bool:
    """The check has run often enough without a conclusive answer."""
    return state is not None and state.state is HealthState.UNKNOWN and state.silent


def _reason_to_wait(name: str, state: CheckState | None, pods: Sequence[Pod]) -> str:
    if state is None:
        return f"check {name} has not run against the candidate yet"
    if state.state not in WELL:
        return f"check {name} is inconclusive: {state.message}"
    not_passed = [pod.name for pod in pods if state.by_pod and state.by_pod.get(pod.uid) not in WELL]
    return f"pod {not_passed[0]} has not passed check {name}" if not_passed else ""


def _failure(name: str, state: CheckState) -> Failure:
    return Failure(
        kind=FailureClass.VERIFICATION,
        reason="GateFailed",
        message=f"check {name} failed on the candidate: {state.message}",
        advice=f"find out why check {name} fails on the new version; then release a corrected one",
    )


def _at_deadline(states: Mapping[str, CheckState | None], now: datetime) -> Failure | None:
    """The failure at the rollout's deadline: of a check that nothing ever answered, else of one without data."""
    never = next(((name, state) for name, state in states.items() if state and reach.is_unreachable(state)), None)
    if never is not None:
        name, state = never
        return Failure(
            kind=FailureClass.TIMEOUT,
            reason="GateUnreachable",
            message=f"check {name} was never answered, neither by the candidate nor before it: {state.message}",
            advice=f"{reach.RECIPE}; then request it again: resilience.dev/retry-requested-at",
        )
    silent = ((name, state) for name, state in states.items() if state and _is_inconclusive(state))
    for name, state in silent:
        if now >= state.since + SILENCE:
            return Failure(
                kind=FailureClass.TIMEOUT,
                reason="GateInconclusive",
                message=f"check {name} was inconclusive up to progressDeadline: {state.reason}: {state.message}",
                advice=f"find out why check {name} has no answer; then request it again: "
                "resilience.dev/retry-requested-at",
            )
    return None


def check_targets(
    gate: Gate | None, spec: ResilientServiceSpec, effective: Effective, observation: Observation, pods: Sequence[Pod]
) -> tuple[CheckTarget, ...]:
    """Targets of the gate's checks: each check at each pod, whatever its scope; a query once."""
    if gate is None or observation.workload is None:
        return ()
    checks = {check.name: check for check in spec.health.checks}
    gate_targets: list[CheckTarget] = []
    for name in gate.checks:
        if name in checks:
            gate_targets.extend(_targets_of_check(checks[name], spec, effective, observation, pods))
    return tuple(gate_targets)


def _targets_of_check(
    check: Check, spec: ResilientServiceSpec, effective: Effective, observation: Observation, pods: Sequence[Pod]
) -> list[CheckTarget]:
    def target(host: str, port: int, pod_uid: str) -> CheckTarget:
        return targets.check_target(
            check,
            spec,
            effective,
            observation,
            name=name,
            host=host,
            port=port,
            pod_uid=pod_uid,
            often=INTERVAL,
            host_header=host_header,
        )

    name, host_header = PREFIX + check.name, ""
    if check.prometheus is not None:
        return [target("", 0, "")]
    if check.scope is Scope.DEPENDENCY:
        return targets.at_dependency(check, spec, effective, observation, name=name, often=INTERVAL)
    if check.usage is not None:
        pod_names = {pod.uid: pod.name for pod in pods}
        return targets.of_usage(
            check, check.usage, spec, effective, observation, pods=pod_names, name=name, often=INTERVAL
        )
    wanted, prefer = check_port(check, spec), spec.container
    if check.scope is Scope.SERVICE:
        service = targets.client_service(spec, observation)
        try:
            port = service_port(check, service, spec)
        except PortMissing:
            return []
        assert service is not None
        wanted, prefer = port.target, None
        # The pod is to answer as it will answer the Service's clients.
        host_header = hosts.check_host(check, service, port.number)
    pod_targets = []
    for pod in pods:
        number = container_port(pod.ports, wanted, prefer=prefer)
        if pod.ip and number is not None:
            pod_targets.append(target(pod.ip, number, pod.uid))
    return pod_targets
