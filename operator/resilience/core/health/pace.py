"""The pace of a check: its own where it sets one, else that of `spec.health` and the profile."""

from dataclasses import dataclass
from datetime import timedelta

from resilience.api.checks import LONGEST_TIMEOUT, SHORTEST_INTERVAL, Check
from resilience.api.status import Effective
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import bounds
from resilience.core.model.probes import CheckTarget, Probe


@dataclass(frozen=True, slots=True)
class CheckPace:
    """Time between two runs, longest time of one, and the results in a row that decide."""

    interval: timedelta
    timeout: timedelta
    failure_threshold: int
    success_threshold: int
    # The interval is the check's own. It binds in every phase: in a gate, at a start, and while the target is down.
    fixed: bool

    def interval_in(self, often: timedelta | None) -> timedelta:
        """The interval in a phase in which checks run at least as `often`, unless they set one themselves."""
        return self.interval if self.fixed else min(self.interval, often or self.interval)


def of(check: Check, spec: ResilientServiceSpec, effective: Effective) -> CheckPace:
    """The pace of the check. Where it sets only one of interval and time-out, the other one is made to fit."""
    # A specification that was stored past the API server's validation is still read.
    own_timeout = min(check.timeout, LONGEST_TIMEOUT) if check.timeout is not None else None
    if check.interval is not None:
        interval = max(check.interval, SHORTEST_INTERVAL)
    else:
        interval = max(effective.interval, own_timeout or timedelta())
    return CheckPace(
        interval=interval,
        timeout=own_timeout or min(effective.timeout, interval),
        failure_threshold=check.failure_threshold or spec.health.failure_threshold,
        success_threshold=check.success_threshold or spec.health.success_threshold,
        fixed=check.interval is not None,
    )


def target(
    check: Check,
    spec: ResilientServiceSpec,
    effective: Effective,
    probe: Probe,
    *,
    name: str = "",
    pod_uid: str = "",
    often: timedelta | None = None,
) -> CheckTarget:
    """A target of the check, under its name unless `name` is given; `often` is the longest interval by default."""
    pace = of(check, spec, effective)
    return CheckTarget(
        check=name or check.name,
        probe=probe,
        pod_uid=pod_uid,
        interval=pace.interval_in(often),
        timeout=pace.timeout,
        failure_threshold=pace.failure_threshold,
        success_threshold=pace.success_threshold,
        latency=bounds.of_latency(check.latency),
        fixed=pace.fixed,
    )
