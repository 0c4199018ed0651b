"""What a step of a replacement looks at, and what the replacements made so far still lack."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.checks import Scope
from resilience.api.status import Effective
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetKind
from resilience.core.health.thresholds import WELL
from resilience.core.model.context import Context
from resilience.core.model.decision import Action
from resilience.core.model.observation import Observation, Pod, PodsView
from resilience.core.model.workload import Workload
from resilience.core.replacement import availability

# Pods outside every Service are in no watch of ours: how often they are looked for.
GONE_POLL = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the pods in this pass."""

    # Pods created up to this moment (the API server's clock) are to be replaced; None when nothing is asked.
    born_before: datetime | None
    # No pod may be taken over before this moment, so that a replacement can be told by its creation second.
    not_before: datetime | None
    # Replacements that have not begun to serve are undone (abort, deletion of the resource).
    undo: bool
    # Uids of the only pods that are to be replaced, worst first; empty for all.
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """Outcome of looking at one pod."""

    actions: tuple[Action, ...] = ()
    waiting: str = ""
    refusal: availability.Refusal | None = None
    wait: timedelta | None = None
    given_up: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class ReplacementContext:
    """All that a step of a replacement decides from."""

    base: Context
    view: PodsView
    wish: Wish

    @property
    def spec(self) -> ResilientServiceSpec:
        """As in the pass."""
        return self.base.spec

    @property
    def effective(self) -> Effective:
        """As in the pass."""
        return self.base.effective

    @property
    def observation(self) -> Observation:
        """As in the pass."""
        return self.base.observation

    @property
    def workload(self) -> Workload:
        """As in the pass."""
        return self.base.workload

    @property
    def now(self) -> datetime:
        """As in the pass."""
        return self.base.now

    @property
    def surges(self) -> bool:
        """Whether the kind can have a replacement beside the old pod."""
        return self.workload.kind is TargetKind.DEPLOYMENT


def is_old(context: ReplacementContext, pod: Pod) -> bool:
    """Whether the restart in flight asks for this pod's replacement."""
    wish = context.wish
    return wish.born_before is not None and pod.created <= wish.born_before and (not wish.only or pod.uid in wish.only)


def unfinished_replacement(context: ReplacementContext) -> str:
    """What the replacements made so far still lack; empty when the next pod may be touched."""
    missing = context.workload.replicas - len(availability.staying(context.view))
    if missing > 0:
        why = f": {context.workload.trouble}" if context.workload.trouble else ""
        return f"{missing} pod{'s' if missing > 1 else ''} not created yet{why}"
    return next((lack for pod in young(context) if (lack := lack_of(context, pod))), "")


def young(context: ReplacementContext) -> list[Pod]:
    """Pods made since the restart was accepted, or, when none is in flight, since the first take-over still open."""
    staying = availability.staying(context.view)
    if context.wish.born_before is not None:
        return [pod for pod in staying if pod.created > context.wish.born_before]
    taken = min((pod.taken_at for pod in context.view.pods if pod.taken_at is not None), default=context.now)
    # A creation time has whole seconds, so one that lies in the second of the take-over may be a replacement.
    return [pod for pod in staying if pod.created >= taken - timedelta(seconds=1)]


def lack_of(context: ReplacementContext, pod: Pod) -> str:
    """Why a replacement does not count yet; empty when it does."""
    if not pod.available:
        return f"pod {pod.name} is not ready" + (f": {pod.trouble}" if pod.trouble else "")
    if not availability.is_serving(context.observation, pod):
        return f"pod {pod.name} is ready, but not yet in every Service"
    for check in context.spec.health.checks:
        state = context.observation.checks.get(check.name)
        # Of a pod that is new nobody knows yet what it uses.
        asked = check.scope is Scope.POD and check.usage is None
        if asked and state and state.by_pod.get(pod.uid) not in WELL:
            return f"pod {pod.name} has not passed check {check.name}"
    return ""


def held(context: ReplacementContext, pod: Pod) -> Step | None:
    """After an outage of the API server nodes may still send clients to where they were before it."""
    left = context.observation.unsettled
    if not left:
        return None
    return Step(waiting=f"pod {pod.name} stays until every node has caught up: the API server was away", wait=left)


def until(context: ReplacementContext, since: datetime | None, span: timedelta) -> timedelta | None:
    """Time left of a span that began then; None when it is over."""
    left = (since or context.now) + span - context.now
    return left if left > timedelta() else None
