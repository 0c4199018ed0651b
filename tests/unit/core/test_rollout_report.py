"""A release as status tells it: its beginning, its steps, and its failure."""

from typing import Any

import pytest

from resilience.api.reasons import FailureClass, Reason
from resilience.api.status import Status
from resilience.core.failures.classify import Failure
from resilience.core.model.observation import Traffic
from tests.support.factories import NOW
from tests.support.model import stored
from tests.support.pictures import FRESH, SECOND, flight, follow, rest, tell
from tests.support.stages import LATER, NEW, OLD, version

BROKEN = Failure(FailureClass.UNKNOWN, "CrashLoop", "pod green-1: it ended", "read its logs", "green-1")
NO_IMAGE = Failure(FailureClass.CONFIGURATION, "ImageNotFound", "no such image", "push it", "green-1")
ABORTED = Failure(FailureClass.UNKNOWN, "Aborted", "a person asked to stop the release", "change it")


def test_a_release_begins_with_a_trace_and_an_event() -> None:
    told = tell(FRESH, flight(progress=5, message="waits"))

    rollout = told.status.rollout
    assert rollout.trace_id is not None and rollout.trace_id.startswith("01234567-")
    assert (rollout.started_at, rollout.step, rollout.progress, rollout.message) == (NOW, "Preparing", 5, "waits")
    assert [(each.name, each.since) for each in rollout.steps] == [("Preparing", NOW)]
    (event,) = told.events
    assert (event.reason, event.warning) == (Reason.RELEASE_STARTED, False)
    words = f"release of shop:t-new (t-new) in place of shop:t-old (t-old) began (trace {rollout.trace_id})"
    assert event.message == words


def test_the_first_release_of_all_has_nothing_before_it() -> None:
    told = tell(Status(), flight(serving=None))

    assert "in place of" not in told.events[0].message


def test_nothing_in_flight_is_nothing_to_tell() -> None:
    told = follow(rest(OLD), rest(OLD), rest(OLD))

    assert told.events == () and told.status.history == [] and told.status.last_rollout is None
    rollout = told.status.rollout
    assert (rollout.step, rollout.steps, rollout.trace_id, rollout.started_at) == ("Complete", [], None, None)


def test_each_step_is_noted_once_with_its_time() -> None:
    told = follow(flight("Preparing"), flight("Preparing"), flight("Scaling"), flight("Warm"), flight("Warm"))

    steps = [(each.name, each.since - NOW) for each in told.status.rollout.steps]
    assert steps == [("Preparing", 0 * SECOND), ("Scaling", 2 * SECOND), ("Warm", 3 * SECOND)]
    assert len(told.events) == 1


def test_steps_that_come_again_and_again_do_not_fill_the_status() -> None:
    told = follow(*(flight(f"step-{number}") for number in range(40)))

    assert [each.name for each in told.status.rollout.steps] == [f"step-{number}" for number in range(8, 40)]


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
    told = follow(*(flight(step, progress=each) for step, each in pictures))

    assert told.status.rollout.progress == progress


@pytest.mark.parametrize(("failure", "logs_of"), [(BROKEN, "green-1"), (NO_IMAGE, "")])
def test_a_failure_is_told_once_and_a_crash_with_the_last_lines(failure: Failure, logs_of: str) -> None:
    failed = flight(failure=failure)

    told = follow(flight(), failed, failed, flight("Discarding", failed=NEW))

    (_, event) = told.events
    assert (event.reason, event.warning, event.logs_of) == (Reason.RELEASE_FAILED, True, logs_of)
    assert event.message.startswith(f"shop:t-new (t-new): {failure.kind}: {failure.message}. {failure.advice} (trace ")
    noted = told.status.rollout.failure
    assert noted is not None and (noted.class_, noted.reason, noted.version) == (
        failure.kind,
        failure.reason,
        version(),
    )
    assert noted.at == NOW + SECOND


def test_an_abort_is_noted_without_an_event_of_its_own() -> None:
    told = follow(flight(), flight(failure=ABORTED))

    assert len(told.events) == 1
    assert told.status.rollout.failure is not None and told.status.rollout.failure.reason == "Aborted"


def test_a_failure_of_the_version_before_does_not_hide_that_of_the_next() -> None:
    told = follow(
        flight(failure=NO_IMAGE),
        rest(OLD, "RolledBack", failed=NEW, unwanted=version(NEW)),
        flight(template=LATER, failed=NEW),
        flight(template=LATER, failed=NEW, failure=BROKEN),
    )

    assert told.status.rollout.failure is not None
    assert (told.status.rollout.failure.version, told.status.rollout.failure.reason) == (version(LATER), "CrashLoop")
    failed = [each for each in told.events if each.reason is Reason.RELEASE_FAILED]
    assert [each.message[:17] for each in failed if "was taken back" not in each.message] == [
        "shop:t-new (t-new",
        "shop:t-later (t-l",
    ]


def test_measured_requests_outlive_a_look_that_has_none() -> None:
    told = follow(flight(traffic=Traffic(200, 3, None)), flight())

    requests = told.status.rollout.requests
    assert requests is not None and (requests.sent, requests.p99) == (200, None)


def test_pins_that_were_lost_are_counted_and_told_each_time() -> None:
    told = follow(flight(), flight(pins_lost=1), flight(), flight(pins_lost=2))
    over = tell(told.status, rest())

    assert told.status.rollout.pins_lost == 3
    assert [each.reason for each in told.events[1:]] == [Reason.PIN_LOST, Reason.PIN_LOST]
    assert told.events[-1].warning and told.events[-1].message.startswith("2 Services lost the pin of a release")
    assert over.status.rollout.pins_lost == 0


def test_a_look_at_the_same_thing_says_nothing_new() -> None:
    picture = flight("Warm", progress=70, message="waits", kept_connections=3, failure=NO_IMAGE)
    told = follow(flight(), picture)

    again = tell(stored(told.status), picture, at=9)

    assert again.events == ()
    assert again.status.rollout == stored(told.status).rollout
