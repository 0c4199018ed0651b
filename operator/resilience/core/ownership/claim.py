"""Marks and managed fields, written into the objects of others before anything else is done."""

from resilience.api.names import ANNOTATION_CLAIM, FINALIZER, LABEL_MANAGED, LABEL_MANAGED_VALUE
from resilience.api.reasons import ConditionType, Reason, Request
from resilience.core.health import targets
from resilience.core.health.ports import PortMissing, find_container
from resilience.core.model import held, requests, wrong_parts
from resilience.core.model.context import Context
from resilience.core.model.decision import Action, ApplyTemplate, Claim, Event, MarkService, SetFinalizer, StepResult
from resilience.core.model.observation import Observation, Resource
from resilience.core.ownership import managed_probes
from resilience.core.ownership.managed_probes import TemplatePlan, UnknownFields
from resilience.core.replacement import availability
from resilience.core.rollouts import rollout


def adopt(context: Context) -> StepResult:
    """Set the finalizer first, then the marks: everything that is marked can be handed back."""
    resource, workload = context.resource, context.workload
    actions: list[Action] = [*finalizer(resource, context.observation)]
    is_marked = workload.labels.get(LABEL_MANAGED) == LABEL_MANAGED_VALUE
    if not is_marked or workload.annotations.get(ANNOTATION_CLAIM) != resource.claim:
        actions.append(Claim())
    actions.extend(MarkService(service.name) for service in context.observation.selecting if not service.managed)
    return StepResult(context.status, tuple(actions))


def finalizer(resource: Resource, observation: Observation) -> tuple[SetFinalizer, ...]:
    """The write that sets the finalizer, or takes it off where there must be none."""
    is_set, wanted = FINALIZER in resource.finalizers, observation.with_finalizer
    return (SetFinalizer(present=wanted),) if is_set is not wanted else ()


def plan_fields(context: Context) -> TemplatePlan | UnknownFields:
    """The fields of the managed container that the operator should own, or the reason for which nobody knows them."""
    if part := _unread_part(context):
        words = f"probes and hook stay as they are until {part} can be read; see condition {ConditionType.SPEC_VALID}"
        return UnknownFields(Reason.INVALID_SPEC, words)
    container = find_container(context.spec, context.workload)
    assert container is not None
    try:
        service = targets.client_service(context.spec, context.observation)
        template = context.workload.template
        return managed_probes.plan(
            context.spec,
            context.effective,
            container,
            service,
            grace_period=template.grace_period,
            ports=template.ports,
        )
    except PortMissing as missing:
        return UnknownFields(Reason.PORT_NOT_FOUND, str(missing))


def _unread_part(context: Context) -> str:
    """The part that cannot be read and that a probe depends on; empty when there is none."""
    resource, probes = context.resource, context.spec.probes
    if wrong_parts.lacks(resource, "probes"):
        return "spec.probes"
    named = {ref.check for ref in (probes.readiness, probes.startup, probes.liveness) if ref is not None}
    unread = [problem.item for problem in resource.problems if problem.part == "health"]
    # The pace of the checks is also that of the probes.
    return "spec.health" if named and any(not item or item in named for item in unread) else ""


def sync(context: Context, wanted: TemplatePlan | UnknownFields) -> StepResult:
    """Write managed fields when that rolls no pod that would not roll anyway, or when a person requests it."""
    status = context.status
    request = requests.pending(context.resource.annotations, status, Request.ADOPT)
    if isinstance(wanted, TemplatePlan) and not wanted.in_sync:
        # Handled only when done: a write that fails, or an operator that dies before it, must not lose the request.
        is_due = _is_due(context, is_requested=request is not None)
        return StepResult(status, (ApplyTemplate(wanted.container, wanted.fields),) if is_due else ())
    if request is None:
        return StepResult(status)
    note = wanted.message if isinstance(wanted, UnknownFields) else "the managed fields are in place"
    status = requests.handle(status, Request.ADOPT, request, now=context.now, note=note)
    is_news = isinstance(wanted, UnknownFields) or _was_synced(context.resource)
    return StepResult(status, events=(Event(Reason.REQUEST_IGNORED, f"adopt: {note}"),) if is_news else ())


def _is_due(context: Context, *, is_requested: bool) -> bool:
    workload, observation = context.workload, context.observation
    if observation.pods is not None and observation.pods.green is not None:
        # A change now would make another candidate.
        return False
    is_adopted = held.is_held(workload)
    if rollout.is_blue_green(context.spec) and not is_adopted:
        return is_requested
    # Under blue-green the fields come with the next rollout, and cause one only when a person requests it.
    if is_adopted:
        return is_requested or availability.is_rolling_out(observation)
    return is_requested or (workload.observed and (workload.rolling or not workload.replicas))


def _was_synced(resource: Resource) -> bool:
    conditions = resource.status.conditions
    return any(condition.type == ConditionType.PROBES_SYNCED and condition.status == "True" for condition in conditions)
