"""Restarts that nobody asked for: policies that fire and configuration that changed, until a restart begins.

What fires is said in status whether anything is done about it or not, with what holds it back and until when. How the
pods are then replaced is the same for every restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from resilience.api.reasons import HealthState, Reason
from resilience.api.restarts import Policy
from resilience.api.status import Effective, Status
from resilience.api.status_restarts import ConfigStatus, FiringPolicy, PastRestart, PodReference, RestartStatus
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetKind
from resilience.core.model import trace_ids
from resilience.core.model.decision import Event
from resilience.core.model.observation import Observation, Pod, Resource, Ticket
from resilience.core.model.probes import CheckTarget, ContentProbe
from resilience.core.replacement import availability
from resilience.core.restarts import limits, policies
from resilience.core.restarts.limits import Blocker
from resilience.core.restarts.policies import Firing

# No name of a check of the spec has a slash.
CONTENT_CHECK: Final = "restart/onchange"
# Several objects are often applied one after the other: their changes are one.
COALESCED: Final = timedelta(seconds=5)
# Then it is read once more, and this is waited for: a second change seen after the restart would cause another one.
CONFIRMED: Final = COALESCED + timedelta(seconds=1)
_CONFIRMING_INTERVAL: Final = timedelta(seconds=1)
# Secrets may only be read, not watched; the kubelet brings a change to the pods no sooner.
CONTENT_INTERVAL: Final = timedelta(seconds=20)
# The answer to a question for a turn comes with the next look, at the latest after this time.
_ANSWER: Final = timedelta(seconds=2)
# What holds a policy back without an end that is known may end unseen.
_LOOK_AGAIN: Final = timedelta(seconds=15)
# Of a new pod nothing is known at first, which is no news.
FIGURES_COME: Final = timedelta(minutes=1)
_MOST_PODS: Final = 50


@dataclass(frozen=True, slots=True)
class Look:
    """Outcome: the status, what to tell, when to look again, and whether a turn in the queue is asked for."""

    status: Status
    events: tuple[Event, ...] = ()
    wait: timedelta | None = None
    ticket: Ticket | None = None
    # Whether a restart was begun.
    begun: bool = False


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why something is to be restarted; `pods` empty for all of them."""

    words: str
    names: tuple[str, ...] = ()
    pods: tuple[Pod, ...] = ()
    fingerprint: str = ""
    # Pods that were made later have what changed.
    before: datetime | None = None


def unknown(spec: ResilientServiceSpec, seen: Observation, now: datetime) -> tuple[str, ...]:
    """What cannot be judged, and so never restarts anything, with what to do about it."""
    found = [lack] if (lack := policies.lacking(spec, seen)) else []
    content = seen.checks.get(CONTENT_CHECK)
    if content is not None and content.silent:
        found.append(f"restart.onChange cannot be judged: {content.message}")
    for policy in spec.restart.policies:
        state = seen.checks.get(policies.PREFIX + policy.name)
        unheard = state is not None and state.state is HealthState.UNKNOWN and state.silent
        if state is not None and unheard and now > state.since + FIGURES_COME:
            found.append(f"policy {policy.name} cannot be judged: {state.message}")
    return tuple(found)


def watched(
    spec: ResilientServiceSpec, effective: Effective, seen: Observation, status: Status, now: datetime
) -> tuple[CheckTarget, ...]:
    """What is measured and read to know whether something is to be restarted."""
    found = policies.watched(spec, effective, seen, now)
    if not spec.restart.on_change or seen.workload is None:
        return found
    objects = tuple(sorted((each.kind.value, each.name) for each in spec.restart.on_change))
    content = CheckTarget(
        check=CONTENT_CHECK,
        probe=ContentProbe(seen.workload.namespace, objects),
        pod_uid="",
        interval=_CONFIRMING_INTERVAL if _confirming(seen, status, now) else CONTENT_INTERVAL,
        timeout=effective.timeout,
        failure_threshold=1,
        success_threshold=1,
    )
    return (*found, content)


def look(
    resource: Resource,
    spec: ResilientServiceSpec,
    effective: Effective,
    seen: Observation,
    status: Status,
    now: datetime,
) -> Look:
    """What fires, and whether it may restart something now."""
    if seen.pods is None:
        # Pods are read wherever something may fire.
        return Look(_idle(_known_content(spec, seen, status), effective, now))
    fired = policies.firing(spec, effective, seen, now)
    acting = [each for each in fired if not each.policy.dry_run]
    status, loops = limits.note_loops(effective, _known_content(spec, seen, status), acting, now)
    news = (*_dry_runs(status, fired), *_loops(loops))
    told = Look(_told(status, fired, effective, now), news, policies.next_due(spec, effective, seen, now))
    if status.restart is not None:
        return replace(told, status=_blocked(told.status, None))
    change, wait = _change(spec, seen, status, now)
    told = replace(told, wait=_sooner(told.wait, wait))
    if change is None and not acting:
        return replace(told, status=_blocked(told.status, None))
    if spec.suspend:
        return replace(told, status=_blocked(told.status, Blocker("Suspended", "spec.suspend is set")))
    free, block = tuple(acting), _impossible(seen)
    if block is None and change is not None:
        block = limits.moving(seen)
    elif block is None:
        free, block = limits.allowed(spec, effective, seen, status, acting, now)
    if block is not None:
        return _held(told, block, status, now)
    return _in_turn(told, resource, spec, effective, seen, change or _of_policies(free), now)


