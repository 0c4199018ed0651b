"""A service in figures, for metrics: what a pass found, without words."""

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
class Picture:
    """`available`: None while nobody can say. Figures of the objective are None without one; times are in seconds."""

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


def of(spec: ResilientServiceSpec | None, status: Status, workload: Workload | None, now: datetime) -> Picture:
    """The picture of a service as its status has it."""
    wanted = spec.slo if spec is not None else None
    # Rules in Prometheus must not see an outage in a start that costs no budget.
    starts = wanted is not None and status.slo is None
    out = None if starts else slo.outage(status, workload)
    picture = Picture(
        health=status.health.state,
        phase=status.phase,
        available=None if out is None else not out,
        wanted=workload.replicas if workload is not None else None,
        pods=workload.available if workload is not None else None,
        firing=Counter(each.severity for each in status.alerts.firing),
        flags={each.name: each.on for each in status.degradation},
    )
    return picture if wanted is None or status.slo is None else _with_objective(picture, wanted, status, now)


def _with_objective(picture: Picture, wanted: Slo, status: Status, now: datetime) -> Picture:
    assert status.slo is not None
    found = slo.figures(wanted, status.slo, now)
    recovery = wanted.recovery_time
    return replace(
        picture,
        objective=found.objective,
        window=wanted.window.total_seconds(),
        availability=found.availability,
        budget=found.budget,
        recovery=found.recovery.total_seconds() if found.recovery is not None else None,
        recovery_objective=recovery.total_seconds() if recovery is not None else None,
    )
