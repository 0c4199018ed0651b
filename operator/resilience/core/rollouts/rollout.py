"""Releases of one service: which strategy looks at them, which requests wait, and what status tells about it.

The rules of each strategy are in `bluegreen` and `rolling`.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_PAUSED_FOR, ANNOTATION_SERVING
from resilience.api.reasons import Colour, Reason, ReleaseStep, Request, RolloutOutcome
from resilience.api.status import Effective, Status
from resilience.api.status_rollout import Version
from resilience.api.v1alpha1 import BlueGreen, Gate, ResilientServiceSpec, Strategy
from resilience.core.model import requests
from resilience.core.model.actions import Hold, MarkFailed, Resume
from resilience.core.model.decision import Action, Event
from resilience.core.model.observation import Observation, Pod, Resource
from resilience.core.model.probes import CheckTarget
from resilience.core.model.workload import Workload
from resilience.core.rollouts import adoption, bluegreen, candidate, drain, gates, preview, rolling
from resilience.core.rollouts.context import Move, Stage
from resilience.core.rollouts.status import Progress, update_status

# Beginning and end of each step in percent of a release.
_PROGRESS = {
    "Preflight": (0, 5),
    "Preparing": (5, 35),
    "Scaling": (35, 50),
    "Switching": (50, 55),
    "Overlapping": (55, 60),
    "Warm": (60, 75),
    "Draining": (75, 80),
    "HoppingBack": (80, 92),
    "Returning": (92, 95),
    "DrainingGreen": (95, 98),
    "Finishing": (98, 99),
    "RollingUpdate": (0, 95),
    "Gate": (95, 99),
    "Complete": (100, 100),
}
_HOMEWARD = {
    ReleaseStep.PREPARING: "HoppingBack",
    ReleaseStep.SCALING: "HoppingBack",
    ReleaseStep.SWITCHING: "Returning",
    ReleaseStep.OVERLAPPING: "Returning",
    ReleaseStep.DRAINING: "DrainingGreen",
}


@dataclass(frozen=True, slots=True)
class Look:
    """Outcome of one look at releases."""

    status: Status
    move: Move
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    checks: tuple[CheckTarget, ...] = ()
    # Why blue-green is not possible; empty when it is, or is not asked for.
    obstacle: str = ""


def in_flight(resource: Resource, workload: Workload) -> bool:
    """Whether a template is on its way, so that a look has to read pods."""
    rollout = resource.status.rollout
    good = rollout.serving.hash if rollout.serving is not None else ""
    moves = rollout.candidate is not None or not workload.observed or workload.stale
    return resource.spec is not None and (moves or good != workload.template.fingerprint)


def is_held(resource: Resource, workload: Workload) -> bool:
    """Whether we have, take or give back the target's pace, and there is something to do about that."""
    if resource.spec is None:
        return False
    held = workload.annotations.get(ANNOTATION_SERVING)
    if not is_blue_green(resource.spec):
        return held is not None or ANNOTATION_PAUSED_FOR in workload.annotations
    at_home = held == workload.template.fingerprint and workload.paused and workload.replicas > 0
    return not at_home or in_flight(resource, workload)


def is_blue_green(spec: ResilientServiceSpec) -> bool:
    """Whether releases go beside what serves."""
    return spec.rollout.strategy is Strategy.BLUE_GREEN


def look(
    resource: Resource,
    spec: ResilientServiceSpec,
    effective: Effective,
    seen: Observation,
    status: Status,
    now: datetime,
    *,
    writing: bool,
) -> Look:
    """What to do about releases, and how status tells it. Without pods read nothing is in flight."""
    if seen.pods is None or seen.workload is None:
        return Look(status, Move())
    stage = make_stage(resource, spec, effective, seen, status, now, writing=writing)
    stage, events = _requests(stage)
    blue_green = is_blue_green(spec)
    taken_back, waits = _retry(stage)
    move = taken_back or _plan(stage, blue_green=blue_green)
    previews = preview.plan(stage) if blue_green and not waits else ()
    obstacle = adoption.obstacle(stage) if blue_green and seen.pods.green is None else ""
    result = update_status(stage.status, progress(stage, move), uid=resource.uid, now=now)
    if not stage.held and any(isinstance(action, Hold) for action in move.actions):
        events.append(Event(Reason.ADOPTED, "the Deployment is held paused from now on; its releases are blue-green"))
    return Look(
        status=result.status,
        move=move,
        actions=(*move.actions, *previews),
        events=(*events, *result.events),
        checks=gate_targets(stage),
        obstacle=obstacle,
    )


