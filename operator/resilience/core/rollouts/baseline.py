"""Failures that were there before the candidate got traffic: in the same way they are no reason to roll it back.

As long as the candidate has no traffic, status holds what fails at the version that serves; then it stays as it is
until the end of the rollout. So it is written before the write that switches, and a new process reads it there.
Answers that are missing or inconclusive change nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from resilience.api.checks import Check
from resilience.api.reasons import Colour, HealthState, ReleaseStep
from resilience.api.status_rollout import FailedBefore, FailingCheck, Version
from resilience.core.health import bounds
from resilience.core.model.check_state import CheckState
from resilience.core.model.observation import Pod
from resilience.core.model.traffic import Traffic
from resilience.core.rollouts.context import BEFORE_TRAFFIC, RolloutContext

_MOST_COMPONENTS: Final = 32
# The reason that checks give for a number.
_OUT_OF_BOUNDS: Final = "OutOfBounds"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Failures of the version that served before; `checks` are those of the spec, by name."""

    failed_before: FailedBefore
    checks: Mapping[str, Check]

    def excuses_check(self, name: str, state: CheckState) -> bool:
        """The check of the gate fails at the candidate as the health check of that name failed before.

        The reason is the same, no other component is unhealthy, and a measured number is not worse.
        """
        before = next((failing for failing in self.failed_before.checks if failing.name == name), None)
        check = self.checks.get(name)
        if before is None or check is None or state.state is not HealthState.UNHEALTHY:
            return False
        if before.reason != state.reason or not set(_unhealthy_components(state)) <= set(before.components):
            return False
        return state.reason != _OUT_OF_BOUNDS or _is_no_worse(check, state.figure, before.figure)

    def excuses_requests(self, traffic: Traffic) -> bool:
        """Measured requests fail as they failed before; without a record, none has ever passed in this rollout."""
        if self.failed_before.requests:
            return traffic.failure == self.failed_before.requests
        return traffic.failed >= traffic.sent


def of(context: RolloutContext) -> Baseline:
    """The baseline of the rollout in flight."""
    checks = {check.name: check for check in context.spec.health.checks}
    return Baseline(context.status.rollout.failed_before or FailedBefore(), checks)


def beside(context: RolloutContext, version: Version | None) -> FailedBefore | None:
    """The failures as long as a blue-green candidate of this version has no traffic; afterwards None."""
    if version is None or not _has_no_traffic(context):
        return None
    candidates = context.pods_of(context.green.towards) if context.view.green is not None else ()
    return _observe(context, candidates, known=_known(context, version))


def at_start(context: RolloutContext, version: Version, candidates: Iterable[Pod]) -> FailedBefore | None:
    """The failures when a rolling update to this version begins, for its pods get traffic at once; afterwards None.

    Also None after a version that failed itself: it is no measure for the next one.
    """
    running = context.status.rollout
    is_known = running.candidate is not None and running.candidate.hash == version.hash
    return None if is_known or running.failure is not None else _observe(context, candidates, known=FailedBefore())


def _has_no_traffic(context: RolloutContext) -> bool:
    if context.view.green is None:
        return context.wanted != context.serving
    if context.green.towards is Colour.GREEN:
        return context.green.step in BEFORE_TRAFFIC
    return context.green.step is ReleaseStep.PREPARING and context.blue_is_candidate


def _known(context: RolloutContext, version: Version) -> FailedBefore:
    """The failures that this rollout has recorded."""
    running = context.status.rollout
    is_same = running.candidate is not None and running.candidate.hash == version.hash
    return (running.failed_before if is_same else None) or FailedBefore()


def _observe(context: RolloutContext, candidates: Iterable[Pod], *, known: FailedBefore) -> FailedBefore:
    """The failures now, without those of the candidate's pods; what is not known now is as it was `known`."""
    return FailedBefore(
        requests=_failure_of_requests(context, known), checks=_failing_checks(context, candidates, known)
    )


def _failure_of_requests(context: RolloutContext, known: FailedBefore) -> str:
    traffic = context.observation.traffic
    if traffic is None:
        return known.requests
    if not traffic.failed_in_row:
        # Without a latency this process has no answer yet, and the counts are those of an earlier one.
        return known.requests if traffic.p99_seconds is None else ""
    is_row = traffic.failed_in_row >= min(traffic.sent, context.spec.health.failure_threshold)
    return traffic.failure if is_row else known.requests


def _failing_checks(context: RolloutContext, candidates: Iterable[Pod], known: FailedBefore) -> list[FailingCheck]:
    gate = context.spec.rollout.after
    candidate_uids = {pod.uid for pod in candidates}
    earlier = {failing.name: failing for failing in known.checks}
    failing = []
    for name in gate.checks if gate is not None else ():
        state = context.observation.checks.get(name)
        if state is None or state.state is HealthState.UNKNOWN:
            failing += [earlier[name]] if name in earlier else []
        elif _fails_elsewhere(state, candidate_uids):
            figure = None if state.figure is None else f"{state.figure:.6g}"
            components = _unhealthy_components(state)[:_MOST_COMPONENTS]
            failing.append(FailingCheck(name=name, reason=state.reason, figure=figure, components=components))
    return failing


def _fails_elsewhere(state: CheckState, candidate_uids: set[str]) -> bool:
    """The check fails as a whole, and at pods, if it is about pods, that are not the candidate's."""
    if state.state is not HealthState.UNHEALTHY:
        return False
    others = [at_pod for uid, at_pod in state.by_pod.items() if uid not in candidate_uids]
    return HealthState.UNHEALTHY in others if state.by_pod else True


def _unhealthy_components(state: CheckState) -> list[str]:
    return [component.name for component in state.components if component.state is HealthState.UNHEALTHY]


def _is_no_worse(check: Check, now: float | None, before: str | None) -> bool:
    """The number is no further out of bounds than it was; an unknown number may be worse."""
    of_body = check.http.json_ if check.http is not None else None
    of_row = check.postgres.value if check.postgres is not None else None
    wanted = check.prometheus or of_body or of_row
    if now is None or before is None or wanted is None:
        return False
    most = bounds.of_number(wanted).critical.above
    # What status holds is rounded.
    then, margin = float(before), abs(float(before)) * 1e-5
    if most is not None and now > most:
        return now <= then + margin
    return now >= then - margin
