"""A typo in one part of a specification: the others do what they did, status names it, and a release in flight ends."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilience.api import parts
from resilience.api.names import ANNOTATION_SERVING
from resilience.api.reasons import ConditionType, HealthState, Phase, Reason, ReleaseStep, RolloutOutcome
from resilience.api.status import Condition, Status
from resilience.api.status_flags import FlagsStatus, FlagStatus, ReplayStatus
from resilience.api.status_restarts import ContentStatus
from resilience.api.status_slo import Outage, SloStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model import conditions
from resilience.core.model.actions import CreateGreen, Hold
from resilience.core.model.decision import ApplyTemplate, Decision, PublishFlags, RemoveFlags
from resilience.core.model.observation import Observation
from resilience.core.reconcile import decide
from resilience.core.restarts.content import CONTENT_CHECK
from tests.support.factories import (
    LONG_AGO,
    NOW,
    READY_CHECK,
    make_check,
    make_container,
    make_pod,
    make_seen,
    make_workload,
)
from tests.support.release_model import Kind
from tests.support.release_operator import Operator
from tests.support.wrong_parts import MORE, ONE_IN_EACH, RELEASED, SOUND, Damage, Spec, WrittenModel, damaged, written

PARTS: Final = [damage.part for damage in ONE_IN_EACH]
ASKED: Final = {"resilience.dev/restart-requested-at": "now"}


def at_rest(**fields: Any) -> Observation:
    """Two pods that serve, in a Deployment that is held paused for blue-green, and checks that pass."""
    pods = (make_pod("a"), make_pod("b"))
    checks = {name: make_check(name, ever_passed=True) for name in ("ready", "live", "cache")}
    template = make_workload().template.fingerprint
    notes = dict(make_workload().annotations) | {ANNOTATION_SERVING: template, "resilience.dev/held": "true"}
    seen = make_seen(*pods, checks=checks)
    assert seen.workload is not None
    return replace(seen, workload=replace(seen.workload, annotations=notes, paused=True), **fields)


def known(spec: Spec = SOUND, **fields: Any) -> dict[str, Any]:
    """The status that the sound specification has left."""
    status = Status(observed_generation=1, **fields)
    first = decide(written(spec, status=status.to_api()), at_rest(), NOW)
    assert first.status is not None
    return first.status.to_api()


def pass_over(spec: Spec, *, seen: Observation | None = None, status: Any = None, annotations: Any = None) -> Decision:
    read = written(spec, status=known() if status is None else status, annotations=annotations)
    return decide(read, at_rest() if seen is None else seen, NOW)


def condition(decision: Decision, kind: ConditionType) -> Condition | None:
    assert decision.status is not None
    return conditions.find(decision.status.conditions, kind)


@pytest.mark.parametrize("damage", [*ONE_IN_EACH, *MORE], ids=lambda damage: ".".join(damage.path) + str(damage.value))
def test_status_names_path_and_value_and_says_what_is_not_in_force(damage: Damage) -> None:
    decision = pass_over(damaged(damage))

    found, stalled = condition(decision, ConditionType.SPEC_VALID), condition(decision, ConditionType.STALLED)
    assert decision.status is not None and found is not None and stalled is not None
    assert (found.status, found.reason) == ("False", Reason.INVALID_SPEC)
    assert (stalled.status, stalled.reason) == ("True", Reason.INVALID_SPEC)
    path, words = damage.named
    assert path in found.message and words in found.message and "until that is corrected" in found.message
    assert path in decision.status.explanation
    assert decision.status.phase is Phase.RUNNING and decision.status.health.state is HealthState.HEALTHY


def test_all_six_are_named_at_once_and_the_others_work() -> None:
    decision = pass_over(damaged(*ONE_IN_EACH), annotations=ASKED)

    found = condition(decision, ConditionType.SPEC_VALID)
    assert found is not None
    read = written(damaged(*ONE_IN_EACH), status=known())
    words = "; ".join(problem.words for problem in read.problems)
    assert all(path in words for path, _ in (damage.named for damage in ONE_IN_EACH))
    assert decision.status is not None and decision.status.restart is not None
    assert {target.check for target in decision.checks} >= {"ready", "live", "cache", "flag/redis-degraded"}


def test_the_event_comes_once_and_again_for_another_wrong_part() -> None:
    wrong = damaged(ONE_IN_EACH[0])
    first = pass_over(wrong)
    assert first.status is not None
    second = pass_over(wrong, status=first.status.to_api())
    other = pass_over(damaged(*ONE_IN_EACH[:2]), status=first.status.to_api())
    mended = pass_over(SOUND, status=first.status.to_api())

    assert [event.reason for event in first.events].count(Reason.INVALID_SPEC) == 1
    assert Reason.INVALID_SPEC not in [event.reason for event in second.events]
    assert [event.reason for event in other.events].count(Reason.INVALID_SPEC) == 1
    assert Reason.NOT_STALLED in [event.reason for event in mended.events]
    assert condition(mended, ConditionType.SPEC_VALID) is None


@pytest.mark.parametrize("spec", [{"targetRef": None}, {"profile": "Fast"}, {"service": "checkout"}], ids=str)
def test_without_what_everything_needs_nothing_is_done(spec: Spec) -> None:
    decision = decide(written(SOUND | spec, status=known()), Observation(workload=None), NOW)

    found = condition(decision, ConditionType.SPEC_VALID)
    assert decision.actions == () and decision.checks == ()
    assert found is not None and found.message.startswith("the specification cannot be read: spec.")


DAMAGES: Final = st.lists(
    st.sampled_from([*ONE_IN_EACH, *MORE]), min_size=1, max_size=6, unique_by=lambda each: each.part
)


def comparable(decision: Decision) -> tuple[Any, ...]:
    """The deeds of a pass: writes, checks, restarts, flags, alerts but the one about the specification."""
    status = decision.status
    assert status is not None
    alerts = [alert for alert in status.alerts.firing if alert.name != "ServiceStalled"]
    checks = set(decision.checks)
    kept = (
        status.restart,
        status.restarts.firing,
        status.degradation,
        status.health.state,
        status.rollout,
        status.phase,
    )
    return (decision.actions, checks, kept, alerts)


@given(DAMAGES, st.sampled_from([{}, ASKED]), st.sampled_from(list(HealthState)))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_rest_does_what_it_does_with_a_sound_specification(
    damages: Sequence[Damage], annotations: dict[str, str], cache: HealthState
) -> None:
    seen = at_rest()
    checks = dict(seen.checks) | {
        "cache": make_check("cache", cache, ever_passed=True),
        "flag/redis-degraded": make_check("flag/redis-degraded", cache),
    }
    seen = replace(seen, checks=checks)

    sound = pass_over(SOUND, seen=seen, annotations=annotations)
    wrong = pass_over(damaged(*damages), seen=seen, annotations=annotations)

    assert comparable(wrong) == comparable(sound)


def places(value: Any, path: parts.Path = ()) -> Iterator[parts.Path]:
    """The path of every value in it."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in items:
        yield from places(inner, (*path, step))


