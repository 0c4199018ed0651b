"""Degradation flags: their transitions, and the status and Events about them.

`Normal → Suspect → Degraded → Recovering → Normal`. The state is in status, so that a new leader continues from there;
failures and successes in a row are counted where the checks run. An unknown result changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from resilience.api.degradation import Flag, Preset
from resilience.api.dependency_checks import RedisVerify
from resilience.api.names import override_annotation
from resilience.api.reasons import FlagState, HealthState, Reason
from resilience.api.scalars import format_duration
from resilience.api.status_base import format_time
from resilience.api.status_flags import FlagStatus, OverrideStatus
from resilience.core.health import dependencies, pace
from resilience.core.health.thresholds import NOT_RUN_YET, WELL
from resilience.core.model import wrong_parts
from resilience.core.model.check_state import CheckState
from resilience.core.model.context import Context
from resilience.core.model.decision import Event, StepResult, earliest
from resilience.core.model.observation import Resource
from resilience.core.model.probes import CheckTarget, Probe, RedisProbe

# Check names in the spec contain no slash.
PREFIX: Final = "flag/"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Failures in a row that turn a flag on, successes in a row that turn it off, and the least time it stays on."""

    failures: int
    successes: int
    hold: timedelta


_DEFAULT: Final = Thresholds(3, 5, timedelta(seconds=30))
# The values of the circuit breakers of most libraries.
_PRESETS: Final = {Preset.CIRCUIT_BREAKER: Thresholds(5, 2, timedelta(seconds=60))}


def thresholds(flag: Flag) -> Thresholds:
    """The thresholds of the flag: those that are set, else the preset's, else the defaults."""
    base = _PRESETS[flag.preset] if flag.preset is not None else _DEFAULT
    return Thresholds(
        flag.failure_threshold or base.failures,
        flag.success_threshold or base.successes,
        flag.min_degraded or base.hold,
    )


def targets(context: Context) -> tuple[CheckTarget, ...]:
    """The checks that the flags need: those of the spec a second time, with the thresholds of the flags."""
    spec, effective = context.spec, context.effective
    lost = {flag.name for flag in context.status.degradation if flag.degraded_since is not None}
    wanted = []
    for flag in spec.degradation.flags:
        check = next((check for check in spec.health.checks if check.name == flag.check), None)
        probe = dependencies.probe(check, spec, namespace=context.namespace) if check is not None else None
        if check is None or probe is None:
            continue
        limits = thresholds(flag)
        wanted.append(
            replace(
                pace.target(check, spec, effective, _proving(probe), name=PREFIX + flag.name),
                failure_threshold=limits.failures,
                success_threshold=limits.successes,
                rows=True,
                # A new leader has to observe the recovery, as the one before had to.
                assumed=HealthState.UNHEALTHY if flag.name in lost else HealthState.UNKNOWN,
            )
        )
    return tuple(wanted)


def update(context: Context) -> StepResult:
    """The flags after this pass. While the resource is suspended they do not change."""
    if context.spec.suspend:
        return StepResult(context.status)
    before = {flag.name: flag for flag in context.status.degradation}
    steps = [_step(context, flag, before.get(flag.name)) for flag in context.spec.degradation.flags]
    after = {step.flag.name: step.flag for step in steps}
    if wrong_parts.lacks(context.resource, "degradation"):
        # To an application a flag that is gone is off. The order stays: another one would be another publication.
        after = before | after
    return StepResult(
        context.status.model_copy(update={"degradation": list(after.values())}),
        events=tuple(event for step in steps for event in step.events),
        requeue_after=earliest(*(step.wait for step in steps)),
    )


def words(found: Sequence[FlagStatus]) -> str:
    """The flags that are on, in words; empty when none is."""
    return "; ".join(f"flag {flag.name} is on ({flag.mode})" for flag in found if flag.on)


@dataclass(frozen=True, slots=True)
class _Step:
    flag: FlagStatus
    events: tuple[Event, ...] = ()
    wait: timedelta | None = None


def _proving(probe: Probe) -> Probe:
    """The probe. A Redis also has to prove that it is a master and takes a write: answering PING alone is of no use."""
    if isinstance(probe, RedisProbe):
        return replace(probe, verify=probe.verify | {RedisVerify.ROLE, RedisVerify.WRITE})
    return probe


