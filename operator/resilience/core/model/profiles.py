"""Defaults by profile: the table of docs/reference/profiles.md, and the resolution of a spec with it."""

from dataclasses import dataclass
from datetime import timedelta

from resilience.api.checks import LONGEST_TIMEOUT, SHORTEST_INTERVAL
from resilience.api.status import Effective
from resilience.api.v1alpha1 import Profile, ResilientServiceSpec


@dataclass(frozen=True, slots=True)
class Defaults:
    """Values of a profile, for fields that the spec does not set."""

    interval: timedelta
    timeout: timedelta
    pre_stop: timedelta
    grace_period: timedelta
    propagation_delay: timedelta
    memory_warning: str
    memory_critical: str
    # Age at which an uptime policy without a value fires.
    uptime: timedelta
    cool_down: timedelta
    # Largest number of restarts by policies within an hour.
    restarts: int
    suppress_for: timedelta
    group_wait: timedelta


_SECOND, _HOUR = timedelta(seconds=1), timedelta(hours=1)
DEFAULTS = {
    Profile.DEVELOPMENT: Defaults(
        interval=30 * _SECOND,
        timeout=5 * _SECOND,
        pre_stop=1 * _SECOND,
        grace_period=10 * _SECOND,
        propagation_delay=1 * _SECOND,
        memory_warning="90%",
        memory_critical="98%",
        uptime=720 * _HOUR,
        cool_down=60 * _SECOND,
        restarts=20,
        suppress_for=60 * _SECOND,
        group_wait=5 * _SECOND,
    ),
    Profile.TEST: Defaults(
        interval=2 * _SECOND,
        timeout=1 * _SECOND,
        pre_stop=2 * _SECOND,
        grace_period=10 * _SECOND,
        propagation_delay=1 * _SECOND,
        memory_warning="85%",
        memory_critical="95%",
        uptime=1 * _HOUR,
        cool_down=1 * _SECOND,
        restarts=50,
        suppress_for=1 * _SECOND,
        group_wait=0 * _SECOND,
    ),
    Profile.PRODUCTION: Defaults(
        interval=10 * _SECOND,
        timeout=2 * _SECOND,
        pre_stop=5 * _SECOND,
        grace_period=30 * _SECOND,
        propagation_delay=5 * _SECOND,
        memory_warning="80%",
        memory_critical="95%",
        uptime=168 * _HOUR,
        cool_down=600 * _SECOND,
        restarts=10,
        suppress_for=300 * _SECOND,
        group_wait=10 * _SECOND,
    ),
}


def resolve(spec: ResilientServiceSpec) -> Effective:
    """The settings in force: the spec's own value, else the profile's, adjusted to the values that the user set.

    A timeout never exceeds its interval and a preStop never reaches its grace period, whichever of the two was set.
    """
    defaults, health, drain = DEFAULTS[spec.profile], spec.health, spec.drain
    restart, alerts = spec.restart, spec.alerts
    # A specification that was stored before these bounds, or past the API server's validation, is still read.
    own_timeout = min(health.timeout, LONGEST_TIMEOUT) if health.timeout else None
    interval = max(health.interval or max(defaults.interval, own_timeout or timedelta()), SHORTEST_INTERVAL)
    pre_stop = drain.pre_stop if drain.pre_stop is not None else defaults.pre_stop
    grace = drain.grace_period or max(defaults.grace_period, pre_stop + timedelta(seconds=5))
    if drain.pre_stop is None:
        # The kubelet sleeps whole seconds. Rounded up, half a second would use up a grace period of one second.
        pre_stop = timedelta(seconds=min(pre_stop, grace / 2) // timedelta(seconds=1))
    return Effective(
        interval=interval,
        timeout=own_timeout or min(defaults.timeout, interval),
        pre_stop=pre_stop,
        grace_period=grace,
        propagation_delay=defaults.propagation_delay if drain.propagation_delay is None else drain.propagation_delay,
        memory_warning=defaults.memory_warning,
        memory_critical=defaults.memory_critical,
        uptime=defaults.uptime,
        cool_down=defaults.cool_down if restart.cool_down is None else restart.cool_down,
        budget_max=restart.budget.max if restart.budget is not None else defaults.restarts,
        budget_per=restart.budget.per if restart.budget is not None else timedelta(hours=1),
        suppress_for=defaults.suppress_for if alerts.suppress_for is None else alerts.suppress_for,
        group_wait=defaults.group_wait if alerts.group_wait is None else alerts.group_wait,
    )
