"""What a step of a replacement looks at, and what the replacements made so far still lack."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.checks import Scope
from resilience.api.status import Effective
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetKind
from resilience.core.health.thresholds import WELL
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
class Scene:
    """All that a step looks at."""

    spec: ResilientServiceSpec
    effective: Effective
    observation: Observation
    workload: Workload
    view: PodsView
    wish: Wish
    now: datetime

    @property
    def surges(self) -> bool:
        """Whether the kind can have a replacement beside the old pod."""
        return self.workload.kind is TargetKind.DEPLOYMENT


def is_old(scene: Scene, pod: Pod) -> bool:
    """Whether the restart in flight asks for this pod's replacement."""
    wish = scene.wish
    return wish.born_before is not None and pod.created <= wish.born_before and (not wish.only or pod.uid in wish.only)


def unfinished_replacement(scene: Scene) -> str:
    """What the replacements made so far still lack; empty when the next pod may be touched."""
    missing = scene.workload.replicas - len(availability.staying(scene.view))
    if missing > 0:
        why = f": {scene.workload.trouble}" if scene.workload.trouble else ""
        return f"{missing} pod{'s' if missing > 1 else ''} not created yet{why}"
    return next((lack for pod in young(scene) if (lack := lack_of(scene, pod))), "")


def young(scene: Scene) -> list[Pod]:
    """Pods made since the restart was accepted, or, when none is in flight, since the first take-over still open."""
    staying = availability.staying(scene.view)
    if scene.wish.born_before is not None:
        return [pod for pod in staying if pod.created > scene.wish.born_before]
    taken = min((pod.taken_at for pod in scene.view.pods if pod.taken_at is not None), default=scene.now)
    # A creation time has whole seconds, so one that lies in the second of the take-over may be a replacement.
    return [pod for pod in staying if pod.created >= taken - timedelta(seconds=1)]


def lack_of(scene: Scene, pod: Pod) -> str:
    """Why a replacement does not count yet; empty when it does."""
    if not pod.available:
        return f"pod {pod.name} is not ready" + (f": {pod.trouble}" if pod.trouble else "")
    if not availability.is_serving(scene.observation, pod):
        return f"pod {pod.name} is ready, but not yet in every Service"
    for check in scene.spec.health.checks:
        state = scene.observation.checks.get(check.name)
        # Of a pod that is new nobody knows yet what it uses.
        asked = check.scope is Scope.POD and check.usage is None
        if asked and state and state.by_pod.get(pod.uid) not in WELL:
            return f"pod {pod.name} has not passed check {check.name}"
    return ""


def held(scene: Scene, pod: Pod) -> Step | None:
    """After an outage of the API server nodes may still send clients to where they were before it."""
    left = scene.observation.unsettled
    if not left:
        return None
    return Step(waiting=f"pod {pod.name} stays until every node has caught up: the API server was away", wait=left)


def until(scene: Scene, since: datetime | None, span: timedelta) -> timedelta | None:
    """Time left of a span that began then; None when it is over."""
    left = (since or scene.now) + span - scene.now
    return left if left > timedelta() else None