FULL: Final[Spec] = SOUND | {
    "probes": {"management": "Observe", "readiness": {"check": "ready"}},
    "verify": {"path": "/readyz"},
    "drain": {"signal": {"http": {"path": "/drain", "port": "admin"}}, "maxWait": "20s"},
    "restart": {"windows": [{"schedule": "0 2 * * *", "duration": "1h"}], "surge": 2, **SOUND["restart"]},
}
ALONE: Final = ("health", "probes", "drain", "verify", "rollout", "restart", "degradation", "alerts", "slo")
JUNK: Final[st.SearchStrategy[Any]] = st.sampled_from(
    [None, 7, -1, 1e400, True, "", "soon", "9" * 400, "a\nb", [], [7], {}, {"name": {}}]
)


def test_every_part_is_said_to_fail_by_itself_or_to_stop_everything() -> None:
    fields = {str(info.alias) for info in ResilientServiceSpec.model_fields.values()}

    assert fields == {*ALONE, "targetRef", "profile", "suspend", "container", "service"}


@given(st.sampled_from([(part, *path) for part in ALONE for path in places(FULL[part])]), JUNK)
@settings(max_examples=400, deadline=None)
def test_whatever_stands_in_one_part_the_others_are_read_as_before(path: parts.Path, junk: Any) -> None:
    sound = parts.read(FULL, {}).spec
    assert sound is not None
    last = {"rollout": parts.settings(sound.rollout), "drain": parts.settings(sound.drain)}
    raw = copy.deepcopy(FULL)
    holder: Any = raw
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = junk

    reading = parts.read(raw, last)

    assert reading.spec is not None
    assert {problem.part for problem in reading.problems} <= {path[0]}
    others = [part for part in ("profile", "target_ref", "service", *ALONE) if part != path[0]]
    assert all(getattr(reading.spec, part) == getattr(sound, part) for part in others)
    if path[:2] in (("restart", "windows"),) and reading.problems:
        assert reading.spec.restart.policies == []


