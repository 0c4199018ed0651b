"""Input of the steps of a replacement, and the progress of the replacements made so far."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.checks import Scope
from resilience.api.v1alpha1 import TargetKind
from resilience.core.health import reach
from resilience.core.health.thresholds import WELL
from resilience.core.model.context import PartContext
from resilience.core.model.decision import Action
from resilience.core.model.observation import Pod, PodsView
from resilience.core.replacement import availability

# Interval at which pods outside every Service are read, because no watch of the operator covers them.
GONE_POLL = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ReplacementRequest:
    """Replacements requested in this pass."""

    # Pods created up to this moment (the API server's clock) are to be replaced; None when no replacement is requested.
    born_before: datetime | None
    # No pod may be taken over before this moment, so that the creation second identifies a replacement.
    not_before: datetime | None
    # Replacements that have not begun to serve are undone (abort, deletion of the resource).
    undo: bool
    # Uids of the only pods that are to be replaced, worst first; empty for all.
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """Outcome of one step of one pod, or of the choice of the next pods."""

    actions: tuple[Action, ...] = ()
    waiting: str = ""
    refusal: availability.Refusal | None = None
    wait: timedelta | None = None
    given_up: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class ReplacementContext(PartContext):
    """Everything from which a step of a replacement decides."""

    view: PodsView
    wish: ReplacementRequest

    @property
    def surges(self) -> bool:
        """The kind can run a replacement beside the old pod."""
        return self.workload.kind is TargetKind.DEPLOYMENT


def is_old(context: ReplacementContext, pod: Pod) -> bool:
    """The restart in flight requires the replacement of this pod."""
    wish = context.wish
    return wish.born_before is not None and pod.created <= wish.born_before and (not wish.only or pod.uid in wish.only)


def unfinished_replacement(context: ReplacementContext) -> str:
    """The reason that replacements made so far do not count yet; empty when the next pod may be replaced."""
    missing = context.workload.replicas - len(availability.staying(context.view))
    if missing > 0:
        why = f": {context.workload.trouble}" if context.workload.trouble else ""
        return f"{missing} pod{'s' if missing > 1 else ''} not created yet{why}"
    return next((lack for pod in new_pods(context) if (lack := obstacle_of(context, pod))), "")


def new_pods(context: ReplacementContext) -> list[Pod]:
    """Pods created since the restart was accepted or, when none is in flight, since the oldest open take-over."""
    staying = availability.staying(context.view)
    if context.wish.born_before is not None:
        return [pod for pod in staying if pod.created > context.wish.born_before]
    taken = min((pod.taken_at for pod in context.view.pods if pod.taken_at is not None), default=context.now)
    # Creation times have whole seconds, so a pod created in the second of the take-over may be a replacement.
    return [pod for pod in staying if pod.created >= taken - timedelta(seconds=1)]


def obstacle_of(context: ReplacementContext, pod: Pod) -> str:
    """The reason that a replacement does not count yet; empty when it counts."""
    if not pod.available:
        return f"pod {pod.name} is not ready" + (f": {pod.trouble}" if pod.trouble else "")
    if not availability.is_serving(context.observation, pod):
        return f"pod {pod.name} is ready, but not yet in every Service"
    for check in context.spec.health.checks:
        state = context.observation.checks.get(check.name)
        # The usage of a new pod is not known yet; a check that no pod ever answered tells none from another.
        is_required = check.scope is Scope.POD and check.usage is None and not reach.is_unreachable(state)
        if is_required and state and state.by_pod.get(pod.uid) not in WELL:
            return f"pod {pod.name} has not passed check {check.name}"
    return ""


def wait_after_outage(context: ReplacementContext, pod: Pod) -> Step | None:
    """The step that waits after an outage of the API server, or None.

    Nodes may still send clients to the endpoints from before the outage.
    """
    left = context.observation.unsettled
    if not left:
        return None
    return Step(waiting=f"pod {pod.name} stays until every node has caught up: the API server was away", wait=left)


def until(context: ReplacementContext, since: datetime | None, span: timedelta) -> timedelta | None:
    """Time left of a span that began at `since` (None: now); None when it is over."""
    left = (since or context.now) + span - context.now
    return left if left > timedelta() else None