def _idle(status: Status, effective: Effective, now: datetime) -> Status:
    """Nothing fires, or nobody looks."""
    return _blocked(_told(status, (), effective, now), None)


def _in_turn(
    told: Look,
    resource: Resource,
    spec: ResilientServiceSpec,
    effective: Effective,
    seen: Observation,
    cause: _Cause,
    now: datetime,
) -> Look:
    turn = seen.turn
    if turn is not None and turn.granted:
        return _begin(told, resource, effective, seen, cause, now)
    told = replace(told, ticket=Ticket(resource.key, spec.restart.priority, now))
    if turn is None or turn.expected is None:
        # Asked for with this pass; the next one has the answer.
        return replace(told, status=_blocked(told.status, None), wait=_sooner(told.wait, _ANSWER))
    expected = timedelta(seconds=ceil(turn.expected.total_seconds()))
    # Without its place: that changes with every restart of another one, and a changed sentence is a write.
    words = "a few services restart pods at a time, and others go before it"
    status = _blocked(told.status, Blocker("Queued", words, now + expected), ahead=turn.ahead)
    return replace(told, status=status, wait=_sooner(told.wait, max(expected, _ANSWER)))


def _held(told: Look, block: Blocker, before: Status, now: datetime) -> Look:
    events = told.events
    if block.reason not in (before.restarts.blocked_by, "RestartLoop"):
        events = (*events, Event(Reason.POLICY_BLOCKED, block.message))
    wait = block.until - now if block.until is not None else _LOOK_AGAIN
    return replace(told, status=_blocked(told.status, block), events=events, wait=_sooner(told.wait, wait))


def _begin(
    told: Look,
    resource: Resource,
    effective: Effective,
    seen: Observation,
    cause: _Cause,
    now: datetime,
) -> Look:
    assert seen.pods is not None
    pods = availability.staying(seen.pods)
    born_before = max((pod.created for pod in pods), default=now)
    if cause.before is not None:
        born_before = min(born_before, cause.before)
    begun = RestartStatus(
        reason=cause.words[:1024],
        policies=list(cause.names),
        only=[PodReference(name=pod.name, uid=pod.uid) for pod in cause.pods],
        trace_id=trace_ids.new(resource.uid, now),
        started_at=now,
        born_before=born_before,
        total=len(cause.pods) or sum(pod.created <= born_before for pod in pods),
    )
    restarts = told.status.restarts
    if cause.names:
        entry = PastRestart(at=now, policies=list(cause.names))
        restarts = restarts.model_copy(update={"recent": [*restarts.recent, entry][-limits.MOST :]})
    if cause.fingerprint:
        known = ConfigStatus(fingerprint=cause.fingerprint, changed_at=cause.before or now)
        restarts = restarts.model_copy(update={"config": known})
    words = f"restart of {begun.total} pod{'s' if begun.total != 1 else ''} began: {cause.words}"
    status = told.status.model_copy(update={"restart": begun, "restarts": restarts})
    event = Event(Reason.RESTART_STARTED, f"{words} (trace {begun.trace_id})")
    return replace(told, status=_blocked(status, None), events=(*told.events, event), begun=True)


def _of_policies(acting: Sequence[Firing]) -> _Cause:
    """All reasons together are one restart; the pod that most policies fire for goes first, then the oldest."""
    pods = {each.pod.uid: each.pod for each in acting}
    count = {uid: sum(each.pod.uid == uid for each in acting) for uid in pods}
    worst = sorted(pods.values(), key=lambda pod: (-count[pod.uid], pod.created, pod.name))[:_MOST_PODS]
    names = tuple(dict.fromkeys(each.policy.name for each in acting))
    shown = {name: next(each for each in acting if each.policy.name == name) for name in names}
    words = "; ".join(f"policy {name}: {each.message}" for name, each in shown.items())
    return _Cause(words, names, tuple(worst))


