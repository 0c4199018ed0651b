"""Restarts by changed configuration: content of ConfigMaps and Secrets that the running pods do not have yet.

Each object is a check of its own, so one that is missing or cannot be read silences no other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.names import LABEL_READABLE
from resilience.api.restarts import ConfigKind
from resilience.api.status import Status
from resilience.api.status_restarts import ContentStatus
from resilience.core.model import wrong_parts
from resilience.core.model.check_state import NOT_LABELLED, CheckState
from resilience.core.model.context import Context
from resilience.core.model.decision import earliest
from resilience.core.model.probes import CheckTarget, ContentProbe
from resilience.core.model.workload import ConfigReference
from resilience.core.replacement import availability

# Begins the names of these checks, and is the name of all of them in metrics: names of objects come and go.
CONTENT_CHECK: Final = "restart/onchange"
# Several objects are often applied one after the other: their changes count as one.
COALESCED: Final = timedelta(seconds=5)
# The content is then read once more before a restart begins: a change observed later would cause another restart.
CONFIRMED: Final = COALESCED + timedelta(seconds=1)
# An object that never rests delays a change of the others for no longer.
LONGEST_WAIT: Final = timedelta(minutes=1)
_CONFIRMING_INTERVAL: Final = timedelta(seconds=1)
# The operator may read Secrets but not watch them, and the kubelet brings a change to the pods no sooner than this.
CONTENT_INTERVAL: Final = timedelta(seconds=20)
# Most objects that `mounted` finds: each one is a read every 20 s.
MOST_MOUNTED: Final = 32
_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Change:
    """Content that has settled and that the pods do not have. `since`: the time at which the last of it was read."""

    contents: tuple[ContentStatus, ...]
    since: datetime


def check_name(kind: str, name: str) -> str:
    """Name of the check that reads an object; names of checks in the spec contain no slash."""
    return f"{CONTENT_CHECK}/{kind}/{name}"


def targets(context: Context) -> Iterator[CheckTarget]:
    """The checks that read the content of what spec.restart.onChange names or finds."""
    interval = _CONFIRMING_INTERVAL if _is_confirming(context) else CONTENT_INTERVAL
    for entry in _objects(context):
        yield CheckTarget(
            check=check_name(entry.kind, entry.name),
            probe=ContentProbe(context.workload.namespace, entry.kind, entry.name, entry.optional),
            pod_uid="",
            interval=interval,
            timeout=context.effective.timeout,
            failure_threshold=1,
            success_threshold=1,
        )


def settled(context: Context) -> tuple[Change | None, timedelta | None]:
    """The settled content that differs from that of the pods, or else the time that a change still has to settle.

    Both are None when the pods have the content, or it cannot be read.
    """
    changed, now = _changed(context), context.now
    if not changed or context.observation.pods is None:
        return None, None
    resting = tuple(entry for entry in changed if entry.changed_at + CONFIRMED <= now)
    dues = [entry.changed_at + span for entry in changed for span in (COALESCED, CONFIRMED)]
    if resting:
        dues.append(min(entry.changed_at for entry in resting) + LONGEST_WAIT)
    if len(resting) == len(changed) or (resting and dues[-1] <= now):
        return Change(resting, max(entry.changed_at for entry in resting)), None
    return None, earliest(*(due - now for due in dues if due > now))


def remember(context: Context) -> Status:
    """The status with the content that the pods are assumed to have.

    That is the first content of each object, and any content that all pods were created after.
    """
    status, restarts = context.status, context.status.restarts
    # What pods have must not be lost while onChange cannot be read.
    is_unread = not context.spec.restart.on_change and wrong_parts.lacks(context.resource, "restart")
    if is_unread or (context.spec.restart.on_change and context.observation.pods is None):
        return status
    known = {(entry.kind, entry.name): entry for entry in restarts.contents}
    assumed = [_assumed(context, entry, known.get((entry.kind, entry.name))) for entry in _objects(context)]
    contents = [entry for entry in assumed if entry is not None]
    if restarts.config is None and contents == restarts.contents:
        return status
    # The one hash of the version before cannot tell which object changed: the first content counts, as at any start.
    return status.model_copy(update={"restarts": restarts.model_copy(update={"contents": contents, "config": None})})


def not_judged(context: Context) -> list[str]:
    """Messages about objects that cannot be read or are left out, with the fix."""
    silent = [(entry, state) for entry in _objects(context) if (state := _state(context, entry)) and state.silent]
    named = {(entry.kind, entry.name) for entry in context.spec.restart.on_change}
    left_out, unread = [], []
    for entry, state in silent:
        if state.reason == NOT_LABELLED and (entry.kind, entry.name) not in named:
            left_out.append(entry.name)
        else:
            unread.append(state.message)
    messages = [f"restart.onChange cannot be judged: {_some(unread, '; ')}"] if unread else []
    if left_out:
        messages.append(
            f"restart.onChange leaves out mounted Secrets that are not labelled {LABEL_READABLE}=true: "
            f"{_some(left_out, ', ')}; label them, or name them in ignore"
        )
    if (surplus := len(_mounted(context)) - MOST_MOUNTED) > 0:
        messages.append(
            f"restart.onChange leaves out {surplus} mounted objects, the last ones by kind and name: it follows "
            f"{MOST_MOUNTED}; name some in ignore"
        )
    return messages


def _objects(context: Context) -> list[ConfigReference]:
    """The objects that count: those that the spec names, then those that pods mount, each once."""
    named = {
        (entry.kind, entry.name): ConfigReference(entry.kind, entry.name, entry.optional)
        for entry in context.spec.restart.on_change
        if entry.kind is not None and entry.name is not None
    }
    return [*named.values(), *_mounted(context)[:MOST_MOUNTED]]


def _mounted(context: Context) -> list[ConfigReference]:
    """The objects that the pods mount or read into the environment, without those that the spec names or ignores."""
    on_change, view = context.spec.restart.on_change, context.observation.pods
    if not any(entry.mounted for entry in on_change):
        return []
    # Pods may be those of another template than the newest: a failed one is not theirs.
    serving = [entry for entry in (view.replica_sets if view is not None else ()) if entry.replicas]
    lists = [entry.configs for entry in serving] or [context.workload.template.configs]
    found: dict[tuple[ConfigKind, str], ConfigReference] = {}
    for entry in (entry for entries in lists for entry in entries):
        before = found.setdefault((entry.kind, entry.name), entry)
        if before.optional:
            found[entry.kind, entry.name] = entry
    named = {(entry.kind, entry.name) for entry in on_change}
    ignored = {name for entry in on_change if entry.mounted for name in entry.ignore}
    return [found[key] for key in sorted(found) if key not in named and key[1] not in ignored]


def _changed(context: Context) -> list[ContentStatus]:
    """The content that differs from that of the pods; `changed_at` is the time at which it was first read."""
    known = {(entry.kind, entry.name): entry for entry in context.status.restarts.contents}
    changed = []
    for entry in _objects(context):
        state, before = _state(context, entry), known.get((entry.kind, entry.name))
        if state is None or state.silent or before is None or state.fingerprint in ("", before.fingerprint):
            continue
        since = state.read_since or context.now
        changed.append(before.model_copy(update={"fingerprint": state.fingerprint, "changed_at": since}))
    return changed


def _assumed(context: Context, entry: ConfigReference, known: ContentStatus | None) -> ContentStatus | None:
    state, view = _state(context, entry), context.observation.pods
    if state is None or not state.fingerprint or view is None:
        return known
    since = state.read_since or state.since
    if known is not None:
        is_same = known.fingerprint == state.fingerprint
        is_comparable = _epoch(known.fingerprint) == _epoch(state.fingerprint)
        if is_same or (is_comparable and any(pod.created <= since for pod in availability.staying(view))):
            return known
    return ContentStatus(kind=entry.kind, name=entry.name, fingerprint=state.fingerprint, changed_at=since)


def _is_confirming(context: Context) -> bool:
    """Changed content is due for its last read. A check whose interval changes runs at once."""
    return any(
        entry.changed_at + COALESCED <= context.now < entry.changed_at + CONFIRMED for entry in _changed(context)
    )


def _state(context: Context, entry: ConfigReference) -> CheckState | None:
    return context.observation.checks.get(check_name(entry.kind, entry.name))


def _epoch(fingerprint: str) -> str:
    """The part of a fingerprint that names its key: a new key is not a change of content."""
    return fingerprint.partition("-")[0]


def _some(words: list[str], separator: str) -> str:
    shown = separator.join(words[:_MOST_NAMED])
    return f"{shown} and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else shown
