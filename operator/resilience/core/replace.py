"""Replacing pods without losing a request: take over, replace, leave, drain, delete (docs/concepts/restarts.md).

Every step is decided from what is on the pod (label, owner) and in the EndpointSlices, never from memory, so a pass
may be cut off after any write and the next one goes on. Kinds without surge skip to drain and are evicted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.reasons import HealthState, ReplaceStep
from resilience.api.status import Effective
from resilience.api.v1alpha1 import ResilientServiceSpec, Scope, TargetKind
from resilience.core import guard
from resilience.core.decision import (
    Action,
    Advance,
    DeletePod,
    EvictPod,
    GiveBack,
    HttpTarget,
    SendSignal,
    TakeOver,
    container_port,
)
from resilience.core.observation import Observation, Pod, PodsView, ReplicaSet, Workload

# How often a draining pod is asked for its connections: it cannot be watched.
QUIET_POLL = timedelta(seconds=1)
# A drain signal that is not answered is tried again for so long before the pod goes without it.
SIGNAL_PATIENCE = timedelta(seconds=10)
# Clients of a headless Service may use a DNS answer for so long: the longest that CoreDNS gives by default.
HEADLESS_TTL = timedelta(seconds=30)
# Disruption budgets are not watched.
REFUSED_POLL = timedelta(seconds=15)
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


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about pods now, and why not more."""

    actions: tuple[Action, ...]
    # What is being waited for, for people; empty when nothing is.
    waiting: str
    # Refusal of the guard, for status and metrics.
    refusal: guard.Refusal | None
    requeue_after: timedelta | None
    # Pods still to be replaced or gone.
    remaining: int
    # Uids of the pods that these actions end.
    ending: frozenset[str]
    # Pods whose replacement did not come up in time and which were given back in this pass.
    given_up: bool = False
    # What people have to know although it stops nothing.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Step:
    """Outcome of looking at one pod."""

    actions: tuple[Action, ...] = ()
    waiting: str = ""
    refusal: guard.Refusal | None = None
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


def plan(scene: Scene) -> Plan:
    """The next actions for all pods: those in flight first, then new ones as far as surge and guard allow."""
    steps = [_progress(scene, pod) for pod in scene.view.pods if pod.step is not None and not pod.deleting]
    old = _to_replace(scene)
    steps.append(_begin(scene, old, held=any(step.refusal is not None for step in steps)))
    waits = [step.wait for step in steps if step.wait is not None]
    ending = [pod for pod in scene.view.pods if pod.deleting and (pod.step is not None or _is_old(scene, pod))]
    if ending:
        waits.append(GONE_POLL)
    if any(step.refusal is not None for step in steps):
        waits.append(REFUSED_POLL)
    in_flight = sum(pod.step is not None and not pod.deleting for pod in scene.view.pods)
    reborn = _reborn(scene) if not in_flight and not ending else _Step()
    steps.append(reborn)
    if reborn.wait is not None:
        waits.append(reborn.wait)
    waiting = next((step.waiting for step in steps if step.waiting), "")
    actions = tuple(action for step in steps for action in step.actions)
    return Plan(
        actions=actions,
        waiting=waiting or (f"pod {ending[0].name} is ending" if ending else ""),
        refusal=next((step.refusal for step in steps if step.refusal), None),
        requeue_after=min(waits, default=None),
        remaining=len(old) + in_flight + len(ending) + bool(reborn.waiting),
        ending=frozenset(action.pod.uid for action in actions if isinstance(action, DeletePod | EvictPod)),
        given_up=any(step.given_up for step in steps),
        notes=tuple(step.note for step in steps if step.note),
    )


def _is_old(scene: Scene, pod: Pod) -> bool:
    return scene.wish.born_before is not None and pod.created <= scene.wish.born_before


def _to_replace(scene: Scene) -> list[Pod]:
    """Pods asked for and not begun: those that do not serve first, then the oldest."""
    old = [pod for pod in guard.staying(scene.view) if _is_old(scene, pod)]
    return sorted(old, key=lambda pod: (guard.is_serving(scene.observation, pod), pod.created, pod.name))


