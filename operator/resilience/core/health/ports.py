"""Ports and containers that a spec names, found in the Service and in the pod template."""

from resilience.api.checks import Check, Scope
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.service import Service
from resilience.core.model.workload import Container, ContainerPort, Workload


class PortMissing(Exception):
    """A check names a port that neither the Service nor the container has; the text says which."""


def find_container(spec: ResilientServiceSpec, workload: Workload) -> Container | None:
    """The container that counts: the named one, else the first."""
    containers = workload.template.containers
    if spec.container is None:
        return containers[0] if containers else None
    return next((each for each in containers if each.name == spec.container), None)


def container_port(ports: tuple[ContainerPort, ...], wanted: int | str) -> int | None:
    """The number of a container port given by name or number; a number need not be declared."""
    if isinstance(wanted, int):
        return wanted
    return next((port.number for port in ports if port.name == wanted), None)


def probe_port(check: Check, container: Container, service: Service | None, spec: ResilientServiceSpec) -> int | str:
    """The container port that a check means: at Service scope, what the Service's port leads to.

    Raises:
        PortMissing: there is none, or the check is a query and speaks to no port at all.
    """
    if check.prometheus is not None:
        raise PortMissing(f"check {check.name}: a prometheus check asks no pod, so the kubelet cannot run it")
    wanted = check_port(check, spec)
    if check.scope is Scope.SERVICE:
        found = service.port(wanted) if service is not None else None
        if service is None or found is None:
            raise PortMissing(f"check {check.name}: Service has no port {wanted}")
        wanted = found.target
    if container_port(container.ports, wanted) is None:
        raise PortMissing(f"check {check.name}: container {container.name} has no port {wanted}")
    return wanted


def check_port(check: Check, spec: ResilientServiceSpec) -> int | str:
    """The port a check names, or the Service's by default. A prometheus check has none: do not ask for it."""
    detail = check.http or check.tcp or check.grpc
    named = detail.port if detail is not None else None
    if named is not None:
        return named
    return spec.service.port if spec.service is not None else ""
