"""Whether policies may restart something now: windows, cool-down, budget, loop breaker, a dependency that is down.

Requests by hand are not bound by any of it. The availability guard is asked besides, at every step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.checks import Scope
from resilience.api.restarts import Policy
from resilience.api.scalars import format_duration
from resilience.api.schedule import opening
from resilience.api.status import Effective, Status
from resilience.api.status_restarts import PastRestart
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health.thresholds import WELL
from resilience.core.model.check_state import CheckState
from resilience.core.model.context import Context
from resilience.core.model.observation import Observation, Pod
from resilience.core.replacement import availability
from resilience.core.restarts.policies import PREFIX, Firing

# A pod that fires within the cool-down, or this time, after it was made shows that restarting is useless.
LOOP_LEAST: Final = timedelta(seconds=30)
# Passes in a row after which something counts as well again, where no policy says how many failures count.
_STEADY: Final = 3
# The longest time between two tries in a loop; they begin with twice the cool-down and double.
LOOP_LAST: Final = timedelta(hours=6)
# What is remembered for the loop breaker: as many tries as it takes to get from the least time to the longest.
MEMORY: Final = timedelta(hours=72)
# What status holds.
MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Blocker:
    """Why nothing is restarted. `until`: when it ends by itself, if that is known."""

    reason: str
    message: str
    until: datetime | None = None


# Firings that may go on, and what holds the others back.
_Left = tuple[tuple[Firing, ...], Blocker | None]


def recent(context: Context) -> list[PastRestart]:
    """Restarts by policies that a limit still counts."""
    memory = max(MEMORY, context.effective.cool_down, context.effective.budget_per)
    return [entry for entry in context.status.restarts.recent if entry.at > context.now - memory][-MOST:]


def allowed(context: Context, firing: Sequence[Firing]) -> _Left:
    """The firings that may restart their pods now; what forbids it when none may."""
    past, effective, now = recent(context), context.effective, context.now
    left, block = _without_dependency(context, firing)
    if left:
        left, block = _out_of_loops(effective, past, left, now)
    if left:
        left, block = _in_window(context.spec, left, now)
    if left:
        block = _cool_down(effective, past, now) or _budget(effective, past, now) or moving(context.observation)
    return (left if block is None else ()), block


def _without_dependency(context: Context, fired: Sequence[Firing]) -> _Left:
    """When all pods fail together while a dependency is not known to work, it is not the pods.

    Neither thresholds nor single passes count: which check fails first, and which recovers first, is chance.
    """
    spec, seen, now = context.spec, context.observation, context.now
    blamed = [each for each in fired if _blames_the_pod(each.policy)]
    failures = [each.policy.check.failures for each in blamed if each.policy.check is not None]
    steady = max([_STEADY, *failures])
    lost = [
        check.name
        for check in spec.health.checks
        if check.scope is Scope.DEPENDENCY and _shaky(seen.checks.get(check.name), steady)
    ]
    if not lost or not blamed or seen.pods is None:
        return tuple(fired), None
    firing = {each.pod.uid for each in blamed}
    others = [pod for pod in availability.staying(seen.pods) if pod.uid not in firing]
    if any(all(_is_well(each.policy, pod, seen, steady, now) for each in blamed) for pod in others):
        return tuple(fired), None
    named = ", ".join(lost)
    words = (
        f"all pods fail together while {named} is not known to work: a restart would not help, the service is degraded"
    )
    return tuple(each for each in fired if not _blames_the_pod(each.policy)), Blocker("DependencyDown", words)


def _shaky(state: CheckState | None, steady: int) -> bool:
    """Whether a dependency is not known to work: down, unknown, or not passed so often in a row since it failed."""
    return state is None or state.state not in WELL or state.passes < steady


def _blames_the_pod(policy: Policy) -> bool:
    """Whether what it sees may as well be a dependency's doing: hanging, crashing, or spinning in retries."""
    return policy.check is not None or policy.container_restarts is not None or policy.cpu is not None


def _is_well(policy: Policy, pod: Pod, seen: Observation, steady: int, now: datetime) -> bool:
    """Whether the policy has nothing against this pod, and has had nothing for a while."""
    if policy.container_restarts is not None:
        times = seen.pods.container_restarts.get(pod.uid, ()) if seen.pods is not None else ()
        return pod.available and not any(at > now - policy.container_restarts.within for at in times)
    state = seen.checks.get(PREFIX + policy.name)
    return state is not None and state.passes_by_pod.get(pod.uid, 0) >= steady