def _begin(scene: Scene, old: list[Pod], *, held: bool) -> _Step:
    """The next pods. `held` says that one in flight has to stay: then one that does not serve goes before it."""
    if not old or scene.wish.undo:
        return _Step()
    in_flight = sum(pod.step is not None and not pod.deleting for pod in scene.view.pods)
    free = scene.spec.restart.surge - in_flight if scene.surges else 1 - in_flight
    if free <= 0:
        old = [pod for pod in old if held and not guard.is_serving(scene.observation, pod)]
        free = 1
    if not old:
        return _Step()
    if scene.wish.not_before is not None and scene.now < scene.wish.not_before:
        return _Step(waiting="about to begin", wait=scene.wish.not_before - scene.now)
    refusal = guard.may_begin(scene.workload)
    if refusal is not None:
        return _Step(waiting=refusal.message, refusal=refusal)
    unfinished = _unfinished_replacement(scene)
    if unfinished:
        return _Step(waiting=unfinished)
    if scene.surges:
        return _take_over(scene, old[:free])
    return _end_without_twin(scene, old[0])


def _take_over(scene: Scene, pods: list[Pod]) -> _Step:
    """Serving pods are left alone when no number of replacements could ever let them go."""
    refusal = None
    if guard.floor(scene.workload, scene.view) > scene.workload.replicas:
        refusal = guard.Refusal("BudgetTooStrict", "a disruption budget asks for more pods than the target has")
        pods = [pod for pod in pods if not guard.is_serving(scene.observation, pod)]
    return _Step(
        actions=tuple(TakeOver(pod, scene.now) for pod in pods if pod.owner_kind == "ReplicaSet"),
        waiting=refusal.message if refusal is not None else "",
        refusal=refusal,
    )


def _end_without_twin(scene: Scene, pod: Pod) -> _Step:
    """Kinds without surge: signal, then evict; no pod may leave its Service by label, its controller would drop it.

    The only replica has a floor of zero: a person asked, and status says what it costs.
    """
    refusal = guard.may_lose(scene.observation, scene.view, pod)
    if refusal is not None:
        return _Step(waiting=f"pod {pod.name} stays: {refusal.message}", refusal=refusal)
    held = _held(scene, pod)
    if held is not None:
        return held
    full = next((each for each in scene.view.budgets if each.current_healthy <= each.desired_healthy), None)
    if full is not None and pod.ready:
        # The API server would refuse the eviction; the pod need not be drained for that.
        refusal = guard.Refusal("BudgetFull", f"disruption budget {full.name} allows no eviction now")
        return _Step(waiting=f"pod {pod.name} stays: {refusal.message}", refusal=refusal)
    if _signal_target(scene, pod) is not None:
        return _Step(actions=(Advance(pod, ReplaceStep.LEFT, scene.now),))
    return _Step(actions=(EvictPod(pod, _grace(scene, pod)),))


def _unfinished_replacement(scene: Scene) -> str:
    """What the replacements made so far still lack; empty when the next pod may be touched."""
    missing = scene.workload.replicas - len(guard.staying(scene.view))
    if missing > 0:
        why = f": {scene.workload.trouble}" if scene.workload.trouble else ""
        return f"{missing} pod{'s' if missing > 1 else ''} not created yet{why}"
    return next((lack for pod in _young(scene) if (lack := _lack(scene, pod))), "")


def _reborn(scene: Scene) -> _Step:
    """Kinds without surge: a pod is replaced when the one in its place serves; too late is a failure."""
    lack = _unfinished_replacement(scene)
    if scene.surges or scene.wish.born_before is None or scene.wish.undo or not lack:
        return _Step()
    born = max((pod.created for pod in _young(scene) if _lack(scene, pod)), default=scene.now)
    left = _until(scene, born, scene.spec.rollout.progress_deadline)
    return _Step(waiting=lack, wait=left, given_up=left is None)


def _young(scene: Scene) -> list[Pod]:
    """Pods made since the restart was accepted, or, when none is in flight, since the first take-over still open."""
    staying = guard.staying(scene.view)
    if scene.wish.born_before is not None:
        return [pod for pod in staying if not _is_old(scene, pod)]
    taken = min((pod.taken_at for pod in scene.view.pods if pod.taken_at is not None), default=scene.now)
    # A creation time has whole seconds, so one that lies in the second of the take-over may be a replacement.
    return [pod for pod in staying if pod.created >= taken - timedelta(seconds=1)]