def _step(context: Context, flag: Flag, before: FlagStatus | None) -> _Step:
    now = context.now
    known = before or FlagStatus(name=flag.name, mode=flag.mode, since=now)
    check = context.observation.checks.get(PREFIX + flag.name)
    lost_since, wait = _lost_since(known, check, thresholds(flag), now)
    override, problem = _override(context.resource, flag, now)
    if override is not None:
        wait = min(wait or timedelta.max, override.until - now)
    is_on = override.on if override is not None else lost_since is not None
    after = known.model_copy(
        update={
            "state": _state(check, lost_since),
            "on": is_on,
            "mode": flag.mode,
            "degraded_since": lost_since,
            "override": override,
        }
    )
    if is_on != known.on:
        after = after.model_copy(update={"since": now, "reason": _reason(check, known, override, is_on=is_on)})
    message = _message(flag, check, after, known, thresholds(flag))
    after = after.model_copy(update={"message": message, "problem": problem})
    return _Step(after, (*_switched(known, after, now), *_misspelt(known, problem)), wait)


def _lost_since(
    known: FlagStatus, check: CheckState | None, limits: Thresholds, now: datetime
) -> tuple[datetime | None, timedelta | None]:
    """Time since which the dependency is lost, and the hold time left once it works again; None for neither."""
    since = known.degraded_since
    if check is None:
        return since, None
    if since is None:
        return (now, None) if check.state is HealthState.UNHEALTHY else (None, None)
    if check.state not in WELL:
        return since, None
    hold_end = since + limits.hold
    return (None, None) if now >= hold_end else (since, hold_end - now)


def _state(check: CheckState | None, lost_since: datetime | None) -> FlagState:
    if lost_since is None:
        return FlagState.SUSPECT if check is not None and check.failures else FlagState.NORMAL
    return FlagState.RECOVERING if check is not None and check.passes else FlagState.DEGRADED


def _override(resource: Resource, flag: Flag, now: datetime) -> tuple[OverrideStatus | None, str]:
    """The override by a person, while it lasts, and the problem with the annotation; empty when it can be read."""
    key = override_annotation(flag.name)
    text = resource.annotations.get(key, "")
    value, _, until = text.strip().partition(" until ")
    if not text:
        return None, ""
    try:
        end = datetime.fromisoformat(until.strip())
        if value not in ("On", "Off") or end.tzinfo is None:
            raise ValueError
    except ValueError:
        return None, f'annotation {key} cannot be read; write: "On until 2026-12-01T00:00:00Z"'
    return (OverrideStatus(on=value == "On", until=end), "") if now < end else (None, "")


def _reason(check: CheckState | None, known: FlagStatus, override: OverrideStatus | None, *, is_on: bool) -> str:
    if override is not None:
        return "Override"
    if not is_on:
        return "OverrideEnded" if known.override is not None else "Recovered"
    return check.reason if check is not None and check.state is HealthState.UNHEALTHY else "DependencyLost"


def _message(flag: Flag, check: CheckState | None, after: FlagStatus, known: FlagStatus, limits: Thresholds) -> str:
    """The reason for the state of the flag, in words."""
    if after.override is not None:
        value = "On" if after.override.on else "Off"
        return f"set to {value} by hand until {format_time(after.override.until)}"
    match after.state:
        case FlagState.NORMAL:
            return ""
        case FlagState.SUSPECT:
            return f"{flag.check} has failed; on after {limits.failures} failures in a row"
        case FlagState.DEGRADED:
            if check is None or check.state is not HealthState.UNHEALTHY or check.reason == NOT_RUN_YET:
                return known.message or f"{flag.check} was lost"
            return f"{flag.check}: {check.message}"
        case FlagState.RECOVERING:
            assert after.degraded_since is not None
            hold_end = format_time(after.degraded_since + limits.hold)
            return f"{flag.check} answers again; off after {limits.successes} successes in a row, not before {hold_end}"


def _switched(known: FlagStatus, after: FlagStatus, now: datetime) -> tuple[Event, ...]:
    if after.on == known.on:
        return ()
    if after.on:
        message = f"flag {after.name} is on, applications fall back to {after.mode}: {after.message}"
        return (Event(Reason.FLAG_ON, message, warning=True),)
    lasted = format_duration(timedelta(seconds=round((now - known.since).total_seconds())))
    return (Event(Reason.FLAG_OFF, f"flag {after.name} is off after {lasted} ({after.reason})"),)


def _misspelt(known: FlagStatus, problem: str) -> tuple[Event, ...]:
    if not problem or problem == known.problem:
        return ()
    return (Event(Reason.OVERRIDE_INVALID, problem, warning=True),)
