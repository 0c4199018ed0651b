"""Restarts by changed configuration: content of ConfigMaps and Secrets that the running pods do not have yet."""

from datetime import datetime, timedelta
from typing import Final

from resilience.api.status import Status
from resilience.api.status_restarts import ConfigStatus
from resilience.core.model import wrong_parts
from resilience.core.model.check_state import CheckState
from resilience.core.model.context import Context
from resilience.core.model.probes import CheckTarget, ContentProbe
from resilience.core.replacement import availability

# Check names in the spec contain no slash.
CONTENT_CHECK: Final = "restart/onchange"
# Several objects are often applied one after the other: their changes count as one.
COALESCED: Final = timedelta(seconds=5)
# The content is then read once more before a restart begins: a change observed later would cause another restart.
CONFIRMED: Final = COALESCED + timedelta(seconds=1)
_CONFIRMING_INTERVAL: Final = timedelta(seconds=1)
# The operator may read Secrets but not watch them, and the kubelet brings a change to the pods no sooner than this.
CONTENT_INTERVAL: Final = timedelta(seconds=20)


def target(context: Context) -> CheckTarget | None:
    """The check that reads the content; None when spec.restart.onChange names nothing."""
    if not context.spec.restart.on_change:
        return None
    objects = tuple(sorted((entry.kind.value, entry.name) for entry in context.spec.restart.on_change))
    return CheckTarget(
        check=CONTENT_CHECK,
        probe=ContentProbe(context.workload.namespace, objects),
        pod_uid="",
        interval=_CONFIRMING_INTERVAL if _is_confirming(context) else CONTENT_INTERVAL,
        timeout=context.effective.timeout,
        failure_threshold=1,
        success_threshold=1,
    )


def state(context: Context) -> CheckState | None:
    """The state of the content check; None before its first result."""
    return context.observation.checks.get(CONTENT_CHECK)


def settled(context: Context) -> tuple[datetime | None, timedelta | None]:
    """The time since which settled content differs from that of the pods, or the time a change still has to settle.

    Both are None when the pods have the content, or it cannot be read.
    """
    since = _changed_since(context)
    if since is None or context.observation.pods is None:
        return None, None
    for due in (since + COALESCED, since + CONFIRMED):
        if context.now < due:
            return None, due - context.now
    return since, None


def remember(context: Context) -> Status:
    """The status with the content that the pods are assumed to have.

    That is the first content, and any content that all pods were created after.
    """
    status, known, check = context.status, context.status.restarts.config, state(context)
    if not context.spec.restart.on_change:
        # One that cannot be read for a while must not lose what the pods have.
        return status if wrong_parts.lacks(context.resource, "restart") else _with_config(status, None)
    if check is None or not check.fingerprint or context.observation.pods is None:
        return status
    since = check.read_since or check.since
    if known is not None:
        is_same = _objects(known.fingerprint) == _objects(check.fingerprint)
        if is_same and any(pod.created <= since for pod in availability.staying(context.observation.pods)):
            return status
    return _with_config(status, ConfigStatus(fingerprint=check.fingerprint, changed_at=since))


def _changed_since(context: Context) -> datetime | None:
    check, known = state(context), context.status.restarts.config
    if check is None or check.silent or known is None or check.fingerprint in ("", known.fingerprint):
        return None
    return check.read_since or context.now


def _is_confirming(context: Context) -> bool:
    """The changed content is due for its last read. A check whose interval changes runs at once."""
    since = _changed_since(context)
    return since is not None and since + COALESCED <= context.now < since + CONFIRMED


def _objects(fingerprint: str) -> str:
    """The part of a fingerprint that names the objects: a different list of objects is not a change of content."""
    return fingerprint.partition("-")[0]


def _with_config(status: Status, config: ConfigStatus | None) -> Status:
    known = status.restarts.config
    if (known and known.fingerprint) == (config and config.fingerprint):
        return status
    return status.model_copy(update={"restarts": status.restarts.model_copy(update={"config": config})})
