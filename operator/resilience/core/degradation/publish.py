"""Publication of the flags: their version in status, then the ConfigMap, then an annotation of each pod.

Level-triggered: the content to publish follows from status, and only differences are written.
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

# The pods of a service must not all leave their memory fallback at the same moment.
BATCH: Final = 50


def number(context: Context, before: Status) -> StepResult:
    """The status with a new version of the flags when applications see a change. `before`: the published status."""
    after = context.status
    published = _published(context, before)
    events = _unpublished(before.flags, published)
    return StepResult(after.model_copy(update={"flags": published}), events=events)


def publication(resource: Resource, status: Status) -> Publication | None:
    """The content for every channel; None when there are no flags."""
    if status.flags is None:
        return None
    state = status.flags
    published = tuple(
        PublishedFlag(flag.name, flag.on, flag.mode, flag.reason, flag.since) for flag in status.degradation
    )
    return Publication(resource.key.namespace, resource.key.name, state.version, state.updated_at, published)


def publish(context: Context) -> StepResult:
    """Write what is not published yet. When there are more pods than a batch, the others follow in a later pass."""
    observation, status = context.observation, context.status
    wanted, shown = publication(context.resource, status), observation.flags_map
    if wanted is None:
        gone = (RemoveFlags(),) if shown is not None and shown.ours else ()
        actions: tuple[Action, ...] = (*gone, *_annotate(_pods(observation, lambda pod: bool(pod.flags)), None, status))
        return StepResult(status, actions, requeue_after=SOON if actions else None)
    is_stale = shown is None or (shown.ours and dict(shown.data) != flags.config_map_data(wanted))
    value = flags.annotation(wanted)
    # A pod that never had the annotation needs none while nothing is degraded.
    behind = _pods(observation, lambda pod: pod.flags != value and (wanted.any_on or bool(pod.flags)))
    actions = (*((PublishFlags(wanted),) if is_stale else ()), *_annotate(behind[:BATCH], value, status))
    wait = _pause(behind) if len(behind) > BATCH else SOON
    return StepResult(status, actions, requeue_after=wait if actions else None)


def withdraw(observation: Observation) -> tuple[Action, ...]:
    """Remove everything published: an application that then reads no flags assumes that nothing is degraded."""
    gone = (RemoveFlags(),) if observation.flags_map is not None and observation.flags_map.ours else ()
    annotated = _pods(observation, lambda pod: bool(pod.flags))
    return (*gone, *((TellPods(annotated, None),) if annotated else ()))


def _pods(observation: Observation, is_selected: Callable[[Pod], bool]) -> tuple[Pod, ...]:
    """The selected pods of both colours, in an order that mixes nodes and ages."""
    if observation.pods is None:
        return ()
    green = observation.pods.green.pods if observation.pods.green is not None else ()
    pods = [pod for pod in (*observation.pods.pods, *green) if not pod.deleting and is_selected(pod)]
    return tuple(sorted(pods, key=lambda pod: _hash(pod.uid)))


def _annotate(pods: tuple[Pod, ...], value: str | None, status: Status) -> tuple[TellPods, ...]:
    return (TellPods(pods, value, status.flags.updated_at if status.flags is not None else None),) if pods else ()


def _pause(behind: tuple[Pod, ...]) -> timedelta:
    """Pause between two batches: 0.5 s to 1.5 s, pseudorandom, and the same when a pass is repeated."""
    return timedelta(milliseconds=500 + _hash(behind[BATCH].uid) % 1000)


def _hash(uid: str) -> int:
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
    is_foreign = shown is not None and not shown.ours
    problem = f"ConfigMap {name} is not the operator's: rename or delete it, and it is published" if is_foreign else ""
    if known is not None and _content(before.degradation) == _content(after.degradation):
        return known.model_copy(update={"problem": problem})
    version = known.version + 1 if known is not None else 1
    return FlagsStatus(version=version, updated_at=context.now, config_map=name, problem=problem)


def _content(statuses: Sequence[FlagStatus]) -> list[tuple[str, bool, str]]:
    return [(flag.name, flag.on, flag.mode) for flag in statuses]
