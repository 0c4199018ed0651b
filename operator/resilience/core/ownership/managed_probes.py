"""Probes and preStop hook that belong in the target's template, and those of them that may be written.

A field that another manager set belongs to it: the field is reported as a conflict and dropped, the rest is applied.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from resilience.api.checks import Check, HttpCheck, Scheme
from resilience.api.names import FIELD_MANAGER
from resilience.api.reasons import Reason
from resilience.api.status import Effective
from resilience.api.v1alpha1 import Management, ResilientServiceSpec
from resilience.core.health import hosts, pace
from resilience.core.health.pace import CheckPace
from resilience.core.health.ports import PortMissing, container_port, probe_port
from resilience.core.model.service import Service
from resilience.core.model.workload import Container, ContainerPort

_HEADERS: Final = "httpHeaders"


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that the operator would write and another manager owns."""

    field: str
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TemplatePlan:
    """The fields that the operator should own in the container. `in_sync`: it owns exactly these."""

    container: str
    fields: Mapping[str, object]
    conflicts: tuple[FieldConflict, ...]
    in_sync: bool


@dataclass(frozen=True, slots=True)
class UnknownFields:
    """The fields that the operator should own are not known, so they stay as they are; the message says why."""

    reason: Reason
    message: str


def plan(
    spec: ResilientServiceSpec,
    effective: Effective,
    container: Container,
    service: Service | None,
    *,
    grace_period: timedelta,
    ports: Sequence[ContainerPort] = (),
) -> TemplatePlan:
    """The fields to apply to the container, in a template with this grace period.

    `ports` are those of all containers of the template; by default, of this container alone.

    Raises:
        PortMissing: a probe's check names a port that does not exist.
    """
    is_managed = spec.probes.management is Management.MANAGED
    wanted = _render(spec, effective, container, service, grace_period, ports or container.ports) if is_managed else {}
    fields: dict[str, object] = {}
    conflicts: list[FieldConflict] = []
    for name, value in wanted.items():
        live = container.fields.get(name)
        owners = container.owners.get(name, frozenset())
        others = owners - {FIELD_MANAGER}
        is_theirs = live is not None and FIELD_MANAGER not in owners
        if live is not None and (is_theirs or others) and not _contains(live, value):
            conflicts.append(FieldConflict(name, tuple(sorted(others)) or ("an unknown manager",)))
        elif not is_theirs:
            fields[name] = value
    return TemplatePlan(container.name, fields, tuple(conflicts), _in_sync(container, fields))


def empty_plan(container: Container) -> TemplatePlan:
    """A plan by which the operator owns nothing of the container any more."""
    return TemplatePlan(container.name, {}, (), _in_sync(container, {}))


def _in_sync(container: Container, fields: Mapping[str, object]) -> bool:
    ours = {name for name, owners in container.owners.items() if FIELD_MANAGER in owners}
    return ours == set(fields) and all(
        _contains(container.fields.get(name), fields[name])
        and (container.owners[name] != {FIELD_MANAGER} or _same_headers(container.fields.get(name), fields[name]))
        for name in fields
    )


def _same_headers(live: object, wanted: object) -> bool:
    """No header is left of those that the spec had before; the API server adds none by itself."""
    return _headers(live) == _headers(wanted)


def _headers(probe: object) -> object:
    request = probe.get("httpGet") if isinstance(probe, Mapping) else None
    return (request.get(_HEADERS) if isinstance(request, Mapping) else None) or None


def _contains(live: object, wanted: object) -> bool:
    """`live` has all of `wanted`; the API server adds defaults, so equality would never hold."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(_contains(live.get(key), value) for key, value in wanted.items())
    return live == wanted


def _render(
    spec: ResilientServiceSpec,
    effective: Effective,
    container: Container,
    service: Service | None,
    grace_period: timedelta,
    ports: Sequence[ContainerPort],
) -> dict[str, object]:
    checks = {check.name: check for check in spec.health.checks}
    fields: dict[str, object] = {}

    def handler(check: Check) -> dict[str, object]:
        return _handler(check, container, probe_port(check, container, ports, service, spec))

    for name, ref in (("readinessProbe", spec.probes.readiness), ("livenessProbe", spec.probes.liveness)):
        if ref is not None and ref.check in checks:
            usual = pace.of(checks[ref.check], spec, effective)
            fields[name] = handler(checks[ref.check]) | _times(usual, usual.interval, usual.failure_threshold)
    startup = spec.probes.startup
    if startup is not None and startup.check in checks:
        # Probed every second, unless the check sets its interval: a start is observed as it happens.
        usual = pace.of(checks[startup.check], spec, effective)
        period, longest = usual.interval_in(timedelta(seconds=1)), startup.max_duration or timedelta(minutes=2)
        times = _times(usual, period, math.ceil(_whole_seconds(longest) / _whole_seconds(period)))
        fields["startupProbe"] = handler(checks[startup.check]) | times
    # The API rejects a sleep that is not shorter than the grace period of the template.
    sleep = min(effective.pre_stop, grace_period - timedelta(seconds=1))
    if sleep > timedelta():
        fields["lifecycle"] = {"preStop": {"sleep": {"seconds": _whole_seconds(sleep)}}}
    return fields


def _times(usual: CheckPace, period: timedelta, failures: int) -> dict[str, object]:
    return {
        "periodSeconds": _whole_seconds(period),
        "timeoutSeconds": _whole_seconds(usual.timeout),
        "failureThreshold": failures,
    }


def _handler(check: Check, container: Container, port: int | str) -> dict[str, object]:
    if check.http is not None:
        return {"httpGet": _http_get(check.http, port)}
    if check.tcp is not None:
        return {"tcpSocket": {"port": port}}
    number = container_port(container.ports, port)
    if number is None:
        raise PortMissing(f"check {check.name}: the kubelet's gRPC probe needs a numbered port, and {port} has none")
    # Written even when empty, which is the default of the API server: otherwise a removed name would stay.
    return {"grpc": {"port": number, "service": check.grpc.service if check.grpc is not None else ""}}


def _http_get(http: HttpCheck, port: int | str) -> dict[str, object]:
    """The kubelet's request. Only what the user sets becomes a header: a default would change, so roll, all templates.

    The name is Host in just this spelling: meshes that rewrite probes know no other (istio/istio#46087).
    """
    headers = (*([("Host", http.host)] if http.host else []), *hosts.plain_headers(http))
    request: dict[str, object] = {"path": http.path, "port": port, "scheme": (http.scheme_ or Scheme.HTTP).value}
    if headers:
        request[_HEADERS] = [{"name": name, "value": value} for name, value in headers]
    return request


def _whole_seconds(value: timedelta) -> int:
    return max(1, math.ceil(value.total_seconds()))
