"""Targets of checks and of verifying requests: names of ports become addresses of Services and pods."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from resilience.api.checks import Check, Scope, UsageCheck
from resilience.api.status import Effective, Status
from resilience.api.v1alpha1 import QuietHttp, ResilientServiceSpec, SignalHttp
from resilience.core.health import dependencies, hosts, pace, quantities, reach, service_probes
from resilience.core.health.ports import check_port, container_port, find_container
from resilience.core.model.destinations import ConnectionsTarget, VerifyTarget
from resilience.core.model.observation import Observation, Pod
from resilience.core.model.probes import (
    CheckTarget,
    HttpTarget,
    Measure,
    UsageLine,
    UsageProbe,
)
from resilience.core.model.service import Service
from resilience.core.model.workload import Resources

# A container at its CPU limit is throttled, not killed, so no profile has limits for it.
_CPU_WARNING: Final = "80%"
_CPU_CRITICAL: Final = "95%"


def check_targets(
    spec: ResilientServiceSpec, effective: Effective, observation: Observation
) -> tuple[CheckTarget, ...]:
    """Targets to check: one for a query, a dependency or a Service-scope check, one per pod for a Pod-scope check."""
    service = client_service(spec, observation)
    targets: list[CheckTarget] = []
    for check in spec.health.checks:
        if check.prometheus is not None:
            targets.extend(_at_prometheus(check, spec, effective, observation))
        elif check.scope is Scope.DEPENDENCY:
            targets.extend(at_dependency(check, spec, effective, observation))
        elif check.scope is Scope.SERVICE:
            targets.extend(_at_service(check, spec, effective, service, observation))
        else:
            targets.extend(at_pods(check, spec, effective, observation))
    return tuple(targets)


def client_service(spec: ResilientServiceSpec, observation: Observation) -> Service | None:
    """The Service of the spec, or None when it does not exist."""
    if spec.service is None:
        return None
    name = spec.service.name
    return next((service for service in observation.services if service.name == name), None)


def verify_target(spec: ResilientServiceSpec, status: Status, observation: Observation) -> VerifyTarget | None:
    """Target of measuring requests while a restart or a rollout is in flight; None when none are to be sent."""
    service = client_service(spec, observation)
    is_moving = status.restart is not None or status.rollout.candidate is not None
    if spec.verify is None or spec.service is None or not is_moving or service is None or spec.suspend:
        return None
    port = service.port(spec.service.port)
    if port is None or not service.cluster_ip:
        return None
    before = status.restart.requests if status.restart is not None else status.rollout.requests
    return VerifyTarget(
        HttpTarget(
            service.cluster_ip,
            port.number,
            spec.verify.path,
            host_header=spec.verify.host or hosts.service_host(service, port.number),
            headers=hosts.plain_headers(spec.verify),
        ),
        spec.verify.requests_per_second,
        already_sent=before.sent if before else 0,
        already_failed=before.failed if before else 0,
    )


def connections_target(spec: ResilientServiceSpec, pod: Pod) -> ConnectionsTarget | None:
    """Address at which a pod reports its number of connections; None when there is none."""
    quiet = spec.drain.quiet
    if quiet is None or not pod.ip:
        return None
    port = container_port(pod.ports, quiet.http.port, prefer=spec.container)
    return None if port is None else ConnectionsTarget(_pod_target(pod, port, quiet.http), quiet.http.json_)


def signal_target(spec: ResilientServiceSpec, pod: Pod) -> HttpTarget | None:
    """Address at which the pod takes the drain signal; None when it takes none."""
    signal = spec.drain.signal
    if signal is None or not pod.ip:
        return None
    port = container_port(pod.ports, signal.http.port, prefer=spec.container)
    if port is None:
        return None
    ref = signal.http.headers_from.secret_key_ref if signal.http.headers_from else None
    return replace(_pod_target(pod, port, signal.http), secret=(ref.name, ref.key) if ref else None)


def _pod_target(pod: Pod, port: int, http: SignalHttp | QuietHttp) -> HttpTarget:
    return HttpTarget(pod.ip, port, http.path, host_header=http.host or "", headers=hosts.plain_headers(http))


def _at_service(
    check: Check,
    spec: ResilientServiceSpec,
    effective: Effective,
    service: Service | None,
    observation: Observation,
) -> list[CheckTarget]:
    port = service.port(check_port(check, spec)) if service is not None else None
    if service is None or port is None:
        return []
    if service.cluster_ip:
        host, number = service.cluster_ip, port.number
    else:
        # A headless Service has no address of its own, so its clients connect to one of its pods.
        ready = [
            (endpoint.ip, endpoint.ports[port.name])
            for endpoint in observation.endpoints
            if endpoint.service == service.name and endpoint.counts and port.name in endpoint.ports
        ]
        if not ready:
            return []
        host, number = min(ready)
    name = hosts.check_host(check, service, number)
    return [check_target(check, spec, effective, observation, host=host, port=number, host_header=name)]


def at_pods(
    check: Check, spec: ResilientServiceSpec, effective: Effective, observation: Observation
) -> list[CheckTarget]:
    """Targets of the check: every pod that its Services list; without a Service, every pod.

    A usage check is at every pod that was read, or else at the pods that the Services list.
    """
    if check.usage is not None:
        return of_usage(check, check.usage, spec, effective, observation, pods=_pod_names(observation))
    template = observation.workload.template if observation.workload is not None else None
    port = container_port(template.ports, check_port(check, spec), prefer=spec.container) if template else None
    if port is None:
        return []
    ours = {service.name for service in observation.selecting}
    listed = [
        endpoint
        for endpoint in observation.endpoints
        if endpoint.service in ours and endpoint.pod_uid and not endpoint.terminating
    ]
    primary = {service.name: service.families[0] for service in observation.selecting if service.families}
    # The other family's slice comes first: which of two addresses is checked must not depend on the order of slices.
    listed.sort(key=lambda endpoint: (endpoint.family == primary.get(endpoint.service), endpoint.family, endpoint.ip))
    addresses = {endpoint.pod_uid: endpoint.ip for endpoint in listed}
    if not observation.selecting and observation.pods is not None:
        addresses = {pod.uid: pod.ip for pod in observation.pods.pods if pod.ip and not pod.deleting}
    return [
        check_target(check, spec, effective, observation, host=ip, port=port, pod_uid=uid)
        for uid, ip in sorted(addresses.items())
    ]


def of_usage(
    check: Check,
    usage: UsageCheck,
    spec: ResilientServiceSpec,
    effective: Effective,
    observation: Observation,
    *,
    pods: Mapping[str, str],
    name: str = "",
    often: timedelta | None = None,
) -> list[CheckTarget]:
    """One target per pod (`pods`: name by uid).

    Percentages are of the pod's own limit or request; those of one that is not set do not count.
    """
    container = find_container(spec, observation.workload) if observation.workload is not None else None
    if container is None or observation.workload is None:
        return []
    namespace, known = observation.workload.namespace, {pod.uid: pod for pod in observation.all_pods}
    return [
        pace.target(
            check,
            spec,
            effective,
            UsageProbe(
                namespace,
                pod,
                container.name,
                _usage_lines(usage, effective, quantities.resources(known.get(uid), container)),
            ),
            name=name,
            pod_uid=uid,
            often=often,
        )
        for uid, pod in sorted(pods.items())
    ]


def _usage_lines(usage: UsageCheck, effective: Effective, resources: Resources) -> tuple[UsageLine, ...]:
    return tuple(
        UsageLine(
            measure,
            quantities.resolve(bounds.warning or warning, whole),
            quantities.resolve(bounds.critical or critical, whole),
            whole,
        )
        for measure, bounds, warning, critical in (
            (Measure.MEMORY, usage.memory, effective.memory_warning, effective.memory_critical),
            (Measure.CPU, usage.cpu, _CPU_WARNING, _CPU_CRITICAL),
        )
        if bounds is not None
        for whole in [quantities.whole(resources, measure, usage.of)]
    )


def _pod_names(observation: Observation) -> dict[str, str]:
    """Names by uid of the pods that exist."""
    if observation.pods is not None:
        return {pod.uid: pod.name for pod in observation.pods.pods if not pod.deleting}
    ours = {service.name for service in observation.selecting}
    return {
        endpoint.pod_uid: endpoint.pod_name
        for endpoint in observation.endpoints
        if endpoint.service in ours and endpoint.pod_uid and not endpoint.terminating
    }


def _at_prometheus(
    check: Check, spec: ResilientServiceSpec, effective: Effective, observation: Observation
) -> list[CheckTarget]:
    # Only the namespace of a workload that exists is known to be the service's own.
    return [] if observation.workload is None else [check_target(check, spec, effective, observation)]


def at_dependency(
    check: Check,
    spec: ResilientServiceSpec,
    effective: Effective,
    observation: Observation,
    *,
    name: str = "",
    often: timedelta | None = None,
) -> list[CheckTarget]:
    """The target at the dependency; none when the workload, or a redis check that it names, does not exist."""
    probe = (
        None
        if observation.workload is None
        else dependencies.probe(check, spec, namespace=observation.workload.namespace)
    )
    return [] if probe is None else [pace.target(check, spec, effective, probe, name=name, often=often)]


def check_target(
    check: Check,
    spec: ResilientServiceSpec,
    effective: Effective,
    observation: Observation,
    *,
    host: str = "",
    port: int = 0,
    pod_uid: str = "",
    name: str = "",
    often: timedelta | None = None,
    host_header: str = "",
) -> CheckTarget:
    """One target, under the check's name unless `name` is given; `often` is the longest interval by default.

    `host_header` is what an http check says unless the spec sets another one; empty for the address.
    """
    probe = service_probes.probe(check, observation, host=host, port=port, host_header=host_header)
    target = pace.target(check, spec, effective, probe, name=name, pod_uid=pod_uid, often=often)
    return replace(target, question=reach.question(check, spec))
