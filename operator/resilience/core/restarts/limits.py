"""Limits of restarts by policies: windows, cool-down, budget, loop breaker, a dependency that is down.

None of them limits requests by hand. The availability guard decides in addition, at every step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.checks import Scope
from resilience.api.reasons import BlockReason, RefusalReason
from resilience.api.restarts import Policy
from resilience.api.scalars import format_duration
from resilience.api.schedule import opening
from resilience.api.status import Effective, Status
from resilience.api.status_restarts import PastRestart
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import pace
from resilience.core.health.thresholds import WELL
from resilience.core.model import wrong_parts
from resilience.core.model.check_state import CheckState
from resilience.core.model.context import Context
from resilience.core.model.observation import Observation, Pod
from resilience.core.replacement import availability
from resilience.core.restarts.policies import PREFIX, Firing

# A pod that fires within the cool-down, or within this time, after its creation shows that restarting is useless.
LOOP_LEAST: Final = timedelta(seconds=30)
# Passes in a row after which a check counts as recovered, when no policy sets how many failures count.
_STEADY: Final = 3
# Longest time between two attempts in a loop; the times begin with twice the cool-down and double.
LOOP_LAST: Final = timedelta(hours=6)
# The loop breaker remembers restarts for so long: the attempts from the shortest time to the longest fit into it.
MEMORY: Final = timedelta(hours=72)
# Most restarts by policies that status keeps.
MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Blocker:
    """The reason that nothing is restarted. `until`: the time at which it ends by itself, if that is known."""

    reason: BlockReason | RefusalReason
    message: str
    until: datetime | None = None


# Firings that may proceed, and the blocker of the others.
_Left = tuple[tuple[Firing, ...], Blocker | None]


def recent(context: Context) -> list[PastRestart]:
    """Restarts by policies that a limit still counts."""
    memory = max(MEMORY, context.effective.cool_down, context.effective.budget_per)
    return [entry for entry in context.status.restarts.recent if entry.at > context.now - memory][-MOST:]


def allowed(context: Context, firing: Sequence[Firing]) -> _Left:
    """The firings that may restart their pods now, and the blocker when none may."""
    past, effective, now = recent(context), context.effective, context.now
    left, block = _without_dependency(context, firing)
    if left:
        left, block = _out_of_loops(context, past, left, now)
    if left:
        left, block = _after_proof(context, past, left)
    if left:
        left, block = _in_window(context.spec, left, now)
    if left:
        block = (
            _cool_down(effective, past, now)
            or _budget(effective, past, now)
            or replacement_blocker(context.observation)
        )
    return (left if block is None else ()), block


def _without_dependency(context: Context, fired: Sequence[Firing]) -> _Left:
    """The firings that a lost dependency does not explain, and the blocker of the others.

    It explains them when all pods fail together while it is not known to work. Neither thresholds nor single passes
    count: which check fails first, and which recovers first, is chance.
    """
    spec, observation, now = context.spec, context.observation, context.now
    doubtful = [firing for firing in fired if _may_be_dependency(firing.policy)]
    failures = [firing.policy.check.failures for firing in doubtful if firing.policy.check is not None]
    steady = max([_STEADY, *failures])
    lost = [
        check.name
        for check in spec.health.checks
        if check.scope is Scope.DEPENDENCY and _is_unsteady(observation.checks.get(check.name), steady)
    ]
    lost += wrong_parts.hidden_dependencies(context.resource)
    if not lost or not doubtful or observation.pods is None:
        return tuple(fired), None
    uids = {firing.pod.uid for firing in doubtful}
    others = [pod for pod in availability.staying(observation.pods) if pod.uid not in uids]
    if any(all(_is_well(firing.policy, pod, observation, steady, now) for firing in doubtful) for pod in others):
        return tuple(fired), None
    named = ", ".join(lost)
    words = (
        f"all pods fail together while {named} is not known to work: a restart would not help, the service is degraded"
    )
    return tuple(firing for firing in fired if not _may_be_dependency(firing.policy)), Blocker(
        BlockReason.DEPENDENCY_DOWN, words
    )


def _is_unsteady(state: CheckState | None, steady: int) -> bool:
    """A dependency is not known to work: it is down, unknown, or has not passed so often in a row since it failed."""
    return state is None or state.state not in WELL or state.passes < steady


def _may_be_dependency(policy: Policy) -> bool:
    """A dependency may as well cause what the policy observes: pods that hang, crash, or spin in retries."""
    return policy.check is not None or policy.container_restarts is not None or policy.cpu is not None


def _is_well(policy: Policy, pod: Pod, observation: Observation, steady: int, now: datetime) -> bool:
    """The policy has no reason to fire for this pod, and has had none for a while."""
    if policy.container_restarts is not None:
        times = observation.pods.container_restarts.get(pod.uid, ()) if observation.pods is not None else ()
        return pod.available and not any(at > now - policy.container_restarts.within for at in times)
    state = observation.checks.get(PREFIX + policy.name)
    return state is not None and state.passes_by_pod.get(pod.uid, 0) >= steady


def note_loops(context: Context, fired: Sequence[Firing]) -> tuple[Status, tuple[str, ...]]:
    """Mark futile restarts: a pod created after one, and before the next, fires again soon after its creation.

    The marks are in status, because a loop continues when the operator is restarted. Also returns the names of the
    policies that are newly marked.
    """
    status, now = context.status, context.now
    past, new_names = list(status.restarts.recent), []
    for firing in fired:
        name, earlier = firing.policy.name, _restarts_before(past, firing)
        if not earlier or name in earlier[-1].futile or now > firing.pod.created + _futile_age(context, firing.policy):
            continue
        marked = earlier[-1].model_copy(update={"futile": [*earlier[-1].futile, name]})
        past[past.index(earlier[-1])] = marked
        new_names.append(name)
    if not new_names:
        return status, ()
    return status.model_copy(update={"restarts": status.restarts.model_copy(update={"recent": past})}), tuple(new_names)


def loop_words(names: Iterable[str]) -> str:
    """The message about a restart loop, for people."""
    named = ", ".join(sorted(set(names)))
    return (
        f"fresh pods fail the same way, or none comes up ({named}), so restarting them is useless; find out why, or"
        " change the policy"
    )


def _futile_age(context: Context, policy: Policy) -> timedelta:
    """Age up to which a pod that fires shows that restarting was useless."""
    spec, effective = context.spec, context.effective
    usage = policy.memory or policy.cpu
    needs = usage.for_ if usage is not None else timedelta()
    check = next((check for check in spec.health.checks if policy.check and check.name == policy.check.name), None)
    if policy.check is not None and check is not None:
        needs = pace.of(check, spec, effective).interval * policy.check.failures
    return max(effective.cool_down, LOOP_LEAST) + needs


def _restarts_before(past: Sequence[PastRestart], firing: Firing) -> list[PastRestart]:
    """The restarts by this policy that are older than the pod; creation times have whole seconds."""
    young = firing.pod.created + timedelta(seconds=1)
    return [restart for restart in past if firing.policy.name in restart.policies and restart.at <= young]


def _loop_end(context: Context, past: Sequence[PastRestart], firing: Firing) -> datetime | None:
    """Time until which this policy does not restart the pod; None when it may.

    The reason is that the restart before the pod was futile, or that the last restarts failed and left their pod.
    """
    name, young = firing.policy.name, firing.pod.created + timedelta(seconds=1)
    restarts = [entry for entry in past if name in entry.policies and (entry.at <= young or entry.failed)]
    useless = [name in entry.futile or entry.failed for entry in reversed(restarts)]
    row = next((index for index, is_useless in enumerate(useless) if not is_useless), len(restarts))
    if not row:
        return None
    return restarts[-1].at + min(_futile_age(context, firing.policy) * (1 << min(row, 16)), LOOP_LAST)


def _out_of_loops(context: Context, past: Sequence[PastRestart], fired: Sequence[Firing], now: datetime) -> _Left:
    ends = [(firing, _loop_end(context, past, firing)) for firing in fired]
    end_by_policy = {firing.policy.name: end for firing, end in ends if end is not None and end > now}
    if not end_by_policy:
        return tuple(fired), None
    left = tuple(firing for firing, end in ends if end is None or end <= now)
    return left, Blocker(BlockReason.RESTART_LOOP, loop_words(end_by_policy), min(end_by_policy.values()))


def _after_proof(context: Context, past: Sequence[PastRestart], fired: Sequence[Firing]) -> _Left:
    """The firings whose policy has seen the replacements of its last restart pass what it restarted pods for.

    A replacement itself need not wait: the loop breaker limits how often the same place is tried.
    """
    fired_policies = {firing.policy.name: firing.policy for firing in fired}
    waits = {name: wait for name, policy in fired_policies.items() if (wait := _unproven(context, past, policy))}
    left = tuple(
        firing
        for firing in fired
        if firing.policy.name not in waits or firing.pod.created >= waits[firing.policy.name][0]
    )
    if len(left) == len(fired):
        return left, None
    name, (_, pod) = next(iter(waits.items()))
    words = (
        f"pod {pod.name}, which the last restart made, has not passed what policy {name} restarted pods for: the next "
        "pod stays until it does"
    )
    return left, Blocker(BlockReason.REPLACEMENT_UNPROVEN, words)


def _unproven(context: Context, past: Sequence[PastRestart], policy: Policy) -> tuple[datetime, Pod] | None:
    """The start of the policy's last restart, and a pod created since that has not passed; None without such a pod."""
    last = next((entry for entry in reversed(past) if policy.name in entry.policies), None)
    if last is None or context.observation.pods is None:
        return None
    # Creation times have whole seconds.
    began = last.at.replace(microsecond=0)
    made = [pod for pod in availability.staying(context.observation.pods) if pod.created >= began]
    pod = next((pod for pod in made if not _has_passed(context, policy, pod)), None)
    return (began, pod) if pod is not None else None