def _lack(scene: Scene, pod: Pod) -> str:
    """Why a replacement does not count yet; empty when it does."""
    if not pod.available:
        return f"pod {pod.name} is not ready" + (f": {pod.trouble}" if pod.trouble else "")
    if not guard.is_serving(scene.observation, pod):
        return f"pod {pod.name} is ready, but not yet in every Service"
    for check in scene.spec.health.checks:
        state = scene.observation.checks.get(check.name)
        if check.scope is Scope.POD and state and state.by_pod.get(pod.uid) is not HealthState.HEALTHY:
            return f"pod {pod.name} has not passed check {check.name}"
    return ""


def _progress(scene: Scene, pod: Pod) -> _Step:
    if pod.step is not None and pod.step_since is None:
        # Somebody took the time off: spans are counted from now.
        return _Step(actions=(Advance(pod, pod.step, scene.now),))
    if scene.surges and pod.step is not ReplaceStep.REPLACING:
        labels, _ = guard.leave_labels(scene.observation, scene.view, pod)
        if labels:
            # Somebody gave it a label back, or a Service was made meanwhile.
            return _leave(scene, pod)
    match pod.step:
        case ReplaceStep.REPLACING:
            return _replacing(scene, pod)
        case ReplaceStep.LEAVING:
            return _leaving(scene, pod)
        case ReplaceStep.LEFT:
            return _left(scene, pod)
        case ReplaceStep.DRAINING:
            return _draining(scene, pod)
        case ReplaceStep.DELETING | None:
            return _delete(scene, pod)


def _replacing(scene: Scene, pod: Pod) -> _Step:
    lack = _unfinished_replacement(scene) if scene.workload.replicas else ""
    if not lack:
        refusal = guard.may_lose(scene.observation, scene.view, pod)
        if refusal is None:
            return _leave(scene, pod)
        return _Step(waiting=f"pod {pod.name} stays: {refusal.message}", refusal=refusal)
    late = pod.taken_at is not None and scene.now >= pod.taken_at + scene.spec.rollout.progress_deadline
    home = _home(scene, pod)
    if (
        (late or scene.wish.undo)
        and home is not None
        and _rank(scene, pod) < guard.spare(scene.observation, scene.view)
    ):
        return _Step(actions=(GiveBack(pod, home),), given_up=late, waiting=lack)
    left = _until(scene, pod.taken_at, scene.spec.rollout.progress_deadline)
    until = f", at the latest {scene.now + left:%H:%M:%S} UTC" if left is not None else ""
    return _Step(waiting=f"pod {pod.name} stays until its replacement serves{until}; {lack}", wait=left)


def _home(scene: Scene, pod: Pod) -> ReplicaSet | None:
    """The ReplicaSet that the pod came from, while its template is the current one."""
    template_hash = pod.labels.get("pod-template-hash", "")
    sets = scene.view.replica_sets
    return next((each for each in sets if each.is_current and each.template_hash == template_hash), None)


def _rank(scene: Scene, pod: Pod) -> int:
    """The pod's place among those that wait for a replacement: only as many are given back as there is room for."""
    waiting = [each.uid for each in scene.view.pods if each.step is ReplaceStep.REPLACING and not each.deleting]
    return waiting.index(pod.uid)


def _held(scene: Scene, pod: Pod) -> _Step | None:
    """After an outage of the API server nodes may still send clients to where they were before it."""
    left = scene.observation.unsettled
    if not left:
        return None
    return _Step(waiting=f"pod {pod.name} stays until every node has caught up: the API server was away", wait=left)


def _leave(scene: Scene, pod: Pod) -> _Step:
    held = _held(scene, pod)
    if held is not None:
        return held
    labels, stuck = guard.leave_labels(scene.observation, scene.view, pod)
    note = (
        f"pod {pod.name} cannot leave Service {', '.join(stuck)} before it ends: a NetworkPolicy selects pods by the "
        "same labels; its preStop hook has to cover it"
    )
    return _Step(actions=(Advance(pod, ReplaceStep.LEAVING, scene.now, labels),), note=note if stuck else "")