def make_stage(
    resource: Resource,
    spec: ResilientServiceSpec,
    effective: Effective,
    seen: Observation,
    status: Status,
    now: datetime,
    *,
    writing: bool = False,
    leaving: bool = False,
) -> Stage:
    """The stage of this look. A strategy that is no longer blue-green means that the target is given back."""
    assert seen.workload is not None and seen.pods is not None
    return Stage(
        resource=resource,
        spec=spec,
        effective=effective,
        seen=seen,
        workload=seen.workload,
        view=seen.pods,
        status=status,
        now=now,
        leaving=leaving or not is_blue_green(spec),
        writing=writing,
        settings=spec.rollout.blue_green or BlueGreen(),
    )


def _plan(stage: Stage, *, blue_green: bool) -> Move:
    """A target that is still held by us is brought home by the rules of blue-green, whatever the strategy is now."""
    if blue_green or stage.held or stage.view.green is not None or any(each.pin for each in stage.services):
        return bluegreen.plan(stage)
    return rolling.plan(replace(stage, leaving=False))


def _retry(stage: Stage) -> tuple[Move | None, bool]:
    """A failed template is tried again when a person asks: the note goes first, then the request is handled."""
    going_back = stage.view.green is not None and not bluegreen.stays_on_green(stage)
    if not rolling.retried(stage) or going_back:
        return None, False
    paused_for = stage.workload.annotations.get(ANNOTATION_PAUSED_FOR)
    resume: tuple[Action, ...] = (Resume(),) if paused_for == stage.wanted else ()
    return Move(actions=(MarkFailed(""), *resume), waiting="the failed template is tried again"), True


def _requests(stage: Stage) -> tuple[Stage, list[Event]]:
    """Notes promote and retry as handled once they are done, or when there is nothing to do."""
    events: list[Event] = []
    status = stage.status
    value = requests.pending(stage.resource.annotations, status, Request.RETRY)
    if value is not None and not stage.failed(stage.wanted):
        again = status.rollout.failure is not None and status.rollout.failure.version.hash == stage.wanted
        note = "the template is tried again" if again else "no failed template to try again"
        status = requests.handle(status, Request.RETRY, value, now=stage.now, note=note)
        status = status.model_copy(update={"rollout": status.rollout.model_copy(update={"failure": None})})
        if not again:
            events.append(Event(Reason.REQUEST_IGNORED, f"retry: {note}"))
    value = requests.pending(stage.resource.annotations, status, Request.PROMOTE)
    if value is not None and not _may_promote(stage):
        done = stage.view.green is not None
        note = "promoted" if done else "no candidate waits for promotion"
        status = requests.handle(status, Request.PROMOTE, value, now=stage.now, note=note)
        if not done:
            events.append(Event(Reason.REQUEST_IGNORED, f"promote: {note}"))
    return replace(stage, status=status), events


def _may_promote(stage: Stage) -> bool:
    """Whether a promotion can still have an effect at this step."""
    if stage.view.green is None:
        return bluegreen.wants_release(stage)
    if stage.green.towards is Colour.BLUE and not stage.home_candidate:
        return False
    return stage.green.step in (ReleaseStep.PREPARING, ReleaseStep.WARM)


def gate_targets(stage: Stage) -> tuple[CheckTarget, ...]:
    """What the gate of this step has to ask."""
    gate, pods = _gate(stage)
    return gates.check_targets(gate, stage.spec, stage.effective, stage.seen, pods)


def _gate(stage: Stage) -> tuple[Gate | None, tuple[Pod, ...]]:
    rollout = stage.spec.rollout
    if stage.view.green is None:
        waits = not stage.held and rolling.in_flight(stage) and stage.workload.settled
        return (rollout.after, rolling.current_pods(stage)) if waits else (None, ())
    # A pod that only starts would fail a check that it is going to pass.
    pods = stage.available_pods(stage.green.towards)
    if stage.green.towards is Colour.BLUE and not stage.home_candidate:
        return None, ()
    if stage.green.step in (ReleaseStep.PREPARING, ReleaseStep.SCALING):
        return rollout.before, pods
    if stage.green.step in (ReleaseStep.OVERLAPPING, ReleaseStep.WARM):
        # Asked early, so that its verdict is there when the candidate serves alone.
        return rollout.after, pods
    return None, ()


