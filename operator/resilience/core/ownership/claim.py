"""What the operator writes into other people's objects before it does anything: marks, and the managed fields."""

from datetime import datetime

from resilience.api.names import ANNOTATION_CLAIM, ANNOTATION_SERVING, FINALIZER, LABEL_MANAGED, LABEL_MANAGED_VALUE
from resilience.api.reasons import ConditionType, Reason, Request
from resilience.api.status import Effective
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import ports, targets
from resilience.core.model import requests
from resilience.core.model.decision import ApplyTemplate, Claim, Event, MarkService, SetFinalizer
from resilience.core.model.draft import Draft
from resilience.core.model.observation import Observation, Resource
from resilience.core.model.workload import Workload
from resilience.core.ownership import managed_probes
from resilience.core.replacement import availability
from resilience.core.rollouts import rollout


def adopt(draft: Draft, resource: Resource, seen: Observation, workload: Workload) -> None:
    """Finalizer first, then the marks: whatever is marked can be given back."""
    if FINALIZER not in resource.finalizers:
        draft.actions.append(SetFinalizer(present=True))
    marked = workload.labels.get(LABEL_MANAGED) == LABEL_MANAGED_VALUE
    if not marked or workload.annotations.get(ANNOTATION_CLAIM) != resource.claim:
        draft.actions.append(Claim())
    draft.actions.extend(MarkService(service.name) for service in seen.selecting if not service.managed)


def template(
    spec: ResilientServiceSpec, effective: Effective, seen: Observation
) -> managed_probes.TemplatePlan | ports.PortMissing:
    """What the managed container should have from us, or the port that is missing for it."""
    assert seen.workload is not None
    container = ports.find_container(spec, seen.workload)
    assert container is not None
    try:
        service = targets.client_service(spec, seen)
        grace_period = seen.workload.template.grace_period
        return managed_probes.plan(spec, effective, container, service, grace_period=grace_period)
    except ports.PortMissing as missing:
        return missing


def sync(
    draft: Draft,
    resource: Resource,
    spec: ResilientServiceSpec,
    seen: Observation,
    wanted: managed_probes.TemplatePlan | ports.PortMissing,
    now: datetime,
) -> bool:
    """Writes managed fields when that rolls no pod that would not be rolled anyway, or when it is asked for.

    Returns whether it does.
    """
    workload = seen.workload
    assert workload is not None
    asked = requests.pending(resource.annotations, draft.status, Request.ADOPT)
    write = isinstance(wanted, managed_probes.TemplatePlan) and not wanted.in_sync
    if asked is not None and not write:
        # Handled only when done: a write that fails, or an operator that dies before it, must not lose the request.
        missing = isinstance(wanted, ports.PortMissing)
        note = str(wanted) if missing else "the managed fields are in place"
        draft.status = requests.handle(draft.status, Request.ADOPT, asked, now=now, note=note)
        if missing or _was_synced(resource):
            draft.events.append(Event(Reason.REQUEST_IGNORED, f"adopt: {note}"))
    held = ANNOTATION_SERVING in workload.annotations
    if seen.pods is not None and seen.pods.green is not None:
        # A change now would be another candidate.
        return False
    # Under blue-green the fields come with the next release, and make one only when a person asks.
    due = availability.releasing(seen) if held else workload.observed and (workload.rolling or workload.replicas == 0)
    if rollout.is_blue_green(spec) and not held and asked is None:
        due = False
    if isinstance(wanted, managed_probes.TemplatePlan) and write and (asked is not None or due):
        draft.actions.append(ApplyTemplate(wanted.container, wanted.fields))
        return True
    return False


def _was_synced(resource: Resource) -> bool:
    conditions = resource.status.conditions
    return any(each.type == ConditionType.PROBES_SYNCED and each.status == "True" for each in conditions)
