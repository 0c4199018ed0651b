"""A release as status tells it: its beginning, its steps, and its failure."""

from typing import Any

import pytest

from resilience.api.reasons import FailureClass, Reason
from resilience.api.status import Status
from resilience.core.failures.classify import Failure
from resilience.core.model.traffic import Traffic
from tests.support.factories import NOW
from tests.support.model import stored
from tests.support.progress import FRESH, SECOND, after, flight, follow, rest
from tests.support.stages import LATER, NEW, OLD, version

BROKEN = Failure(FailureClass.UNKNOWN, "CrashLoop", "pod green-1: it ended", "read its logs", "green-1")
NO_IMAGE = Failure(FailureClass.CONFIGURATION, "ImageNotFound", "no such image", "push it", "green-1")
ABORTED = Failure(FailureClass.ABORTED, "Aborted", "a person aborted the release", "change it")


def test_a_release_begins_with_a_trace_and_an_event() -> None:
    outcome = after(FRESH, flight(percent=5, message="waits"))

    rollout = outcome.status.rollout
    assert rollout.trace_id is not None and rollout.trace_id.startswith("01234567-")
    assert (rollout.started_at, rollout.step, rollout.progress, rollout.message) == (NOW, "Preparing", 5, "waits")
    assert [(each.name, each.since) for each in rollout.steps] == [("Preparing", NOW)]
    (event,) = outcome.events
    assert (event.reason, event.warning) == (Reason.RELEASE_STARTED, False)
    words = f"release of shop:t-new (t-new) in place of shop:t-old (t-old) began (trace {rollout.trace_id})"
    assert event.message == words


def test_the_first_release_of_all_has_nothing_before_it() -> None:
    outcome = after(Status(), flight(serving=None))

    assert "in place of" not in outcome.events[0].message


def test_nothing_in_flight_is_nothing_to_tell() -> None:
    outcome = follow(rest(OLD), rest(OLD), rest(OLD))

    assert outcome.events == () and outcome.status.history == [] and outcome.status.last_rollout is None
    rollout = outcome.status.rollout
    assert (rollout.step, rollout.steps, rollout.trace_id, rollout.started_at) == ("Complete", [], None, None)


def test_each_step_is_noted_once_with_its_time() -> None:
    outcome = follow(flight("Preparing"), flight("Preparing"), flight("Scaling"), flight("Warm"), flight("Warm"))

    steps = [(each.name, each.since - NOW) for each in outcome.status.rollout.steps]
    assert steps == [("Preparing", 0 * SECOND), ("Scaling", 2 * SECOND), ("Warm", 3 * SECOND)]
    assert len(outcome.events) == 1


def test_steps_that_come_again_and_again_do_not_fill_the_status() -> None:
    outcome = follow(*(flight(f"step-{number}") for number in range(40)))

    assert [each.name for each in outcome.status.rollout.steps] == [f"step-{number}" for number in range(8, 40)]


@pytest.mark.parametrize(
    ("pictures", "progress"),
    [
        ([("Preparing", 20), ("Preparing", 10)], 20),
        ([("Preparing", 10), ("Preparing", 20)], 20),
        # Another step is another beginning, even if it is a step back.
        ([("Warm", 70), ("Reverting", 0)], 0),
        ([("Preparing", 20), ("Scaling", 35), ("Preparing", 10)], 10),
    ],
)
def test_progress_only_rises_within_a_step(pictures: Any, progress: int) -> None:
    outcome = follow(*(flight(step, percent=each) for step, each in pictures))

    assert outcome.status.rollout.progress == progress


@pytest.mark.parametrize(("failure", "logs_of"), [(BROKEN, "green-1"), (NO_IMAGE, "")])
def test_a_failure_is_told_once_and_a_crash_with_the_last_lines(failure: Failure, logs_of: str) -> None:
    failed = flight(failure=failure)

    outcome = follow(flight(), failed, failed, flight("Discarding", failed=NEW))

    (_, event) = outcome.events
    assert (event.reason, event.warning, event.logs_of) == (Reason.RELEASE_FAILED, True, logs_of)
    assert event.message.startswith(f"shop:t-new (t-new): {failure.kind}: {failure.message}. {failure.advice} (trace ")
    noted = outcome.status.rollout.failure
    assert noted is not None and (noted.class_, noted.reason, noted.version) == (
        failure.kind,
        failure.reason,
        version(),
    )
    assert noted.at == NOW + SECOND


def test_an_abort_is_noted_without_an_event_of_its_own() -> None:
    outcome = follow(flight(), flight(failure=ABORTED))

    assert len(outcome.events) == 1
    assert outcome.status.rollout.failure is not None and outcome.status.rollout.failure.reason == "Aborted"


def test_a_failure_of_the_version_before_does_not_hide_that_of_the_next() -> None:
    outcome = follow(
        flight(failure=NO_IMAGE),
        rest(OLD, "RolledBack", failed=NEW, unwanted=version(NEW)),
        flight(template=LATER, failed=NEW),
        flight(template=LATER, failed=NEW, failure=BROKEN),
    )

    assert outcome.status.rollout.failure is not None
    assert (outcome.status.rollout.failure.version, outcome.status.rollout.failure.reason) == (
        version(LATER),
        "CrashLoop",
    )
    failed = [each for each in outcome.events if each.reason is Reason.RELEASE_FAILED]
    assert [each.message[:17] for each in failed if "was rolled back" not in each.message] == [
        "shop:t-new (t-new",
        "shop:t-later (t-l",
    ]


def test_measured_requests_outlive_a_look_that_has_none() -> None:
    outcome = follow(flight(traffic=Traffic(200, 3, None)), flight())

    requests = outcome.status.rollout.requests
    assert requests is not None and (requests.sent, requests.p99) == (200, None)


def test_pins_that_were_lost_are_counted_and_told_each_time() -> None:
    outcome = follow(flight(), flight(pins_lost=1), flight(), flight(pins_lost=2))
    over = after(outcome.status, rest())

    assert outcome.status.rollout.pins_lost == 3
    assert [each.reason for each in outcome.events[1:]] == [Reason.PIN_LOST, Reason.PIN_LOST]
    assert outcome.events[-1].warning and outcome.events[-1].message.startswith("2 Services lost the pin of a release")
    assert over.status.rollout.pins_lost == 0


def test_a_look_at_the_same_thing_says_nothing_new() -> None:
    picture = flight("Warm", percent=70, message="waits", kept_connections=3, failure=NO_IMAGE)
    outcome = follow(flight(), picture)

    again = after(stored(outcome.status), picture, at=9)

    assert again.events == ()
    assert again.status.rollout == stored(outcome.status).rollout
