"""Profiles, durations, folding of check results, conditions and requests: small rules by tables."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.api.reasons import ConditionType, HealthState, Reason, Request
from resilience.api.scalars import format_duration, parse_duration
from resilience.api.status import Status
from resilience.core.health import thresholds
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model import conditions, requests
from resilience.core.model.conditions import ConditionVerdict
from resilience.core.model.profiles import resolve
from tests.support.factories import NOW, make_spec

SECOND = timedelta(seconds=1)
RESULTS = {"+": Outcome.PASS, "!": Outcome.WARN, "-": Outcome.FAIL, "?": Outcome.INCONCLUSIVE}


def folded(results: str, *, failures: int = 3, successes: int = 2) -> thresholds.Fold:
    state = thresholds.initial(now=NOW)
    for count, sign in enumerate(results, start=1):
        result = CheckResult(RESULTS[sign], f"Reason{sign}", f"saw {sign}", 0.1)
        state = thresholds.fold(
            state, result, failure_threshold=failures, success_threshold=successes, now=NOW + count * SECOND
        )
    return state


@pytest.mark.parametrize(
    ("results", "state", "since"),
    [
        ("", HealthState.UNKNOWN, 0),
        ("+", HealthState.HEALTHY, 1),
        ("--", HealthState.UNKNOWN, 0),
        ("---", HealthState.UNHEALTHY, 3),
        ("+--", HealthState.HEALTHY, 1),
        ("+--+--", HealthState.HEALTHY, 1),
        ("+---", HealthState.UNHEALTHY, 4),
        ("---+", HealthState.UNHEALTHY, 3),
        ("---+-+", HealthState.UNHEALTHY, 3),
        ("---++", HealthState.HEALTHY, 5),
        ("+??", HealthState.HEALTHY, 1),
        ("+???", HealthState.UNKNOWN, 4),
        ("---???", HealthState.UNKNOWN, 6),
        ("+-?-?-", HealthState.UNHEALTHY, 6),
        ("---+?+", HealthState.HEALTHY, 6),
        # A warning is no failure: from Unknown one is enough, from Healthy it takes as many as of failures.
        ("!", HealthState.WARNING, 1),
        ("-!", HealthState.WARNING, 2),
        ("+!!", HealthState.HEALTHY, 1),
        ("+!!!", HealthState.WARNING, 4),
        ("+!!+!!", HealthState.HEALTHY, 1),
        ("+!?!?!", HealthState.WARNING, 6),
        # What fails in between is no clean pass either, and no row of failures.
        ("+!-!", HealthState.WARNING, 4),
        ("+-!--", HealthState.HEALTHY, 1),
        ("!--", HealthState.WARNING, 1),
        ("!---", HealthState.UNHEALTHY, 4),
        ("!-!--", HealthState.WARNING, 1),
        # Back: from Unhealthy results that are no failure, from Warning only clean ones.
        ("---!", HealthState.UNHEALTHY, 3),
        ("---!!", HealthState.WARNING, 5),
        ("---+!", HealthState.WARNING, 5),
        ("---!+", HealthState.HEALTHY, 5),
        ("!+", HealthState.WARNING, 1),
        ("!+!+", HealthState.WARNING, 1),
        ("!++", HealthState.HEALTHY, 3),
        ("!+?+", HealthState.HEALTHY, 4),
        ("!???", HealthState.UNKNOWN, 4),
        ("!???!", HealthState.WARNING, 5),
    ],
)
def test_results_fold_into_a_state(results: str, state: HealthState, since: int) -> None:
    found = folded(results)

    assert (found.state, found.since) == (state, NOW + since * SECOND)


@given(st.text(alphabet="+?!", max_size=30))
def test_what_is_no_failure_never_makes_a_check_unhealthy(results: str) -> None:
    assert folded(results).state is not HealthState.UNHEALTHY


@given(st.text(alphabet="+-?", max_size=30))
def test_without_a_warning_there_is_no_warning(results: str) -> None:
    assert folded(results).state is not HealthState.WARNING


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ("+-", "saw +"),
        ("---+", "saw -"),
        ("---?", "saw -"),
        ("-", "saw -"),
        ("+!!", "saw +"),
        ("!+", "saw !"),
        ("!-", "saw !"),
        ("---!", "saw -"),
    ],
)
def test_the_words_belong_to_the_state_that_holds(results: str, words: str) -> None:
    assert folded(results).message == words


@pytest.mark.parametrize(
    ("results", "state"),
    [
        (("+", "!"), HealthState.WARNING),
        (("!", "!---"), HealthState.UNHEALTHY),
        (("!", "+???"), HealthState.WARNING),
        (("+", "+???"), HealthState.UNKNOWN),
        # One that has only warned has passed, and speaks; one that never passed is starting.
        (("!", "---"), HealthState.WARNING),
        ((), HealthState.UNKNOWN),
    ],
)
def test_the_worst_of_many_is_unhealthy_then_warning_then_unknown(results: tuple[str, ...], state: HealthState) -> None:
    folds = {str(number): folded(each) for number, each in enumerate(results)}

    assert thresholds.over_pods("live", folds, now=NOW).state is state
    if "---" not in results:
        assert thresholds.worst([each.state for each in folds.values()]) is state


def test_only_unhealthy_pods_say_why() -> None:
    found = thresholds.over_pods("live", {"a": folded("+---"), "b": folded("!"), "c": folded("+")}, now=NOW)

    assert found.messages_by_pod == {"a": "saw -"}


def test_what_was_read_is_kept_until_something_else_is_read() -> None:
    def read(before: thresholds.Fold, fingerprint: str, second: int) -> thresholds.Fold:
        outcome = Outcome.PASS if fingerprint else Outcome.INCONCLUSIVE
        result = CheckResult(outcome, "R", "m", fingerprint=fingerprint)
        return thresholds.fold(before, result, failure_threshold=1, success_threshold=1, now=NOW + second * SECOND)

    one = read(thresholds.initial(now=NOW), "one", 1)
    same, away, back, two = read(one, "one", 2), read(one, "", 3), read(read(one, "", 3), "one", 4), read(one, "two", 5)

    assert [(each.fingerprint, each.read_since) for each in (one, same, away, back)] == [("one", NOW + SECOND)] * 4
    assert (two.fingerprint, two.read_since) == ("two", NOW + 5 * SECOND)
    assert (one.differs(same), one.differs(two), two.differs(one), away.silent) == (False, True, True, True)


def test_over_pods_the_worst_speaks() -> None:
    found = thresholds.over_pods("live", {"a": folded("+"), "b": folded("+---"), "c": folded("-")}, now=NOW)

    assert found.state is HealthState.UNHEALTHY
    assert found.message == "1 of 3 pods: saw -"
    assert found.by_pod == {"a": HealthState.HEALTHY, "b": HealthState.UNHEALTHY, "c": HealthState.UNKNOWN}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"profile": "Production"}, ("10s", "2s", "5s", "30s", "5s")),
        ({"profile": "Test"}, ("2s", "1s", "2s", "10s", "1s")),
        ({"profile": "Development"}, ("30s", "5s", "1s", "10s", "1s")),
        ({"health": {"timeout": "20s"}}, ("20s", "20s", "2s", "10s", "1s")),
        ({"health": {"interval": "1s"}}, ("1s", "1s", "2s", "10s", "1s")),
        ({"drain": {"preStop": "20s"}}, ("2s", "1s", "20s", "25s", "1s")),
        ({"drain": {"gracePeriod": "1s"}}, ("2s", "1s", "0s", "1s", "1s")),
        ({"drain": {"gracePeriod": "3s"}}, ("2s", "1s", "1s", "3s", "1s")),
        ({"drain": {"preStop": "0s", "propagationDelay": "0s"}}, ("2s", "1s", "0s", "10s", "0s")),
    ],
)
def test_profiles_fill_what_the_spec_leaves_open(fields: dict[str, Any], expected: tuple[str, ...]) -> None:
    found = resolve(make_spec(**fields))

    assert (
        tuple(
            format_duration(each)
            for each in (found.interval, found.timeout, found.pre_stop, found.grace_period, found.propagation_delay)
        )
        == expected
    )


@given(st.integers(0, 999_999 * 3_600_000))
def test_durations_survive_a_round_trip(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)

    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize("text", ["", "5", "5d", "-5s", "1e3s", "5 s", "1234567s", "5s ", 5])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


def test_the_transition_time_moves_only_with_the_status() -> None:
    def verdict(status: bool | None, reason: Reason) -> ConditionVerdict:
        return ConditionVerdict(ConditionType.READY, status, reason, "x" * 2000)

    first = conditions.update([], [verdict(True, Reason.SERVING)], generation=1, now=NOW)
    second = conditions.update(first, [verdict(True, Reason.IDLE)], generation=2, now=NOW + SECOND)
    third = conditions.update(second, [verdict(None, Reason.IDLE)], generation=3, now=NOW + 2 * SECOND)

    assert [each[0].last_transition_time for each in (first, second, third)] == [NOW, NOW, NOW + 2 * SECOND]
    assert (second[0].reason, second[0].observed_generation, len(second[0].message)) == ("Idle", 2, 1000)
    assert third[0].status == "Unknown"
    assert conditions.update(third, [], generation=4, now=NOW) == []


def test_a_request_is_pending_until_its_value_was_handled() -> None:
    asked = {"resilience.dev/restart-requested-at": "a" * 2000}
    status = Status(observed_generation=1)

    assert requests.pending(asked, status, Request.RESTART) == "a" * 2000
    assert requests.pending(asked, status, Request.ABORT) is None
    handled = requests.handle(status, Request.RESTART, "a" * 2000, now=NOW, note="done")
    assert requests.pending(asked, handled, Request.RESTART) is None
    assert requests.pending({"resilience.dev/restart-requested-at": "b"}, handled, Request.RESTART) == "b"
    assert requests.pending({"resilience.dev/restart-requested-at": ""}, handled, Request.RESTART) is None


def test_what_a_restored_backup_asks_for_is_noted_and_not_done() -> None:
    asked = {"resilience.dev/restart-requested-at": "old"}

    new = requests.ignore_preexisting(asked, Status(), now=NOW)
    known = requests.ignore_preexisting(asked, Status(observed_generation=1), now=NOW)

    assert requests.pending(asked, new, Request.RESTART) is None
    assert requests.pending(asked, known, Request.RESTART) == "old"


def measured(*figures: tuple[int, str], sustained: int = 60, threshold: int = 1) -> thresholds.Fold:
    """Figures, by the second in which they were measured; each is asked for a second later."""
    state = thresholds.initial(now=NOW)
    for second, sign in figures:
        at = NOW + second * SECOND
        result = CheckResult(RESULTS[sign], f"Reason{sign}", f"saw {sign}", measured_at=None if sign == "?" else at)
        state = thresholds.fold(
            state,
            result,
            failure_threshold=threshold,
            success_threshold=1,
            now=at + SECOND,
            sustained=sustained * SECOND,
        )
    return state


@pytest.mark.parametrize(
    ("figures", "state"),
    [
        ([(0, "+"), (10, "-")], HealthState.HEALTHY),
        ([(0, "+"), (10, "-"), (69, "-")], HealthState.HEALTHY),
        ([(0, "+"), (10, "-"), (70, "-")], HealthState.UNHEALTHY),
        # The same figure, however often it is told, is one.
        ([(0, "+"), *([(10, "-")] * 99)], HealthState.HEALTHY),
        # Without a break.
        ([(0, "+"), (10, "-"), (40, "+"), (45, "-"), (80, "-")], HealthState.HEALTHY),
        # What is not known is no break and no figure.
        ([(0, "+"), (10, "-"), (40, "?"), (70, "-")], HealthState.UNHEALTHY),
        ([(0, "+"), (10, "-"), (40, "?")], HealthState.UNKNOWN),
        ([(0, "-"), (60, "-"), (61, "+")], HealthState.HEALTHY),
    ],
)
def test_what_has_to_last_lasts(figures: list[tuple[int, str]], state: HealthState) -> None:
    assert measured(*figures).state is state
