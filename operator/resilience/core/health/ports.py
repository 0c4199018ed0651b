"""Resolution of the ports and containers that a spec names, in the Service and in the pod template."""

from dataclasses import dataclass

from resilience.api.checks import Check, Scope
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.service import Service
from resilience.core.model.workload import Container, ContainerPort, Workload


@dataclass(frozen=True, slots=True)
class MissingPort:
    """A port that a probe's check names and nothing has; the message says which."""

    message: str


class PortMissing(Exception):
    """A check names a port that neither the Service nor the container has; the text says which."""


def find_container(spec: ResilientServiceSpec, workload: Workload) -> Container | None:
    """The container that the spec names, or the first one when it names none; None when there is no such container."""
    containers = workload.template.containers
    if spec.container is None:
        return containers[0] if containers else None
    return next((container for container in containers if container.name == spec.container), None)


def container_port(ports: tuple[ContainerPort, ...], wanted: int | str) -> int | None:
    """The number of a container port given by name or number, or None; a number need not be declared."""
    if isinstance(wanted, int):
        return wanted
    return next((port.number for port in ports if port.name == wanted), None)


def probe_port(check: Check, container: Container, service: Service | None, spec: ResilientServiceSpec) -> int | str:
    """The container port of a check; at Service scope, the target of the Service's port.

    Raises:
        PortMissing: there is no such port, or the check is a query, which uses no port.
    """
    if check.prometheus is not None:
        raise PortMissing(f"check {check.name}: a prometheus check queries no pod, so the kubelet cannot run it")
    wanted = check_port(check, spec)
    if check.scope is Scope.SERVICE:
        service_port = service.port(wanted) if service is not None else None
        if service is None or service_port is None:
            raise PortMissing(f"check {check.name}: Service has no port {wanted}")
        wanted = service_port.target
    if container_port(container.ports, wanted) is None:
        raise PortMissing(f"check {check.name}: container {container.name} has no port {wanted}")
    return wanted


def check_port(check: Check, spec: ResilientServiceSpec) -> int | str:
    """The port that a check names, by default the Service's. Not for a prometheus check, which has no port."""
    detail = check.http or check.tcp or check.grpc
    named = detail.port if detail is not None else None
    if named is not None:
        return named
    return spec.service.port if spec.service is not None else ""
