"""Defaults by profile: the table of docs/reference/profiles.md, and how a spec is resolved with it."""

from dataclasses import dataclass
from datetime import timedelta

from resilience.api.status import Effective
from resilience.api.v1alpha1 import Profile, ResilientServiceSpec


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a profile sets where the spec is silent."""

    interval: timedelta
    timeout: timedelta
    pre_stop: timedelta
    grace_period: timedelta
    propagation_delay: timedelta


def _seconds(interval: int, timeout: int, pre_stop: int, grace: int, propagation: int) -> Defaults:
    return Defaults(*(timedelta(seconds=each) for each in (interval, timeout, pre_stop, grace, propagation)))


DEFAULTS = {
    Profile.DEVELOPMENT: _seconds(30, 5, 1, 10, 1),
    Profile.TEST: _seconds(2, 1, 2, 10, 1),
    Profile.PRODUCTION: _seconds(10, 2, 5, 30, 5),
}


def resolve(spec: ResilientServiceSpec) -> Effective:
    """What is in force: the spec's own value, else the profile's, kept consistent with what the user did set.

    A time-out never exceeds its interval and a preStop never reaches its grace period, whichever of the two was given.
    """
    defaults, health, drain = DEFAULTS[spec.profile], spec.health, spec.drain
    interval = health.interval or max(defaults.interval, health.timeout or timedelta())
    pre_stop = drain.pre_stop if drain.pre_stop is not None else defaults.pre_stop
    grace = drain.grace_period or max(defaults.grace_period, pre_stop + timedelta(seconds=5))
    if drain.pre_stop is None:
        # The kubelet sleeps whole seconds: rounded up, half a second would be all of a grace period of one.
        pre_stop = timedelta(seconds=min(pre_stop, grace / 2) // timedelta(seconds=1))
    return Effective(
        interval=interval,
        timeout=health.timeout or min(defaults.timeout, interval),
        pre_stop=pre_stop,
        grace_period=grace,
        propagation_delay=defaults.propagation_delay if drain.propagation_delay is None else drain.propagation_delay,
    )
