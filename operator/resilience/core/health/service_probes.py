"""Probes of the service itself: at its Service, at one of its pods, and queries about it."""

from resilience.api.checks import Check, Scheme
from resilience.core.health import bounds, dependencies, hosts
from resilience.core.model.observation import Observation
from resilience.core.model.probes import GrpcProbe, HttpTarget, Probe, PrometheusProbe, TcpProbe


def probe(check: Check, observation: Observation, *, host: str, port: int, host_header: str) -> Probe:
    """The probe at this address. `host_header`: what an http check says unless the spec sets another; empty for none.

    The workload has to be observed.
    """
    assert observation.workload is not None
    if check.prometheus is not None:
        levels = bounds.of_number(check.prometheus)
        return PrometheusProbe(check.prometheus.query, observation.workload.namespace, levels)
    if check.http is not None:
        target = HttpTarget(
            host,
            port,
            check.http.path or "/",
            check.http.scheme_ or Scheme.HTTP,
            host_header=check.http.host or host_header,
            headers=hosts.plain_headers(check.http),
        )
        return dependencies.http_probe(check.http, target, namespace=observation.workload.namespace)
    if check.grpc is not None:
        return GrpcProbe(host, port, check.grpc.service)
    return TcpProbe(host, port)
