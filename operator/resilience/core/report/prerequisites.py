"""Problems that a person has to fix before the operator can manage a service, in the order of detection."""

from typing import Final

from resilience.api.checks import Scope
from resilience.api.reasons import ConditionType, Reason
from resilience.api.status import Status
from resilience.core.health import ports
from resilience.core.health.ports import check_port, find_container
from resilience.core.health.targets import client_service
from resilience.core.model import wrong_parts
from resilience.core.model.conditions import ConditionVerdict
from resilience.core.model.observation import Observation, Resource

# With these reasons the operator manages nothing of the service.
BLIND: Final = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.NAMESPACE_REFUSED,
        Reason.TOO_MANY,
        Reason.TARGET_NOT_FOUND,
        Reason.TARGET_TAKEN,
        Reason.CONTAINER_NOT_FOUND,
    }
)
_IN_PART: Final = "a part of the specification cannot be read, and everything else goes on without it"


def find(resource: Resource, observation: Observation) -> ConditionVerdict:
    """The first problem, as the condition Stalled; its status is False when there is none."""
    return (
        _unreadable(resource, observation)
        or _target(resource, observation)
        or _container(resource, observation)
        or _service(resource, observation)
        or _container_port(resource, observation)
        or _leave_by(resource, observation)
        or ConditionVerdict(ConditionType.STALLED, False, Reason.NOT_STALLED)
    )


def of_rollout(verdict: ConditionVerdict, status: Status, obstacle: str) -> ConditionVerdict:
    """The failure of the last rollout as the condition Stalled, when nothing worse is wrong."""
    if verdict.status:
        return verdict
    failure = status.rollout.failure
    if failure is not None and status.rollout.candidate is None:
        words = f"{failure.version.image} failed ({failure.class_}): {failure.message}. {failure.advice}"
        return _stalled(Reason.ROLLOUT_FAILED, words)
    if obstacle:
        return _stalled(Reason.BLUE_GREEN_IMPOSSIBLE, f"no blue-green releases: {obstacle}")
    return verdict


def of_parts(verdict: ConditionVerdict, resource: Resource) -> ConditionVerdict:
    """A part of the specification that cannot be read as the condition Stalled, when nothing worse is wrong."""
    valid = spec_valid(resource)
    return _stalled(Reason.INVALID_SPEC, valid.message) if valid is not None and not verdict.status else verdict


def spec_valid(resource: Resource) -> ConditionVerdict | None:
    """SpecValid: what of the specification cannot be read; None when all of it can."""
    if not resource.problems:
        return None
    prefix = "the specification cannot be read" if resource.spec is None else _IN_PART
    message = f"{prefix}: {wrong_parts.words(resource)}"
    return ConditionVerdict(ConditionType.SPEC_VALID, False, Reason.INVALID_SPEC, message)


def blocks_everything(verdict: ConditionVerdict) -> bool:
    """Nothing at all can be done, not even restarts and checks."""
    return verdict.status is True and verdict.reason in BLIND


def _stalled(reason: Reason, message: str) -> ConditionVerdict:
    return ConditionVerdict(ConditionType.STALLED, True, reason, message)


def _unreadable(resource: Resource, observation: Observation) -> ConditionVerdict | None:
    if observation.namespace_refused:
        return _stalled(
            Reason.NAMESPACE_REFUSED,
            f"the operator does not touch namespace {resource.key.namespace}; its administrators set this",
        )
    if observation.too_many:
        return _stalled(
            Reason.TOO_MANY,
            f"namespace {resource.key.namespace} has more than {observation.too_many} ResilientServices, and the "
            "operator looks after the oldest ones; delete some, or have the chart's value servicesPerNamespace raised",
        )
    if resource.spec is None:
        return _stalled(Reason.INVALID_SPEC, f"the specification cannot be read: {wrong_parts.words(resource)}")
    return None


def _target(resource: Resource, observation: Observation) -> ConditionVerdict | None:
    assert resource.spec is not None
    ref = resource.spec.target_ref
    if observation.workload is None:
        return _stalled(
            Reason.TARGET_NOT_FOUND,
            f"there is no {ref.kind} {ref.name} in namespace {resource.key.namespace}; create it, or make a new "
            "ResilientService with the right targetRef",
        )
    if observation.taken_by:
        return _stalled(
            Reason.TARGET_TAKEN,
            f"{ref.kind} {ref.name} is managed by the older ResilientService {observation.taken_by}; "
            "delete one of the two",
        )
    return None


def _container(resource: Resource, observation: Observation) -> ConditionVerdict | None:
    assert resource.spec is not None and observation.workload is not None
    if find_container(resource.spec, observation.workload) is not None:
        return None
    names = ", ".join(container.name for container in observation.workload.template.containers)
    return _stalled(
        Reason.CONTAINER_NOT_FOUND,
        f"the pods of {observation.workload.kind} {observation.workload.name} have no container "
        f"{resource.spec.container}; they have {names}",
    )


def _service(resource: Resource, observation: Observation) -> ConditionVerdict | None:
    spec = resource.spec
    assert spec is not None
    if spec.service is None:
        return None
    service = client_service(spec, observation)
    if service is None:
        return _stalled(
            Reason.SERVICE_NOT_FOUND,
            f"there is no Service {spec.service.name} in namespace {resource.key.namespace}; "
            "create it or correct spec.service",
        )
    if service not in observation.selecting:
        return _stalled(
            Reason.SERVICE_MISMATCH,
            f"Service {service.name} does not select the pods of the target; correct its selector or spec.service",
        )
    wanted = [spec.service.port] + [
        check_port(check, spec)
        for check in spec.health.checks
        if check.scope is Scope.SERVICE and check.prometheus is None
    ]
    missing = next((port for port in wanted if service.port(port) is None), None)
    if missing is not None:
        port_names = ", ".join(f"{port.name or port.number}" for port in service.ports)
        return _stalled(Reason.PORT_NOT_FOUND, f"Service {service.name} has no port {missing}; it has {port_names}")
    return None


def _container_port(resource: Resource, observation: Observation) -> ConditionVerdict | None:
    spec, workload = resource.spec, observation.workload
    assert spec is not None and workload is not None
    lost = ports.missing(spec, workload.template, client_service(spec, observation))
    return _stalled(Reason.PORT_NOT_FOUND, lost) if lost else None


def _leave_by(resource: Resource, observation: Observation) -> ConditionVerdict | None:
    """The label of spec.drain.leaveBy takes no pod out of the Service that clients use, or of any."""
    spec = resource.spec
    assert spec is not None
    key, own = spec.drain.leave_by, client_service(spec, observation)
    services = (own,) if own is not None else observation.selecting
    if key is None or not services or any(key in service.selector for service in services):
        return None
    named = ", ".join(service.name for service in services)
    keys = ", ".join(sorted({name for service in services for name in service.base}))
    return _stalled(
        Reason.LEAVE_BY_NOT_SELECTED,
        f"Service {named} does not select pods by label {key} of spec.drain.leaveBy, but by {keys}; add the label to "
        "the pods and to the Service's selector, or name another one",
    )