def progress(stage: Stage, move: Move) -> Progress:
    """What is in flight, for status."""
    if stage.view.green is None and not stage.held:
        return _rolling_progress(stage, move)
    step, flight = _in_flight(stage)
    low, high = _PROGRESS.get(step, (0, 0))
    return Progress(
        serving=_serving(stage),
        candidate=flight,
        step=step,
        percent=round(low + (high - low) * move.share),
        message=move.waiting,
        failure=move.failure,
        failed=stage.workload.annotations.get(ANNOTATION_FAILED, ""),
        unwanted=rolling.version(stage) if stage.failed(stage.wanted) else None,
        cleared=not stage.failed(stage.wanted),
        kept_connections=drain.kept_connections(stage) if stage.view.green is not None else None,
        pins_lost=len(move.pins_lost),
        traffic=stage.seen.traffic,
    )


def _in_flight(stage: Stage) -> tuple[str, Version | None]:
    """The step in a word, and the version that is on its way; None when none is."""
    if stage.view.green is None:
        if bluegreen.wants_release(stage):
            return "Preflight", rolling.version(stage)
        if any(service.pin for service in stage.services) and stage.status.rollout.candidate is not None:
            return "Finishing", stage.status.rollout.candidate
        return ("RolledBack" if stage.failed(stage.wanted) else "Complete"), None
    green = stage.green
    own = Version(hash=green.workload.template.fingerprint, image=green.workload.template.image(stage.spec.container))
    if green.towards is Colour.GREEN:
        return green.step.value, own
    if stage.failed(stage.wanted) and green.step is ReleaseStep.PREPARING:
        return "RolledBack", None
    step = _HOMEWARD.get(green.step, green.step.value)
    if not stage.home_candidate:
        return step, own
    return step, Version(hash=candidate.fingerprint(stage), image=_image_of(stage, candidate.fingerprint(stage)))


def _image_of(stage: Stage, fingerprint: str) -> str:
    if fingerprint == stage.wanted:
        return stage.workload.template.image(stage.spec.container)
    images = next((each.images for each in stage.view.replica_sets if each.fingerprint == fingerprint), {})
    return images.get(stage.spec.container or "", next(iter(images.values()), ""))


def _serving(stage: Stage) -> Version | None:
    """The version that clients reach."""
    if stage.view.green is not None:
        step, green = stage.green.step, stage.green.workload.template
        out = stage.green.towards is Colour.GREEN and step in (ReleaseStep.WARM, ReleaseStep.DRAINING)
        home = stage.green.towards is Colour.BLUE and step not in (ReleaseStep.WARM, ReleaseStep.DRAINING)
        if out or home:
            return Version(hash=green.fingerprint, image=green.image(stage.spec.container))
    return Version(hash=stage.serving, image=_image_of(stage, stage.serving))


def _rolling_progress(stage: Stage, move: Move) -> Progress:
    good, failed = stage.status.rollout.serving, stage.workload.annotations.get(ANNOTATION_FAILED, "")
    version, workload = rolling.version(stage), stage.workload
    complete = rolling.complete(stage)
    flight = rolling.in_flight(stage) and not complete and failed != version.hash and move.failure is None
    same = good is not None and good.hash == version.hash
    if move.failure is not None:
        # Noted together with what failed; the next look ends it.
        flight = True
    if complete:
        step = "Complete"
    elif failed == version.hash:
        step = "Paused" if workload.paused else "Failed"
    elif workload.settled:
        step = "Gate"
    else:
        step = "RollingUpdate" if workload.rolling or not workload.observed else "WaitingForPods"
    low, high = _PROGRESS.get(step, (0, 99))
    return Progress(
        serving=version if complete else good,
        candidate=version if flight and not same else None,
        step=step,
        percent=round(low + (high - low) * move.share),
        message=move.waiting,
        failure=move.failure,
        failed=failed,
        unwanted=version if stage.failed(version.hash) else None,
        traffic=stage.seen.traffic,
        stays=None if rolling.outcome(stage) is RolloutOutcome.ROLLED_BACK else rolling.outcome(stage),
    )
