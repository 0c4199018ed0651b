"""Dead letters go back once what the service depends on works, once each, and never round and round."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.api.names import request_annotation
from resilience.api.reasons import HealthState, Reason, Request
from resilience.api.status import Status
from resilience.api.status_flags import FlagStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.degradation import dead_letters
from resilience.core.model.decision import Event, Replay
from resilience.core.model.observation import Observation
from resilience.core.model.replays import Replayed
from tests.support.counts import count
from tests.support.factories import NOW, make_check, make_context, make_resource, make_spec

REDIS = {"name": "cache", "scope": "Dependency", "redis": {"address": "redis:6379"}}
ASK = request_annotation(Request.REPLAY)


def spec_of(when: str = "OnRequest", **letters: Any) -> ResilientServiceSpec:
    dead = {"stream": "dlq:jobs", "replay": when} | letters
    jobs = {
        "name": "jobs",
        "scope": "Dependency",
        "redisStream": {"redis": "cache", "stream": "jobs", "deadLetter": dead},
    }
    return make_spec(health={"checks": [REDIS, jobs]})


@dataclass
class Queue:
    """A stream with dead letters, and the operator's passes over it."""

    spec: ResilientServiceSpec = field(default_factory=spec_of)
    young: int = 0
    old: int = 0
    now: datetime = NOW
    cache: HealthState = HealthState.HEALTHY
    annotations: dict[str, str] = field(default_factory=dict)
    status: Status = field(default_factory=lambda: Status(observed_generation=1))
    events: list[Event] = field(default_factory=list)
    moved: int = 0
    progress: dict[str, Replayed] = field(default_factory=dict)
    wait: timedelta | None = None

    def look(self) -> bool:
        """One pass with its batch, a moment later; whether anything was done."""
        self.now += timedelta(milliseconds=200)
        checks = {
            "cache": make_check("cache", self.cache),
            "jobs": make_check("jobs", HealthState.WARNING, dead_letters=self.young + self.old),
        }
        resource = make_resource(self.spec, status=self.status, annotations=self.annotations)
        seen = Observation(workload=None, checks=checks, replays=self.progress)
        found = dead_letters.reconcile(make_context(resource, seen, now=self.now))
        self.status, self.wait = found.status, found.requeue_after
        self.events.extend(found.events)
        for action in found.actions:
            assert isinstance(action, Replay)
            self._batch(action)
        return bool(found.actions)

    def _batch(self, action: Replay) -> None:
        count = min(self.young, action.letters.batch)
        self.young -= count
        self.moved += count
        known = self.progress.get(action.check)
        before = known.count if known is not None and known.started == action.started else action.so_far
        left = self.young + self.old
        self.progress[action.check] = Replayed(action.started, before + count, left, self.young > 0)

    def run(self, passes: int = 30) -> None:
        for _ in range(passes):
            self.look()

    def reasons(self) -> list[Reason]:
        return [each.reason for each in self.events]


def test_a_request_puts_all_back_that_is_young_enough() -> None:
    queue = Queue(young=25, old=3, annotations={ASK: "1"})
    queue.run()
    (entry,) = queue.status.replays
    assert (queue.young, queue.moved) == (0, 25)
    assert (entry.replayed, entry.left) == (25, 3)
    assert entry.finished_at is not None
    assert "25 dead letters of jobs were put back, 3 older than maxAge stay" in entry.message
    assert queue.reasons() == [Reason.REPLAY_STARTED, Reason.REPLAY_ENDED]
    assert [each.kind for each in queue.status.history] == ["Replay"]


def test_nothing_happens_unasked() -> None:
    queue = Queue(young=5)
    queue.run()
    assert (queue.moved, queue.status.replays, queue.events) == (0, [], [])


@pytest.mark.parametrize("state", [HealthState.UNHEALTHY, HealthState.UNKNOWN])
def test_it_waits_for_what_the_service_depends_on(state: HealthState) -> None:
    queue = Queue(young=5, cache=state, annotations={ASK: "1"})
    queue.run()
    assert queue.moved == 0
    assert queue.status.replays[0].message == "waits for cache"
    queue.cache = HealthState.HEALTHY
    queue.run()
    assert queue.moved == 5