def note_loops(context: Context, fired: Sequence[Firing]) -> tuple[Status, tuple[str, ...]]:
    """Note the restarts that were futile: a pod made since, and before the next, fires again soon after its birth.

    In status, for the loop goes on when the operator is restarted. Returns the policies that are news, too.
    """
    status, effective, now = context.status, context.effective, context.now
    past, news = list(status.restarts.recent), []
    for each in fired:
        name, made_by = each.policy.name, _made_since(past, each)
        if not made_by or name in made_by[-1].futile or now > each.pod.created + _soon(effective, each.policy):
            continue
        noted = made_by[-1].model_copy(update={"futile": [*made_by[-1].futile, name]})
        past[past.index(made_by[-1])] = noted
        news.append(name)
    if not news:
        return status, ()
    return status.model_copy(update={"restarts": status.restarts.model_copy(update={"recent": past})}), tuple(news)


def loop_words(names: Iterable[str]) -> str:
    """What a loop means, for people."""
    named = ", ".join(sorted(set(names)))
    return (
        f"fresh pods fail the same way, or none comes up ({named}), so restarting them is useless; find out why, or"
        " change the policy"
    )


def _soon(effective: Effective, policy: Policy) -> timedelta:
    """How long after its birth a pod that fires shows that restarting was useless."""
    usage = policy.memory or policy.cpu
    needs = usage.for_ if usage is not None else timedelta()
    if policy.check is not None:
        needs = effective.interval * policy.check.failures
    return max(effective.cool_down, LOOP_LEAST) + needs


def _made_since(past: Sequence[PastRestart], fired: Firing) -> list[PastRestart]:
    """The restarts by this policy that the pod is younger than; creation times have whole seconds."""
    young = fired.pod.created + timedelta(seconds=1)
    return [each for each in past if fired.policy.name in each.policies and each.at <= young]


def _loop_end(effective: Effective, past: Sequence[PastRestart], fired: Firing) -> datetime | None:
    """Until when a pod is left alone for this policy; None when there is no reason to.

    The restart that made it was futile, or the last ones failed and left the pod that they were for.
    """
    name, young = fired.policy.name, fired.pod.created + timedelta(seconds=1)
    mine = [each for each in past if name in each.policies and (each.at <= young or each.failed)]
    useless = [name in each.futile or each.failed for each in reversed(mine)]
    row = next((row for row, each in enumerate(useless) if not each), len(mine))
    if not row:
        return None
    return mine[-1].at + min(_soon(effective, fired.policy) * (1 << min(row, 16)), LOOP_LAST)


def _out_of_loops(effective: Effective, past: Sequence[PastRestart], fired: Sequence[Firing], now: datetime) -> _Left:
    ends = [(each, _loop_end(effective, past, each)) for each in fired]
    held = {each.policy.name: end for each, end in ends if end is not None and end > now}
    if not held:
        return tuple(fired), None
    left = tuple(each for each, end in ends if end is None or end <= now)
    return left, Blocker("RestartLoop", loop_words(held), min(held.values()))


def _in_window(spec: ResilientServiceSpec, fired: Sequence[Firing], now: datetime) -> _Left:
    """Memory that will be full before the next window opens does not wait for it."""
    found = opening(spec.restart.windows, now)
    if found.is_open:
        return tuple(fired), None
    next_at = found.next_at
    when = f"the next one opens at {next_at:%Y-%m-%d %H:%M} UTC" if next_at is not None else "none opens again"
    block = Blocker("OutsideWindow", f"outside the windows of spec.restart.windows; {when}", next_at)
    return tuple(each for each in fired if _cannot_wait(each.policy, next_at, now)), block


def _cannot_wait(policy: Policy, next_at: datetime | None, now: datetime) -> bool:
    if policy.memory_slope is None:
        return False
    return next_at is None or next_at > now + policy.memory_slope.limit_within


def _cool_down(effective: Effective, past: Sequence[PastRestart], now: datetime) -> Blocker | None:
    if not past or past[-1].at + effective.cool_down <= now:
        return None
    words = f"the last restart by a policy is less than {format_duration(effective.cool_down)} ago (restart.coolDown)"
    return Blocker("CoolDown", words, past[-1].at + effective.cool_down)


def _budget(effective: Effective, past: Sequence[PastRestart], now: datetime) -> Blocker | None:
    spent = [each for each in past if each.at > now - effective.budget_per]
    if len(spent) < effective.budget_max:
        return None
    words = (
        f"the budget of {effective.budget_max} restarts per {format_duration(effective.budget_per)} is spent"
        " (restart.budget)"
    )
    return Blocker("BudgetSpent", words, spent[-effective.budget_max].at + effective.budget_per)


def moving(seen: Observation) -> Blocker | None:
    """A release replaces the pods anyway."""
    refusal = availability.may_begin(seen)
    return Blocker(refusal.reason, refusal.message) if refusal is not None else None
