"""A service in figures, for metrics: the results of a pass, without texts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from resilience.api.reasons import HealthState, Phase, Severity
from resilience.api.slo import Slo
from resilience.api.status import Status
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.workload import Workload
from resilience.core.report import slo


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """Figures of a service; times are in seconds.

    `available` is None while unknown. Figures of the objective are None without one.
    """

    health: HealthState = HealthState.UNKNOWN
    phase: Phase = Phase.INITIALIZING
    available: bool | None = None
    wanted: int | None = None
    pods: int | None = None
    firing: Mapping[Severity, int] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    objective: float | None = None
    window: float | None = None
    availability: float | None = None
    budget: float | None = None
    recovery: float | None = None
    recovery_objective: float | None = None


def of(spec: ResilientServiceSpec | None, status: Status, workload: Workload | None, now: datetime) -> ServiceFigures:
    """The figures of a service, from its status."""
    wanted = spec.slo if spec is not None else None
    # Rules in Prometheus must not see an outage in a start that costs no budget.
    is_starting = wanted is not None and status.slo is None
    is_out = None if is_starting else slo.outage(status, workload)
    picture = ServiceFigures(
        health=status.health.state,
        phase=status.phase,
        available=None if is_out is None else not is_out,
        wanted=workload.replicas if workload is not None else None,
        pods=workload.available if workload is not None else None,
        firing=Counter(alert.severity for alert in status.alerts.firing),
        flags={flag.name: flag.on for flag in status.degradation},
    )
    return picture if wanted is None or status.slo is None else _with_objective(picture, wanted, status, now)


def _with_objective(picture: ServiceFigures, wanted: Slo, status: Status, now: datetime) -> ServiceFigures:
    assert status.slo is not None
    figures = slo.figures(wanted, status.slo, now)
    recovery = wanted.recovery_time
    return replace(
        picture,
        objective=figures.objective,
        window=wanted.window.total_seconds(),
        availability=figures.availability,
        budget=figures.budget,
        recovery=figures.recovery.total_seconds() if figures.recovery is not None else None,
        recovery_objective=recovery.total_seconds() if recovery is not None else None,
    )
