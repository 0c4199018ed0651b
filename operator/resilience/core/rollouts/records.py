"""Corrects what is recorded about templates when the hash of an unchanged template has become another.

A fingerprint is compared with those of the same read wherever that is possible. Only a stored one can go stale: by a
later API server that defaults one more field, or by a later operator that hashes anew. That shows by a template which
must have a ReplicaSet and has none. Its image then tells which template is meant.
"""

from collections.abc import Sequence

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_PAUSED_FOR
from resilience.api.status import Status
from resilience.api.status_rollout import Version
from resilience.core.model.actions import Hold, MarkFailed, PauseFailed
from resilience.core.model.decision import Action
from resilience.core.rollouts.context import RolloutContext


def correction(context: RolloutContext) -> tuple[Action, ...]:
    """Writes that make the records on a held target right; none when they are, or while the target has no pods."""
    serving = context.serving
    if context.leaving or not context.is_adopted or not context.workload.paused or not context.workload.replicas:
        return ()
    if not serving or serving == context.noted:
        return ()
    if context.failed(serving):
        # `kubectl rollout undo` restored an old record of a template that has been released since.
        return (MarkFailed(""), Hold(serving))
    return (*([MarkFailed(context.wanted)] if is_failed_again(context) else []), Hold(serving))


def correction_of_pause(context: RolloutContext) -> tuple[Action, ...]:
    """The write that renews the record of a rolling update that the operator paused; none when it is right."""
    paused_for = context.workload.annotations.get(ANNOTATION_PAUSED_FOR, "")
    is_same = bool(paused_for) and paused_for != context.wanted and _is_failed_template(context, paused_for)
    return (PauseFailed(context.wanted),) if is_same and context.workload.paused else ()


def refreshed(context: RolloutContext) -> Status:
    """The status, with the present fingerprints of the templates that its rollout names."""
    status = context.status.rollout
    if not has_drifted(context):
        return context.status
    live = _live(context)
    names = {"serving": status.serving, "candidate": status.candidate}
    renamed: dict[str, object] = {name: _renamed(version, live) for name, version in names.items()}
    if status.failure is not None:
        failed = _renamed(status.failure.version, live)
        renamed["failure"] = status.failure.model_copy(update={"version": failed})
    return context.status.model_copy(update={"rollout": status.model_copy(update=renamed)})


def has_drifted(context: RolloutContext) -> bool:
    """The template that is recorded as serving has no ReplicaSet, although pods are there: its hash is another now."""
    version = context.status.rollout.serving
    stored = context.noted or (version.hash if version is not None else "")
    fingerprints = {replica_set.fingerprint for replica_set in context.view.replica_sets}
    has_pods = any(replica_set.replicas for replica_set in context.view.replica_sets)
    return bool(stored) and has_pods and stored not in fingerprints


def is_failed_again(context: RolloutContext) -> bool:
    """The wanted template is the one that failed, but the mark on the target has the fingerprint that it had then."""
    noted = context.workload.annotations.get(ANNOTATION_FAILED, "")
    is_other = context.wanted != context.serving and not context.failed(context.wanted)
    return is_other and _is_failed_template(context, noted)


def _is_failed_template(context: RolloutContext, noted: str) -> bool:
    """The wanted template is the one that was recorded as failed by this fingerprint, under another hash."""
    failure = context.base.resource.status.rollout.failure
    image = context.workload.template.image(context.spec.container)
    return has_drifted(context) and failure is not None and failure.version == Version(hash=noted, image=image)


def _live(context: RolloutContext) -> list[Version]:
    """The templates of the target, of green and of the ReplicaSets that have pods, in short."""
    container, green = context.spec.container, context.view.green
    templates = [context.workload.template, *([green.workload.template] if green is not None else [])]
    versions = {template.fingerprint: template.image(container) for template in templates}
    for replica_set in context.view.replica_sets:
        if replica_set.replicas:
            versions.setdefault(replica_set.fingerprint, context.image_of(replica_set.fingerprint))
    return [Version(hash=fingerprint, image=image) for fingerprint, image in versions.items()]


def _renamed(version: Version | None, live: Sequence[Version]) -> Version | None:
    """The same version under its present fingerprint; as it is when no live one, or more than one, has its image."""
    if version is None or any(other.hash == version.hash for other in live):
        return version
    matching = [other for other in live if other.image == version.image]
    return matching[0] if len(matching) == 1 else version