def test_it_waits_while_applications_are_told_that_something_is_lost() -> None:
    queue = Queue(young=5, annotations={ASK: "1"})
    flag = FlagStatus(name="redis-degraded", on=True, since=NOW)
    queue.status = queue.status.model_copy(update={"degradation": [flag]})
    queue.run()
    assert (queue.moved, queue.status.replays[0].message) == (0, "waits for flag redis-degraded")


def test_a_request_with_nothing_to_do_says_so() -> None:
    queue = Queue(spec=make_spec(health={"checks": [REDIS]}), annotations={ASK: "1"})
    queue.run()
    assert queue.reasons() == [Reason.REQUEST_IGNORED]


def test_suspended_it_waits() -> None:
    queue = Queue(spec=spec_of().model_copy(update={"suspend": True}), young=5, annotations={ASK: "1"})
    queue.run()
    assert (queue.moved, queue.status.handled) == (0, [])


def test_by_itself_and_not_again_for_what_is_too_old() -> None:
    queue = Queue(spec=spec_of("Automatic"), young=3, old=2)
    queue.run()
    assert (queue.moved, queue.reasons()) == (3, [Reason.REPLAY_STARTED, Reason.REPLAY_ENDED])
    queue.now += timedelta(hours=2)
    queue.run()
    assert len(queue.events) == 2
    queue.young = 1
    queue.run()
    assert queue.moved == 4


def test_what_comes_back_waits_longer_each_time() -> None:
    queue, begun = Queue(spec=spec_of("Automatic"), young=1), list[datetime]()
    while queue.now < NOW + timedelta(hours=12):
        if queue.look():
            begun.append(queue.now)
            # it fails again at once
            queue.young = 1
            queue.progress["jobs"] = Replayed(queue.progress["jobs"].started, 1, 0, more=False)
        queue.now += timedelta(seconds=10)
    pauses = [later - earlier for earlier, later in pairwise(begun)]
    assert timedelta(minutes=1) <= pauses[0] < timedelta(minutes=2)
    assert max(pauses) >= timedelta(hours=1)
    assert len(begun) < 22


def test_another_leader_goes_on_where_the_first_one_was() -> None:
    queue = Queue(young=25, annotations={ASK: "1"})
    queue.run(2)
    assert queue.moved == 10
    queue.look()
    queue.progress = {}
    queue.run()
    assert queue.moved == 25
    assert queue.status.replays[0].finished_at is not None
    # at most the batch that was not told of yet is not counted
    assert queue.status.replays[0].replayed >= 15


def test_a_batch_whose_answer_was_lost_may_have_gone_back() -> None:
    queue = Queue(young=3, annotations={ASK: "1"})
    queue.run(1)
    (entry,) = queue.status.replays
    queue.progress["jobs"] = Replayed(entry.started_at, 3, more=False, uncounted=True)
    queue.run(1)
    assert "at least 3 dead letters of jobs were put back" in queue.status.replays[0].message


@settings(max_examples=count(60, proof=2000), deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.integers(1, 30),
            st.sampled_from(["ask", "lost", "back", "leader", "later"]),
        ),
        max_size=30,
    ),
    when=st.sampled_from(["OnRequest", "Automatic"]),
)
def test_each_goes_back_once_whatever_happens(steps: list[int | str], when: str) -> None:
    queue, arrived, asked = Queue(spec=spec_of(when)), 0, 0
    for step in steps:
        if isinstance(step, int):
            queue.young += step
            arrived += step
        elif step == "ask":
            asked += 1
            queue.annotations[ASK] = str(asked)
        elif step == "lost":
            queue.cache = HealthState.UNHEALTHY
        elif step == "back":
            queue.cache = HealthState.HEALTHY
        elif step == "leader":
            queue.progress = {}
        else:
            queue.now += timedelta(hours=1)
        before = queue.moved
        queue.run(3)
        assert queue.cache is HealthState.HEALTHY or queue.moved == before
    queue.cache = HealthState.HEALTHY
    queue.annotations[ASK] = "last"
    queue.run(60)
    assert (queue.young, queue.moved) == (0, arrived)
    assert all(each.finished_at is not None for each in queue.status.replays)
    assert not queue.look()