def _leaving(scene: Scene, pod: Pod) -> _Step:
    """Until no Service that the pod has left lists it any more; only then does the time begin to run."""
    held = _held(scene, pod)
    if held is not None:
        return held
    if guard.lingers(scene.observation, pod):
        return _Step(waiting=f"pod {pod.name} is leaving its Services", wait=GONE_POLL)
    return _Step(actions=(Advance(pod, ReplaceStep.LEFT, scene.now),))


def _left(scene: Scene, pod: Pod) -> _Step:
    held = _held(scene, pod)
    if held is not None:
        return held
    over = _time_to_leave(scene)
    wait = _until(scene, pod.step_since, over)
    if wait is not None:
        return _Step(waiting=f"pod {pod.name} has left its Services; waiting for every node to know", wait=wait)
    target = _signal_target(scene, pod)
    if target is None:
        return _Step(actions=(Advance(pod, ReplaceStep.DRAINING, scene.now),))
    # Never skipped, however late it is: the operator itself may have been away all the time.
    last = _until(scene, pod.step_since, over + SIGNAL_PATIENCE) is None
    refused = scene.observation.refusal if last else ""
    note = f"pod {pod.name} gets its drain signal for the last time and then goes: {refused}" if refused else ""
    return _Step(actions=(SendSignal(pod, target, scene.now, last),), wait=GONE_POLL, note=note)


def _time_to_leave(scene: Scene) -> timedelta:
    """Time until no client begins a connection to a pod that has left."""
    services = scene.observation.selecting
    if not scene.surges or not services:
        return timedelta()
    if all(service.cluster_ip for service in services):
        return scene.effective.propagation_delay
    return max(scene.effective.propagation_delay, HEADLESS_TTL)


def _draining(scene: Scene, pod: Pod) -> _Step:
    wait = _until(scene, pod.step_since, scene.spec.drain.max_wait)
    quiet, signal = scene.spec.drain.quiet, scene.spec.drain.signal
    active = scene.view.connections.get(pod.uid)
    if wait is None or (quiet is None and signal is None):
        return _delete(scene, pod)
    if quiet is None:
        return _Step(waiting=f"pod {pod.name} drains; its clients move over", wait=wait)
    if active is not None and active < quiet.http.below:
        return _delete(scene, pod)
    # Without the number: it changes all the time, and a changed sentence is a write.
    words = "does not say how many connections it has" if active is None else "still has connections"
    return _Step(waiting=f"pod {pod.name} drains; it {words}", wait=min(wait, QUIET_POLL))


def _delete(scene: Scene, pod: Pod) -> _Step:
    held = _held(scene, pod)
    if held is not None:
        return held
    refusal = guard.may_lose(scene.observation, scene.view, pod)
    if refusal is not None:
        return _Step(waiting=f"pod {pod.name} stays: {refusal.message}", refusal=refusal)
    if scene.surges:
        return _Step(actions=(DeletePod(pod, _grace(scene, pod)),))
    return _Step(actions=(EvictPod(pod, _grace(scene, pod)),))


def _grace(scene: Scene, pod: Pod) -> timedelta:
    """What the user set here, else what the pod has if that is more: a default must not shorten a long goodbye."""
    return scene.spec.drain.grace_period or max(pod.grace_period, scene.effective.grace_period)


def _signal_target(scene: Scene, pod: Pod) -> HttpTarget | None:
    signal = scene.spec.drain.signal
    if signal is None or not pod.ip:
        return None
    port = container_port(pod.ports, signal.http.port)
    if port is None:
        return None
    ref = signal.http.headers_from.secret_key_ref if signal.http.headers_from else None
    return HttpTarget(pod.ip, port, signal.http.path, secret=(ref.name, ref.key) if ref else None)


def _until(scene: Scene, since: datetime | None, span: timedelta) -> timedelta | None:
    """Time left of a span that began then; None when it is over."""
    left = (since or scene.now) + span - scene.now
    return left if left > timedelta() else None