@contextmanager
def released(raw: Spec) -> Iterator[tuple[WrittenModel, Operator]]:
    """A Deployment that was adopted by the sound specification."""
    model = WrittenModel(spec=parts.read(RELEASED, {}).spec, raw=raw)  # type: ignore[arg-type]
    operator = Operator(model)
    work(operator, until=lambda: model.paused and not model.status.rollout.candidate)
    yield model, operator


def second(operator: Operator) -> Decision:
    """A second goes by, and everybody works."""
    operator.model.now += timedelta(seconds=1)
    operator.model.tick()
    return operator.reconcile()


def come_to(operator: Operator, step: ReleaseStep) -> None:
    """The release in flight has come to this step."""
    for _ in range(200):
        second(operator)
        if operator.model.green is not None and operator.model.green.step is step:
            return
    raise AssertionError(f"it never came to {step}")


def work(operator: Operator, *, until: Any, passes: int = 300) -> None:
    """Time goes on and everybody works until it is so, and a few passes more."""
    model, more = operator.model, 8
    for _ in range(passes):
        second(operator)
        more -= bool(until())
        if not more:
            return
    raise AssertionError(f"it never was so: {model.status.explanation} {model.green} {model.pin}")


@pytest.mark.parametrize(
    "step", [ReleaseStep.PREPARING, ReleaseStep.OVERLAPPING, ReleaseStep.WARM, ReleaseStep.DRAINING], ids=str
)
def test_a_release_in_flight_ends_with_something_wrong_in_each_part(step: ReleaseStep) -> None:
    # given: the release has come to this step
    with released(RELEASED) as (model, operator):
        model.change("t1", Kind())
        come_to(operator, step)

        # when
        model.raw = damaged(*ONE_IN_EACH, spec=RELEASED)
        work(operator, until=lambda: model.resting and model.status.rollout.candidate is None)

        # then: it has ended, by its gates, and the Deployment is held again
        last = model.status.last_rollout
        assert last is not None and (last.result, last.to.hash) == (RolloutOutcome.SUCCEEDED, "t1")
        assert model.paused and {pod.fingerprint for pod in model.pods.values() if pod.ready} == {"t1"}


def test_a_bad_version_in_flight_is_taken_back_by_the_last_readable_gates() -> None:
    with released(RELEASED) as (model, operator):
        model.change("bad", Kind(bad=True))
        for _ in range(3):
            second(operator)
        assert model.green is not None

        model.raw = damaged(*ONE_IN_EACH, spec=RELEASED)
        work(operator, until=lambda: model.resting and model.status.rollout.candidate is None)

        assert model.status.last_rollout is not None
        assert model.status.last_rollout.result is RolloutOutcome.ROLLED_BACK


def test_no_release_begins_until_its_settings_can_be_read_however_long_that_takes() -> None:
    with released(RELEASED) as (model, operator):
        model.raw = damaged(ONE_IN_EACH[-1], spec=RELEASED)
        model.change("t1", Kind())
        for _ in range(120):
            decision = second(operator)
            assert not any(isinstance(action, CreateGreen) for action in decision.actions)
        assert model.paused and "no release begins: spec.rollout.strategy" in model.status.rollout.message
        assert "t1" not in {pod.fingerprint for pod in model.pods.values()}

        # when: it is mended, longer after than the deadline of a release
        model.raw = RELEASED
        work(operator, until=lambda: model.resting and model.status.rollout.candidate is None)

        # then
        last = model.status.last_rollout
        assert last is not None and last.result is RolloutOutcome.SUCCEEDED


@pytest.mark.parametrize("step", [ReleaseStep.PREPARING, ReleaseStep.WARM], ids=str)
def test_without_known_settings_a_candidate_waits_for_a_person_and_nothing_is_given_back(step: ReleaseStep) -> None:
    with released(RELEASED) as (model, operator):
        model.change("t1", Kind())
        come_to(operator, step)

        # when: status is lost, too
        model.raw = damaged(ONE_IN_EACH[-1], spec=RELEASED)
        model.status = Status(observed_generation=1, handled=model.status.handled)
        for _ in range(60):
            second(operator)
            assert model.serving() >= model.replicas
        if step is ReleaseStep.PREPARING:
            assert model.green is not None and model.green.step is step
            assert "promote" in model.status.rollout.message
            model.ask("promote", "yes")
        work(operator, until=lambda: model.resting)

        assert model.paused and {pod.fingerprint for pod in model.pods.values() if pod.ready} == {"t1"}


