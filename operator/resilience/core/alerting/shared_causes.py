"""Shared causes: a dependency's address as one text, so that its loss is one incident for any number of services."""

from typing import assert_never

from resilience.api.checks import Check
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import dependencies
from resilience.core.model.probes import (
    ContentProbe,
    DnsProbe,
    GrpcProbe,
    HttpProbe,
    PostgresProbe,
    Probe,
    PrometheusProbe,
    RedisPlace,
    RedisProbe,
    RedisStreamProbe,
    SlopeProbe,
    TcpProbe,
    UsageProbe,
)


def of_check(check: Check, spec: ResilientServiceSpec, *, namespace: str) -> str:
    """The dependency that a check probes; empty when it probes none."""
    probe = dependencies.probe(check, spec, namespace=namespace)
    return "" if probe is None else _cause(probe, namespace)


def _cause(probe: Probe, namespace: str) -> str:
    match probe:
        case RedisProbe(place=place) | RedisStreamProbe(place=place):
            return _redis(place, namespace)
        case PostgresProbe(dsn=secret):
            # The address is in the Secret, which is not read for this.
            return f"postgres of Secret {secret.namespace}/{secret.name}"
        case HttpProbe(target=target):
            return f"http {_address(target.host, target.port, namespace)}"
        case TcpProbe() | GrpcProbe():
            return f"server {_address(probe.host, probe.port, namespace)}"
        case DnsProbe(name=name):
            return f"name {_full(name, namespace)}"
        case PrometheusProbe() | UsageProbe() | SlopeProbe() | ContentProbe():
            # They probe no dependency.
            return ""
        case _:
            assert_never(probe)


def _redis(place: RedisPlace, namespace: str) -> str:
    addresses = ",".join(_address(host, port, namespace) for host, port in sorted(place.addresses))
    return f"redis {addresses}" + (f" {place.master_name}" if place.master_name else "")


def _address(host: str, port: int, namespace: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{_full(host, namespace)}:{port}"


def _full(host: str, namespace: str) -> str:
    """The host with its namespace, since a short name is another host in another namespace."""
    return host if "." in host or ":" in host else f"{host}.{namespace}"