def _change(
    spec: ResilientServiceSpec, seen: Observation, status: Status, now: datetime
) -> tuple[_Cause | None, timedelta | None]:
    """Content that the pods do not have yet, once it has settled."""
    since = _changed_since(seen, status, now)
    if since is None or seen.pods is None:
        return None, None
    for due in (since + COALESCED, since + CONFIRMED):
        if now < due:
            return None, due - now
    state = seen.checks[CONTENT_CHECK]
    named = ", ".join(f"{each.kind} {each.name}" for each in spec.restart.on_change)
    return _Cause(f"the content of {named} changed", fingerprint=state.fingerprint, before=since), None


def _changed_since(seen: Observation, status: Status, now: datetime) -> datetime | None:
    """Since when content is read that the pods do not have; None while they have it, or it cannot be read."""
    state, known = seen.checks.get(CONTENT_CHECK), status.restarts.config
    if state is None or state.silent or known is None or state.fingerprint in ("", known.fingerprint):
        return None
    return state.read_since or now


def _confirming(seen: Observation, status: Status, now: datetime) -> bool:
    """Whether changed content is to be read for the last time: a check with another interval is asked at once."""
    since = _changed_since(seen, status, now)
    return since is not None and since + COALESCED <= now < since + CONFIRMED


def _known_content(spec: ResilientServiceSpec, seen: Observation, status: Status) -> Status:
    """What the pods are taken to have: what is there at the first look, and what all of them were made after."""
    state, known = seen.checks.get(CONTENT_CHECK), status.restarts.config
    if not spec.restart.on_change:
        return _with_config(status, None)
    if state is None or not state.fingerprint or seen.pods is None:
        return status
    since = state.read_since or state.since
    if known is not None:
        same = _objects(known.fingerprint) == _objects(state.fingerprint)
        if same and any(pod.created <= since for pod in availability.staying(seen.pods)):
            return status
    return _with_config(status, ConfigStatus(fingerprint=state.fingerprint, changed_at=since))


def _objects(fingerprint: str) -> str:
    """Which objects were read: others are no change of these."""
    return fingerprint.partition("-")[0]


def _with_config(status: Status, config: ConfigStatus | None) -> Status:
    known = status.restarts.config
    if (known and known.fingerprint) == (config and config.fingerprint):
        return status
    return status.model_copy(update={"restarts": status.restarts.model_copy(update={"config": config})})


def _impossible(seen: Observation) -> Blocker | None:
    """What no policy may do whatever the time: a twin that cannot be, or the last pod of a kind without surge."""
    workload, view = seen.workload, seen.pods
    assert workload is not None and view is not None
    if workload.kind is TargetKind.DEPLOYMENT:
        refusal = availability.replacement_refusal(workload, view) or availability.too_strict(workload, view)
        return Blocker(refusal.reason, refusal.message) if refusal is not None else None
    full = availability.full_budget(view)
    if full is not None:
        return Blocker(full.reason, full.message)
    if workload.replicas == 1:
        words = f"a {workload.kind} cannot surge and this is its only pod: only a person may restart it"
        return Blocker("LastReplica", words)
    return None


def _told(status: Status, fired: Sequence[Firing], effective: Effective, now: datetime) -> Status:
    """What fires, one entry a policy."""
    by_policy: dict[str, list[Firing]] = {}
    for each in fired:
        by_policy.setdefault(each.policy.name, []).append(each)
    firing = [_entry(found[0].policy, found) for found in by_policy.values()]
    update = {"firing": firing, "recent": limits.recent(status, effective, now)}
    return status.model_copy(update={"restarts": status.restarts.model_copy(update=update)})


def _entry(policy: Policy, found: Sequence[Firing]) -> FiringPolicy:
    return FiringPolicy(name=policy.name, pods=len(found), message=found[0].message[:1024], dry_run=policy.dry_run)


def _loops(names: Sequence[str]) -> tuple[Event, ...]:
    return (Event(Reason.RESTART_LOOP, limits.loop_words(names), warning=True),) if names else ()


def _dry_runs(before: Status, fired: Sequence[Firing]) -> tuple[Event, ...]:
    """A dry run says once what it would have done."""
    known = {each.name for each in before.restarts.firing}
    new = {each.policy.name: each for each in reversed(fired) if each.policy.dry_run and each.policy.name not in known}
    return tuple(
        Event(Reason.WOULD_RESTART, f"policy {name} (dryRun) would restart: {each.message}")
        for name, each in sorted(new.items())
    )


def _blocked(status: Status, block: Blocker | None, *, ahead: int | None = None) -> Status:
    update = {
        "ahead": ahead,
        "blocked_by": block.reason if block is not None else "",
        "message": block.message[:1024] if block is not None else "",
        "next_allowed_at": block.until if block is not None else None,
    }
    return status.model_copy(update={"restarts": status.restarts.model_copy(update=update)})


def _sooner(one: timedelta | None, other: timedelta | None) -> timedelta | None:
    return min((each for each in (one, other) if each is not None), default=None)