def test_a_gate_whose_check_cannot_be_read_waits_for_a_person() -> None:
    with released(RELEASED) as (model, operator):
        wrong = {"checks": [{"name": "ready", "http": {"path": 7}}]}
        model.raw = RELEASED | {"health": wrong}
        model.change("t1", Kind())
        for _ in range(30):
            second(operator)
        assert model.green is not None and model.green.step is ReleaseStep.PREPARING
        message = model.status.rollout.message
        assert "check ready cannot be read" in message and "promote or abort it" in message


def test_nothing_is_adopted_by_settings_that_nobody_has_read() -> None:
    seen = make_seen(make_pod("a"), make_pod("b"))

    decision = pass_over(damaged(ONE_IN_EACH[-1]), seen=seen, status=Status(observed_generation=1).to_api())

    assert not any(isinstance(action, Hold) for action in decision.actions)
    assert decision.status is not None and decision.status.last_readable is not None
    assert decision.status.last_readable.rollout == ""


def test_a_flag_that_cannot_be_read_stays_on_and_is_not_published_anew() -> None:
    on = FlagStatus(name="redis-degraded", mode="memory", since=LONG_AGO, on=True, degraded_since=LONG_AGO)
    off = FlagStatus(name="other", mode="degraded", since=LONG_AGO)
    flags = FlagsStatus(version=3, updated_at=LONG_AGO, config_map="checkout-flags")
    status = known(SOUND, degradation=[on, off], flags=flags) | {
        "degradation": [on.to_api(), off.to_api()],
        "flags": flags.to_api(),
    }
    wrong = {
        "flags": [{"name": "redis-degraded", "check": "cache", "preset": "Later"}, {"name": "other", "check": "cache"}]
    }

    decision = pass_over(SOUND | {"degradation": wrong}, status=status)

    assert decision.status is not None
    assert [(flag.name, flag.on) for flag in decision.status.degradation] == [
        ("redis-degraded", True),
        ("other", False),
    ]
    assert decision.status.flags is not None and decision.status.flags.version == 3
    assert not any(isinstance(action, RemoveFlags) for action in decision.actions)
    published = [action.publication for action in decision.actions if isinstance(action, PublishFlags)]
    assert all(flag.on for each in published for flag in each.flags if flag.name == "redis-degraded")


def test_outages_count_on_while_the_objective_cannot_be_read() -> None:
    record = SloStatus(since=LONG_AGO, outages=[Outage(began=LONG_AGO, reason="ready: 503")])
    status = known() | {"slo": record.to_api()}

    decision = pass_over(damaged(ONE_IN_EACH[4]), status=status)

    assert decision.status is not None and decision.status.slo is not None
    assert [entry.ended for entry in decision.status.slo.outages] == [NOW]


def test_the_content_that_pods_have_is_not_forgotten() -> None:
    spec = SOUND | {"restart": {"onChange": [{"kind": "ConfigMap", "name": "a"}, {"kind": "Volume", "name": "b"}]}}
    content = ContentStatus(kind="ConfigMap", name="a", fingerprint="a-1", changed_at=LONG_AGO)
    status = known()
    status["restarts"] = status.get("restarts", {}) | {"contents": [content.to_api()]}

    decision = pass_over(spec, status=status)

    assert decision.status is not None
    assert decision.status.restart is None and decision.status.restarts.contents == [content]
    assert not any(target.check.startswith(CONTENT_CHECK) for target in decision.checks)


def test_a_check_that_cannot_be_read_may_be_the_dependency_that_is_down() -> None:
    checks = [
        READY_CHECK,
        SOUND["health"]["checks"][1],
        {"name": "cache", "scope": "Dependency", "redis": {"address": 7}},
    ]
    policies = {"policies": [{"name": "hung", "check": {"name": "live", "failures": 3}}]}
    spec = SOUND | {"health": {"checks": checks}, "restart": policies, "degradation": {}}
    seen = at_rest()
    failing = {f"uid-{name}": HealthState.UNHEALTHY for name in "ab"}
    hung = make_check("policy/hung", HealthState.UNHEALTHY, by_pod=failing)
    seen = replace(seen, checks=dict(seen.checks) | {"policy/hung": hung})

    decision = pass_over(spec, seen=seen)

    assert decision.status is not None and decision.status.restart is None
    assert "cache is not known to work" in decision.status.restarts.message


