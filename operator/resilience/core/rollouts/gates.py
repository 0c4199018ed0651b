"""Gates of a release: checks that run against every candidate pod, and what their results say together.

A failure decides, silence does not: no data, an unreadable answer or a pod that was not asked yet means waiting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.checks import Check, Scope
from resilience.api.reasons import FailureClass, HealthState
from resilience.api.status import Effective
from resilience.api.v1alpha1 import Gate, ResilientServiceSpec
from resilience.core.failures.classify import Failure
from resilience.core.health import targets
from resilience.core.health.ports import PortMissing, container_port, find_container, probe_port
from resilience.core.health.thresholds import WELL
from resilience.core.model.check_state import CheckState
from resilience.core.model.observation import Observation, Pod
from resilience.core.model.probes import CheckTarget

# Gate checks are kept apart from the health checks of the same name: other pods, another interval.
PREFIX = "gate/"
# A release waits for its gates, so they are asked more often than health is.
INTERVAL = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What a gate says now. `failure` decides; else it is `passed`, or `waiting` says for what."""

    passed: bool = False
    waiting: str = ""
    wait: timedelta | None = None
    failure: Failure | None = None
    # Whether it waits because the answers say nothing, which a person may overrule.
    inconclusive: bool = False
    # Since when everything has passed.
    since: datetime | None = None


def evaluate(
    gate: Gate | None, seen: Observation, pods: Sequence[Pod], now: datetime, *, brief: bool = False
) -> GateVerdict:
    """The gate over these pods. `brief`: passing once is enough, for something worse waits to be cured."""
    if gate is None:
        return GateVerdict(passed=True, since=now)
    states = {name: seen.checks.get(PREFIX + name) for name in gate.checks}
    for name, state in states.items():
        if state is not None and _unhealthy(state, pods):
            return GateVerdict(failure=_failure(name, state))
    lacking = {name: lack for name, state in states.items() if (lack := _lack(name, state, pods))}
    if lacking:
        # A person may overrule what says nothing, not what has not been asked or is about to fail.
        silent = all(_silent(states[name]) for name in lacking)
        return GateVerdict(waiting=next(iter(lacking.values())), inconclusive=silent)
    since = max((state.settled_since or state.since for state in states.values() if state is not None), default=now)
    left = since + gate.for_ - now
    if left > timedelta() and not brief:
        return GateVerdict(
            waiting=f"checks {', '.join(gate.checks)} pass; they have to for {gate.for_}", wait=left, since=since
        )
    return GateVerdict(passed=True, since=since)


def _unhealthy(state: CheckState, pods: Sequence[Pod]) -> bool:
    """Of the service as it counts, or of any single candidate: one that never passed is left out of the whole."""
    return state.state is HealthState.UNHEALTHY or any(
        state.by_pod.get(pod.uid) is HealthState.UNHEALTHY for pod in pods
    )


def _silent(state: CheckState | None) -> bool:
    """Whether the check has run often enough, and could not say anything."""
    return state is not None and state.state is HealthState.UNKNOWN and state.silent


def _lack(name: str, state: CheckState | None, pods: Sequence[Pod]) -> str:
    if state is None:
        return f"check {name} has not run against the candidate yet"
    if state.state not in WELL:
        return f"check {name} says nothing: {state.message}"
    missing = [pod.name for pod in pods if state.by_pod and state.by_pod.get(pod.uid) not in WELL]
    return f"pod {missing[0]} has not passed check {name}" if missing else ""


def _failure(name: str, state: CheckState) -> Failure:
    return Failure(
        kind=FailureClass.UNKNOWN,
        reason="GateFailed",
        message=f"check {name} failed on the candidate: {state.message}",
        advice=f"find out why check {name} fails on the new version; then release a corrected one",
    )


def check_targets(
    gate: Gate | None, spec: ResilientServiceSpec, effective: Effective, seen: Observation, pods: Sequence[Pod]
) -> tuple[CheckTarget, ...]:
    """What the gate has to ask: each check at each pod, whatever its scope; a query once."""
    if gate is None or seen.workload is None:
        return ()
    checks = {check.name: check for check in spec.health.checks}
    found: list[CheckTarget] = []
    for name in gate.checks:
        if name in checks:
            found.extend(_of_check(checks[name], spec, effective, seen, pods))
    return tuple(found)


def _of_check(
    check: Check, spec: ResilientServiceSpec, effective: Effective, seen: Observation, pods: Sequence[Pod]
) -> list[CheckTarget]:
    def target(host: str, port: int, pod_uid: str) -> CheckTarget:
        return targets.check_target(
            check,
            spec,
            effective,
            seen,
            name=name,
            host=host,
            port=port,
            pod_uid=pod_uid,
            often=INTERVAL,
        )

    name = PREFIX + check.name
    if check.prometheus is not None:
        return [target("", 0, "")]
    if check.scope is Scope.DEPENDENCY:
        return targets.at_dependency(check, spec, effective, seen, name=name, often=INTERVAL)
    if check.usage is not None:
        names = {pod.uid: pod.name for pod in pods}
        return targets.of_usage(check, check.usage, spec, effective, seen, pods=names, name=name, often=INTERVAL)
    assert seen.workload is not None
    container = find_container(spec, seen.workload)
    try:
        wanted = probe_port(check, container, targets.client_service(spec, seen), spec) if container is not None else ""
    except PortMissing:
        return []
    found = []
    for pod in pods:
        number = container_port(pod.ports, wanted)
        if pod.ip and number is not None:
            found.append(target(pod.ip, number, pod.uid))
    return found