def _has_passed(context: Context, policy: Policy, pod: Pod) -> bool:
    """The pod does not show what the policy restarts pods for. Its age never does, and a restart count only later."""
    if policy.uptime is not None:
        return True
    if policy.container_restarts is not None:
        return pod.available
    state = context.observation.checks.get(PREFIX + policy.name)
    return state is not None and state.by_pod.get(pod.uid) in WELL


def _in_window(spec: ResilientServiceSpec, fired: Sequence[Firing], now: datetime) -> _Left:
    """The firings that need no window now: memory that will be full before the next one opens does not wait for it."""
    window = opening(spec.restart.windows, now)
    if window.is_open:
        return tuple(fired), None
    next_at = window.next_at
    when = f"the next one opens at {next_at:%Y-%m-%d %H:%M} UTC" if next_at is not None else "none opens again"
    block = Blocker(BlockReason.OUTSIDE_WINDOW, f"outside the windows of spec.restart.windows; {when}", next_at)
    return tuple(firing for firing in fired if _cannot_wait(firing.policy, next_at, now)), block


def _cannot_wait(policy: Policy, next_at: datetime | None, now: datetime) -> bool:
    if policy.memory_slope is None:
        return False
    return next_at is None or next_at > now + policy.memory_slope.limit_within


def _cool_down(effective: Effective, past: Sequence[PastRestart], now: datetime) -> Blocker | None:
    if not past or past[-1].at + effective.cool_down <= now:
        return None
    words = f"the last restart by a policy is less than {format_duration(effective.cool_down)} ago (restart.coolDown)"
    return Blocker(BlockReason.COOL_DOWN, words, past[-1].at + effective.cool_down)


def _budget(effective: Effective, past: Sequence[PastRestart], now: datetime) -> Blocker | None:
    spent = [entry for entry in past if entry.at > now - effective.budget_per]
    if len(spent) < effective.budget_max:
        return None
    words = (
        f"the budget of {effective.budget_max} restarts per {format_duration(effective.budget_per)} is spent"
        " (restart.budget)"
    )
    return Blocker(BlockReason.BUDGET_SPENT, words, spent[-effective.budget_max].at + effective.budget_per)


def replacement_blocker(observation: Observation) -> Blocker | None:
    """The blocker while no replacement may begin, or None. A rollout, for example, replaces the pods anyway."""
    refusal = availability.may_begin(observation)
    return Blocker(refusal.reason, refusal.message) if refusal is not None else None