def test_what_a_probe_is_made_from_stays_in_the_template() -> None:
    probe = {"httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 2}
    owners = {"readinessProbe": frozenset({"resilience-operator"})}
    container = make_container(fields={"readinessProbe": probe}, owners=owners)
    moving = make_workload(replicas=2, containers=[container], updated=1)
    seen = replace(make_seen(make_pod("a"), make_pod("b")), workload=moving)
    wrong = {"checks": [{"name": "ready", "http": {"path": 7}}]}
    usual = SOUND | {"probes": {"readiness": {"check": "ready"}}, "rollout": {}, "degradation": {}}

    for spec in (
        usual | {"health": wrong},
        usual | {"probes": {"readiness": 7}},
        usual | {"health": {"interval": "soon"}},
    ):
        decision = pass_over(spec, seen=seen)
        assert not any(isinstance(action, ApplyTemplate) for action in decision.actions)
        synced = condition(decision, ConditionType.PROBES_SYNCED)
        assert synced is not None and (synced.status, synced.reason) == ("False", Reason.INVALID_SPEC)


def test_alerts_about_the_service_go_on() -> None:
    seen = at_rest()
    seen = replace(
        seen, checks=dict(seen.checks) | {"ready": make_check("ready", HealthState.UNHEALTHY, ever_passed=True)}
    )

    decision = pass_over(damaged(ONE_IN_EACH[1]), seen=seen)

    assert decision.status is not None
    names = {alert.name for alert in decision.status.alerts.firing}
    assert {"ServiceStalled", "ServiceUnhealthy"} <= names


@pytest.mark.parametrize(
    ("check", "secret"),
    [
        ({"name": "a", "scope": "Dependency", "http": {"url": "https://me:hunter2@partner/x"}}, "hunter2"),
        (
            {"name": "a", "scope": "Dependency", "http": {"url": "https://me:" + "hunter2" * 30 + "@partner/x"}},
            "hunter2",
        ),
        ({"name": "a", "http": {"path": "/", "headers": [{"name": "A", "value": " hunter2 "}]}}, "hunter2"),
        ({"name": "a", "scope": "Dependency", "postgres": {"dsnFrom": "postgres://me:hunter2@db/x"}}, "hunter2"),
        ({"name": "a", "scope": "Dependency", "redis": {"address": "r:1", "passwordFrom": "hunter2"}}, "hunter2"),
    ],
    ids=str,
)
def test_a_value_that_may_be_a_secret_is_not_shown(check: dict[str, Any], secret: str) -> None:
    read = written(SOUND | {"health": {"checks": [check]}, "degradation": {}})

    assert read.problems
    assert secret not in "".join(problem.words for problem in read.problems)


def test_a_known_setting_outlives_its_damage_in_status() -> None:
    status = known()

    first = pass_over(damaged(ONE_IN_EACH[-1]), status=status)

    assert first.status is not None and first.status.last_readable is not None
    assert first.status.last_readable.rollout == status["lastReadable"]["rollout"] != ""


def test_a_replay_stands_still_while_its_stream_cannot_be_read() -> None:
    stream = {
        "name": "jobs",
        "scope": "Dependency",
        "redisStream": {"redis": "cache", "stream": "jobs", "maxLag": "soon"},
    }
    spec = SOUND | {"health": {"checks": [*SOUND["health"]["checks"], stream]}}
    running = ReplayStatus(check="jobs", request="now", started_at=LONG_AGO, replayed=7)
    status = known() | {"replays": [running.to_api()]}

    decision = pass_over(spec, status=status, annotations={"resilience.dev/replay-requested-at": "later"})

    assert decision.status is not None and decision.status.replays == [running]
    assert "replay" not in {handled.request for handled in decision.status.handled}


def test_settings_that_are_too_long_for_a_status_are_not_kept() -> None:
    header = {"name": "a", "value": "x" * 1000}
    signal = {"http": {"path": "/drain", "port": 1, "headers": [header | {"name": f"h{each}"} for each in range(9)]}}
    spec = parts.read(SOUND | {"drain": {"signal": signal}}, {}).spec

    assert spec is not None and spec.drain.signal is not None
    assert parts.settings(spec.drain) == ""
