"""Resolution of the ports and containers that a spec names, in the Service and in the pod template.

Ports of every container count, native sidecars included. A name that several containers have is that of one of them:
for a Service the first one in the pod, as Kubernetes has it; for the spec the main container's, then the same order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from resilience.api.checks import Check, Scope
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.service import Service, ServicePort
from resilience.core.model.workload import Container, ContainerPort, Template, Workload


class PortMissing(Exception):
    """A check names a port that neither the Service nor any container has; the text says which."""


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A container port that something leads to. `user`: the field or object that names it, for people."""

    user: str
    wanted: int | str
    # The remedy when no container has it.
    remedy: str
    # The container whose port is preferred when several have the name; empty for the order of the pod.
    prefer: str = ""


def find_container(spec: ResilientServiceSpec, workload: Workload) -> Container | None:
    """The container that the spec names, or the first one when it names none; None when there is no such container."""
    containers = workload.template.containers
    if spec.container is None:
        return containers[0] if containers else None
    return next((container for container in containers if container.name == spec.container), None)


def container_port(ports: Iterable[ContainerPort], wanted: int | str, *, prefer: str | None = None) -> int | None:
    """The number of a container port given by name or number, or None; a number need not be declared.

    `ports` are those of all containers of a pod. Of several with the name, that of the container `prefer` is meant, or
    else the first one.
    """
    if isinstance(wanted, int):
        return wanted
    named = [port for port in ports if port.name == wanted and port.is_tcp]
    own = (port.number for port in named if prefer is not None and port.container == prefer)
    return next(own, named[0].number if named else None)


def probe_port(
    check: Check,
    container: Container,
    ports: Sequence[ContainerPort],
    service: Service | None,
    spec: ResilientServiceSpec,
) -> int | str:
    """The port of a check for a probe of this container; at Service scope, the target of the Service's port.

    `ports` are those of all containers of the pod. A name when the container itself has a port of that name, which is
    all that the kubelet looks up; else a number.

    Raises:
        PortMissing: there is no such port, or the check is a query, which uses no port.
    """
    if check.prometheus is not None:
        raise PortMissing(f"check {check.name}: a prometheus check queries no pod, so the kubelet cannot run it")
    wanted, prefer = check_port(check, spec), container.name
    if check.scope is Scope.SERVICE:
        wanted, prefer = service_port(check, service, spec).target, ""
    number = container_port(ports, wanted, prefer=prefer)
    if number is None:
        raise PortMissing(
            f"check {check.name}: container {container.name} has no port {wanted}, nor has another; {_known(ports)}"
        )
    is_own = container_port(container.ports, wanted) == number
    return wanted if is_own else number


def service_port(check: Check, service: Service | None, spec: ResilientServiceSpec) -> ServicePort:
    """The Service's port of a check.

    Raises:
        PortMissing: the Service does not exist or has no such port.
    """
    wanted = check_port(check, spec)
    port = service.port(wanted) if service is not None else None
    if port is None:
        raise PortMissing(f"check {check.name}: Service has no port {wanted}")
    return port


def check_port(check: Check, spec: ResilientServiceSpec) -> int | str:
    """The port that a check names, by default the Service's. Not for a prometheus check, which has no port."""
    detail = check.http or check.tcp or check.grpc
    named = detail.port if detail is not None else None
    if named is not None:
        return named
    return spec.service.port if spec.service is not None else ""


def missing(spec: ResilientServiceSpec, template: Template, service: Service | None) -> str:
    """Message about the first port that is named and that no container has, with the remedy; empty when all exist."""
    return _first_missing((*_of_service(spec, service), *_of_checks(spec), *_of_drain(spec)), template)


def missing_for_drain(spec: ResilientServiceSpec, template: Template) -> str:
    """The same, of the ports by which a pod is drained: without them its clients would be cut without a word."""
    return _first_missing(_of_drain(spec), template)


def ambiguous(spec: ResilientServiceSpec, template: Template, service: Service | None) -> str:
    """Message about a name that several containers have with different numbers, and the one that is used; or empty."""
    for named in (*_of_service(spec, service), *_of_checks(spec), *_of_drain(spec)):
        having = [port for port in template.ports if port.name == named.wanted and port.is_tcp]
        if len({port.number for port in having}) > 1:
            number = container_port(template.ports, named.wanted, prefer=named.prefer)
            names = ", ".join(f"{port.container} ({port.number})" for port in having)
            return (
                f"{named.user} names port {named.wanted}, which several containers have: {names}; {number} is used; "
                "give the ports different names, or use a number"
            )
    return ""


def _first_missing(named: Iterable[NamedPort], template: Template) -> str:
    lost = next((port for port in named if container_port(template.ports, port.wanted) is None), None)
    if lost is None:
        return ""
    return f"{lost.user} names port {lost.wanted}, which no container has; {_known(template.ports)}; {lost.remedy}"


def _of_service(spec: ResilientServiceSpec, service: Service | None) -> Iterator[NamedPort]:
    """The container ports that the Service leads to, as far as its clients or checks use them."""
    if spec.service is None or service is None:
        return
    checks = [check for check in spec.health.checks if check.scope is Scope.SERVICE and check.prometheus is None]
    for wanted in dict.fromkeys([spec.service.port, *(check_port(check, spec) for check in checks)]):
        port = service.port(wanted)
        if port is not None:
            user = f"port {port.name or port.number} of Service {service.name}"
            yield NamedPort(user, port.target, "correct its targetPort, or name a container port so")


def _of_checks(spec: ResilientServiceSpec) -> Iterator[NamedPort]:
    for check in spec.health.checks:
        if check.scope is Scope.POD and (check.http or check.tcp or check.grpc):
            user = f"check {check.name}"
            yield NamedPort(user, check_port(check, spec), "correct the check's port", spec.container or "")


def _of_drain(spec: ResilientServiceSpec) -> Iterator[NamedPort]:
    signal, quiet = spec.drain.signal, spec.drain.quiet
    if signal is not None:
        yield NamedPort("drain.signal", signal.http.port, "correct its port", spec.container or "")
    if quiet is not None:
        yield NamedPort("drain.quiet", quiet.http.port, "correct its port", spec.container or "")


def _known(ports: Iterable[ContainerPort]) -> str:
    """The named ports of a pod, for people."""
    named = [f"{port.name} ({port.number})" for port in ports if port.name and port.is_tcp]
    return f"there are {', '.join(named)}" if named else "no container names a port"
