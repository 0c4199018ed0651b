"""The pace of a check: its own where it sets one, in every phase and in all that asks the same."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.core.degradation import flags
from resilience.core.health import pace, targets
from resilience.core.model.bounds import Levels
from resilience.core.model.profiles import resolve
from resilience.core.restarts import limits, policies
from resilience.core.rollouts import gates
from tests.support.factories import make_context, make_pod, make_resource, make_seen, make_spec
from tests.unit.core.test_template_and_targets import plan

SECOND = timedelta(seconds=1)
CACHE = {"name": "cache", "scope": "Dependency", "redis": {"address": "redis:6379"}}
LIVE = {"name": "live", "scope": "Pod", "http": {"path": "/livez", "port": "http"}}
READY = {"name": "ready", "http": {"path": "/readyz"}}
OWN = {"interval": "30s", "timeout": "4s", "failureThreshold": 7, "successThreshold": 5, "latency": {"warning": "1s"}}


def asked(*checks: dict[str, Any], **fields: Any) -> Any:
    """The spec of these checks, in a service whose usual pace is 10 s, 2 s, 3 failures and 2 successes."""
    usual = {"interval": "10s", "timeout": "2s", "failureThreshold": 3, "successThreshold": 2}
    return make_spec(health={**usual, "checks": list(checks)}, **fields)


def found(check: dict[str, Any]) -> tuple[float, float, int, int]:
    spec = asked(check)
    (target,) = targets.check_targets(spec, resolve(spec), make_seen(make_pod("a")))
    return (
        target.interval / SECOND,
        target.timeout / SECOND,
        target.failure_threshold,
        target.success_threshold,
    )


@pytest.mark.parametrize("check", [CACHE, LIVE, READY, {"name": "errors", "prometheus": {"query": "up", "below": "1"}}])
def test_each_check_may_have_its_own(check: dict[str, Any]) -> None:
    own = {key: value for key, value in OWN.items() if key != "latency"}

    assert found(check) == (10, 2, 3, 2)
    assert found({**check, **own}) == (30, 4, 7, 5)
    assert found({**check, "failureThreshold": 1}) == (10, 2, 1, 2)


@pytest.mark.parametrize(
    ("own", "interval", "timeout"),
    [
        ({"timeout": "15s"}, 15, 15),
        ({"timeout": "500ms"}, 10, 0.5),
        ({"interval": "1s"}, 1, 1),
        ({"interval": "1m"}, 60, 2),
        # Past the API server's validation.
        ({"interval": "10ms", "timeout": "10ms"}, 1, 0.01),
        ({"interval": "1h", "timeout": "10m"}, 3600, 30),
    ],
)
def test_what_is_not_set_fits_to_what_is(own: dict[str, str], interval: float, timeout: float) -> None:
    assert found({**READY, **own})[:2] == (interval, timeout)


@pytest.mark.parametrize("check", [CACHE, LIVE, READY, {"name": "errors", "prometheus": {"query": "up", "below": "1"}}])
def test_a_gate_asks_each_second_unless_the_check_sets_its_interval(check: dict[str, Any]) -> None:
    def intervals(**own: str) -> set[timedelta]:
        spec = asked({**check, **own}, rollout={"before": {"checks": [check["name"]]}})
        seen = make_seen(make_pod("a"))
        pods = [make_pod("a")]
        wanted = gates.check_targets(spec.rollout.before, spec, resolve(spec), seen, pods)
        assert wanted
        return {target.interval for target in wanted}

    assert intervals() == {SECOND}
    assert intervals(timeout="4s") == {SECOND}
    assert intervals(interval="30s") == {30 * SECOND}


def test_a_flag_asks_at_the_pace_of_its_check_and_counts_by_its_own() -> None:
    spec = asked({**CACHE, **OWN}, degradation={"flags": [{"name": "alone", "check": "cache", "mode": "memory"}]})
    (target,) = flags.targets(make_context(make_resource(spec), make_seen(make_pod("a"))))

    assert (target.check, target.interval, target.timeout) == ("flag/alone", 30 * SECOND, 4 * SECOND)
    assert (target.failure_threshold, target.success_threshold) == (3, 5)
    assert target.latency == Levels.most(warning=1.0)
    assert target.fixed and target.rows


def test_a_policy_asks_at_the_pace_of_its_check() -> None:
    policy = {"name": "hung", "check": {"name": "live", "failures": 4}}
    spec = asked({**LIVE, **OWN}, restart={"policies": [policy], "coolDown": "1s"})
    context = make_context(make_resource(spec), make_seen(make_pod("a")))
    (target,) = policies.targets(context)

    assert (target.interval, target.timeout, target.failure_threshold) == (30 * SECOND, 4 * SECOND, 4)
    # Four failures take 2 min: a pod that fires so soon after it was made is one that restarting did not help.
    assert limits._futile_age(context, spec.restart.policies[0]) == limits.LOOP_LEAST + 120 * SECOND


def test_probes_have_the_pace_of_their_check() -> None:
    probes = {"readiness": {"check": "ready"}, "startup": {"check": "live", "maxDuration": "100s"}}

    def times(ready: dict[str, Any], live: dict[str, Any]) -> list[tuple[object, ...]]:
        fields = plan(asked({**READY, **ready}, {**LIVE, **live}, probes=probes)).fields
        names = ("periodSeconds", "timeoutSeconds", "failureThreshold")
        found = [fields["readinessProbe"], fields["startupProbe"]]
        return [tuple(each[name] for name in names) for each in found if isinstance(each, dict)]

    assert times({}, {}) == [(10, 2, 3), (1, 2, 100)]
    assert times(OWN, {}) == [(30, 4, 7), (1, 2, 100)]
    # The start may take as long as before: 34 times 3 s.
    assert times({}, {"interval": "3s"}) == [(10, 2, 3), (3, 2, 34)]


def test_the_usual_pace_is_not_fixed() -> None:
    spec = asked(READY, {**LIVE, "timeout": "1s"}, {**CACHE, "interval": "10s"})

    assert [pace.of(check, spec, resolve(spec)).fixed for check in spec.health.checks] == [False, False, True]
