"""Publication of the flags: their version in status, then the ConfigMap, then an annotation of each pod.

Level-triggered: what is published follows from status, and only what differs is written.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final
from zlib import crc32

from resilience.api.names import flags_config_map
from resilience.api.reasons import Reason
from resilience.api.status import Status
from resilience.api.status_flags import FlagsStatus, FlagStatus
from resilience.core.model import flags
from resilience.core.model.context import Context
from resilience.core.model.decision import SOON, Action, Event, PublishFlags, RemoveFlags, StepResult, TellPods
from resilience.core.model.flags import Publication, PublishedFlag
from resilience.core.model.observation import Observation, Pod, Resource

# All pods of a service must not come back from its memory in the same moment.
BATCH: Final = 50


def number(context: Context, before: Status) -> StepResult:
    """The status with a new version of the flags when applications see a change. `before`: as it was published."""
    after = context.status
    published = _published(context, before)
    events = _unpublished(before.flags, published)
    return StepResult(after.model_copy(update={"flags": published}), events=events)


def publication(resource: Resource, status: Status) -> Publication | None:
    """What every channel has to say; None when there are no flags."""
    if status.flags is None:
        return None
    told = status.flags
    found = tuple(PublishedFlag(each.name, each.on, each.mode, each.reason, each.since) for each in status.degradation)
    return Publication(resource.key.namespace, resource.key.name, told.version, told.updated_at, found)


def publish(context: Context) -> StepResult:
    """Write what is not published yet. When there are more pods than a batch, the others follow in a later pass."""
    observation, status = context.observation, context.status
    wanted, shown = publication(context.resource, status), observation.flags_map
    if wanted is None:
        gone = (RemoveFlags(),) if shown is not None and shown.ours else ()
        actions: tuple[Action, ...] = (*gone, *_tell(_pods(observation, lambda pod: bool(pod.flags)), None, status))
        return StepResult(status, actions, requeue_after=SOON if actions else None)
    is_stale = shown is None or (shown.ours and dict(shown.data) != flags.config_map_data(wanted))
    value = flags.annotation(wanted)
    # A pod that never had the annotation needs none while nothing is degraded.
    behind = _pods(observation, lambda pod: pod.flags != value and (wanted.any_on or bool(pod.flags)))
    actions = (*((PublishFlags(wanted),) if is_stale else ()), *_tell(behind[:BATCH], value, status))
    wait = _pause(behind) if len(behind) > BATCH else SOON
    return StepResult(status, actions, requeue_after=wait if actions else None)


def withdraw(seen: Observation) -> tuple[Action, ...]:
    """Nothing is told any more: whoever asks next finds nothing, which means that nothing is degraded."""
    gone = (RemoveFlags(),) if seen.flags_map is not None and seen.flags_map.ours else ()
    told = _pods(seen, lambda pod: bool(pod.flags))
    return (*gone, *((TellPods(told, None),) if told else ()))


def _pods(seen: Observation, behind: Callable[[Pod], bool]) -> tuple[Pod, ...]:
    """Pods of both colours, in an order that mixes nodes and ages."""
    if seen.pods is None:
        return ()
    green = seen.pods.green.pods if seen.pods.green is not None else ()
    found = [pod for pod in (*seen.pods.pods, *green) if not pod.deleting and behind(pod)]
    return tuple(sorted(found, key=lambda pod: _mixed(pod.uid)))


def _tell(pods: tuple[Pod, ...], value: str | None, status: Status) -> tuple[TellPods, ...]:
    return (TellPods(pods, value, status.flags.updated_at if status.flags is not None else None),) if pods else ()


def _pause(behind: tuple[Pod, ...]) -> timedelta:
    """Between two batches: half a second to one and a half, by chance that a repeated look does not change."""
    return timedelta(milliseconds=500 + _mixed(behind[BATCH].uid) % 1000)


def _mixed(uid: str) -> int:
    return crc32(uid.encode())


def _unpublished(before: FlagsStatus | None, after: FlagsStatus | None) -> tuple[Event, ...]:
    if after is None or not after.problem or (before is not None and before.problem):
        return ()
    return (Event(Reason.FLAGS_NOT_PUBLISHED, after.problem, warning=True),)


def _published(context: Context, before: Status) -> FlagsStatus | None:
    after, shown = context.status, context.observation.flags_map
    if not after.degradation:
        return None
    known, name = before.flags, flags_config_map(context.resource.key.name)
    foreign = shown is not None and not shown.ours
    problem = f"ConfigMap {name} is not the operator's: rename or delete it, and it is published" if foreign else ""
    if known is not None and _content(before.degradation) == _content(after.degradation):
        return known.model_copy(update={"problem": problem})
    version = known.version + 1 if known is not None else 1
    return FlagsStatus(version=version, updated_at=context.now, config_map=name, problem=problem)


def _content(found: Sequence[FlagStatus]) -> list[tuple[str, bool, str]]:
    return [(each.name, each.on, each.mode) for each in found]
