"""How releases end: the result, its words and event, what clients had of it, and what is remembered."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.reasons import FailureClass, Reason, RolloutOutcome
from resilience.api.status import HistoryEntry
from resilience.core.failures.classify import Failure
from resilience.core.model.traffic import Traffic
from resilience.core.rollouts.status import Progress
from tests.support.factories import NOW
from tests.support.progress import FRESH, SECOND, after, flight, follow, rest
from tests.support.stages import LATER, NEW, OLD, version

NO_IMAGE = Failure(FailureClass.CONFIGURATION, "ImageNotFound", "no such image", "push it", "green-1")
ABORTED = Failure(FailureClass.ABORTED, "Aborted", "a person aborted the release", "change it")
FAILED = {"failure": NO_IMAGE}
LEFT_BEHIND: dict[str, Any] = {"failed": NEW, "unwanted": version(NEW)}


@pytest.mark.parametrize(
    ("during", "end", "aborted", "result", "reason", "warning", "words"),
    [
        ({}, rest(), False, RolloutOutcome.SUCCEEDED, Reason.RELEASE_SUCCEEDED, False, "released shop:t-new (t-new)"),
        (
            FAILED,
            rest(OLD, "RolledBack", **LEFT_BEHIND),
            False,
            RolloutOutcome.ROLLED_BACK,
            Reason.RELEASE_FAILED,
            True,
            "shop:t-new (t-new) failed and was rolled back after 2 s; shop:t-old (t-old) serves: no such image",
        ),
        (
            FAILED,
            rest(OLD, "Paused", **LEFT_BEHIND, stays=RolloutOutcome.PAUSED),
            False,
            RolloutOutcome.PAUSED,
            Reason.RELEASE_FAILED,
            True,
            "shop:t-new (t-new) failed; its rolling update is paused: no such image",
        ),
        (
            FAILED,
            rest(OLD, "Failed", **LEFT_BEHIND, stays=RolloutOutcome.FAILED),
            False,
            RolloutOutcome.FAILED,
            Reason.RELEASE_FAILED,
            True,
            "failed and stays, because there is nothing to roll back to: no such image",
        ),
        (
            {"failure": ABORTED},
            rest(OLD, "RolledBack", **LEFT_BEHIND),
            True,
            RolloutOutcome.ABORTED,
            Reason.RELEASE_ABORTED,
            False,
            "release of shop:t-new (t-new) was aborted after 2 s; shop:t-old (t-old) serves",
        ),
        # What was noted while there was nothing to go back to got well, and was accepted.
        (FAILED, rest(), False, RolloutOutcome.SUCCEEDED, Reason.RELEASE_SUCCEEDED, False, "released"),
        # Asked too late: it was accepted before.
        ({}, rest(), True, RolloutOutcome.SUCCEEDED, Reason.RELEASE_SUCCEEDED, False, "released"),
        (
            {},
            rest(OLD),
            False,
            RolloutOutcome.SUPERSEDED,
            Reason.RELEASE_SUPERSEDED,
            False,
            "ended after 2 s: the template changed again, or rolls by itself",
        ),
        # A new leader knows the note on the Deployment, not what was seen.
        ({}, rest(OLD, **LEFT_BEHIND), False, RolloutOutcome.ROLLED_BACK, Reason.RELEASE_FAILED, True, "rolled back"),
    ],
)
def test_how_a_release_ends(
    during: Any, end: Progress, aborted: bool, result: RolloutOutcome, reason: Reason, warning: bool, words: str
) -> None:
    begun = follow(flight(), flight("Warm", **during)).status
    begun = begun.model_copy(update={"rollout": begun.rollout.model_copy(update={"aborted": aborted})})

    outcome = after(begun, end, at=2)

    last, event = outcome.status.last_rollout, outcome.events[-1]
    assert last is not None and last.result is result
    assert (last.to, last.from_, last.duration) == (version(), version(OLD), 2 * SECOND)
    assert [(each.name, each.duration) for each in last.steps] == [("Preparing", SECOND), ("Warm", SECOND)]
    assert (event.reason, event.warning) == (reason, warning)
    assert words in event.message and f"(trace {last.trace_id})" in event.message
    rollout = outcome.status.rollout
    assert (rollout.candidate, rollout.trace_id, rollout.aborted, rollout.steps) == (None, None, False, [])


def test_an_end_tells_what_clients_had_of_it() -> None:
    measured = Traffic(200, 3, 0.25)

    outcome = follow(flight(traffic=measured), flight("Draining", traffic=measured, kept_connections=4), rest())

    last = outcome.status.last_rollout
    assert last is not None and last.requests is not None
    assert (last.requests.sent, last.requests.failed, last.requests.p99) == (200, 3, timedelta(milliseconds=250))
    assert (
        outcome.events[-1]
        .message.split(" (trace")[0]
        .endswith("; 3 of 200 measured requests failed; 4 kept connections were cut")
    )
    assert outcome.status.rollout.requests is None


@pytest.mark.parametrize(
    ("looks", "cut"),
    [
        ([("Warm", 9), ("Draining", None)], None),
        ([("Draining", 5), ("Draining", 2), ("HoppingBack", None)], 2),
        ([("Draining", 5), ("HoppingBack", None), ("HoppingBack", None)], 5),
        ([("Draining", 5), ("HoppingBack", None), ("DrainingGreen", 3), ("Finishing", None)], 8),
        ([("Draining", 0), ("HoppingBack", None)], 0),
        ([("Discarding", 4)], 4),
        # While its pods end nobody is asked; what they said last is cut.
        ([("DrainingGreen", 3), ("DrainingGreen", None), ("Finishing", None)], 3),
        ([("Discarding", 4), ("Discarding", None)], 4),
        # They serve again, so nobody lost anything.
        ([("Draining", 5), ("Reverting", None), ("Discarding", None)], None),
        ([("Warm", 9)], None),
    ],
)
def test_kept_connections_that_were_cut_are_counted_once(looks: Any, cut: int | None) -> None:
    outcome = follow(*(flight(step, kept_connections=each) for step, each in looks), rest())

    assert outcome.status.last_rollout is not None
    assert outcome.status.last_rollout.kept_connections_cut == cut
    assert outcome.status.rollout.kept_connections_cut is None


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (rest(OLD, "RolledBack", **LEFT_BEHIND), "ImageNotFound"),
        (rest(OLD, failed=NEW, cleared=True), None),
        (rest(OLD), None),
    ],
)
def test_a_failure_is_remembered_while_somebody_wants_what_failed(end: Progress, reason: str | None) -> None:
    failure = follow(flight(failure=NO_IMAGE), end, end).status.rollout.failure

    assert (failure.reason if failure is not None else None) == reason


def test_a_resource_that_was_made_anew_knows_that_a_template_failed() -> None:
    outcome = follow(rest(OLD, "RolledBack", **LEFT_BEHIND))

    failure = outcome.status.rollout.failure
    assert failure is not None and (failure.reason, failure.version) == ("FailedBefore", version())
    assert outcome.events == ()


def test_the_history_is_bounded_in_number_and_age() -> None:
    old = HistoryEntry(at=NOW - timedelta(hours=24), kind="Restart", result="Succeeded")
    status = FRESH.model_copy(update={"history": [old]})
    for number in range(25):
        begun = after(status, flight(template=f"t-{number}"), at=number).status
        status = after(begun, rest(f"t-{number}"), at=number).status

    assert len(status.history) == 20
    assert {(each.kind, each.result) for each in status.history} == {("Release", "Succeeded")}
    assert [each.message[:18] for each in status.history][::19] == ["released shop:t-5 ", "released shop:t-24"]
    assert all(each.trace_id and each.steps for each in status.history)


def test_a_newer_template_ends_one_release_and_begins_the_next() -> None:
    outcome = follow(flight(), flight("Scaling"), flight("Preflight", LATER))

    reasons = [each.reason for each in outcome.events]
    assert reasons == [Reason.RELEASE_STARTED, Reason.RELEASE_SUPERSEDED, Reason.RELEASE_STARTED]
    rollout, last = outcome.status.rollout, outcome.status.last_rollout
    assert last is not None and last.to == version() and last.trace_id != rollout.trace_id
    assert rollout.candidate == version(LATER) and rollout.started_at == NOW + 2 * SECOND
    assert [each.name for each in rollout.steps] == ["Preflight"]


def test_a_version_that_serves_when_the_next_comes_has_succeeded() -> None:
    outcome = follow(flight("Draining"), flight("HoppingBack", LATER, serving=version(NEW)))

    assert outcome.status.last_rollout is not None
    assert outcome.status.last_rollout.result is RolloutOutcome.SUCCEEDED
