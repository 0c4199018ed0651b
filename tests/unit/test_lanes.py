"""Parallel runs: who runs what is decided so that no test can spoil another's verdict."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plugins.kinds import Kind, Label, lanes
from tests.plugins.lanes import Lanes


class Worker:
    """Runs a test when it knows the next one or has been told to end, as xdist's workers do."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.queue: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.queue.extend(indices)

    def shutdown(self) -> None:
        self.shutting_down = True

    def may_run(self) -> bool:
        return len(self.queue) > 1 or (bool(self.queue) and self.shutting_down)


class Session:
    """A scheduler with its workers, driven to the end."""

    def __init__(self, folder: Path, labels: list[Label], *, workers: int) -> None:
        self.labels = labels
        self.tests = [f"test_{number}" for number in range(len(labels))]
        file = folder / "labels.json"
        file.write_text(json.dumps([asdict(label) for label in labels]))
        config: Any = SimpleNamespace(getvalue=lambda name: [f"{workers}*popen"] if name == "tx" else None)
        config.option = SimpleNamespace(tx=[f"{workers}*popen"])
        self.scheduler = Lanes(config, file)
        self.workers = [Worker(f"gw{number}") for number in range(workers)]
        for worker in self.workers:
            self.join(worker)

    def join(self, worker: Any) -> None:
        self.scheduler.add_node(worker)
        self.scheduler.add_node_collection(worker, self.tests)
        if self.scheduler.collection_is_completed:
            self.scheduler.schedule()

    def running(self) -> list[int]:
        """The tests that run at this moment."""
        return [worker.queue[0] for worker in self.workers if worker.may_run()]

    def steps(self) -> Iterator[list[int]]:
        """The tests that run, until all is over; each time one test ends, of another worker in turn."""
        turn = 0
        while running := self.running():
            yield running
            ready = [worker for worker in self.workers if worker.may_run()]
            self.end(ready[turn % len(ready)])
            turn += 1

    def end(self, worker: Any) -> None:
        self.scheduler.mark_test_complete(worker, worker.queue.pop(0))


MIXED = [
    *(Label(Kind.FAST, group=f"file{number // 3}") for number in range(12)),
    *(Label(Kind.LOAD, is_long=number == 4) for number in range(6)),
    *(Label(Kind.WAITING) for _ in range(9)),
    *(Label(Kind.PLAIN) for _ in range(4)),
    *(Label(Kind.EXCLUSIVE) for _ in range(3)),
    *(Label(Kind.KILLING) for _ in range(5)),
]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 6, 7, 12])
def test_every_test_runs_once_and_none_beside_what_it_cannot_bear(tmp_path: Path, workers: int) -> None:
    session = Session(tmp_path, MIXED, workers=workers)
    ran: list[int] = []
    most_killing = most_fast = 0
    for running in session.steps():
        # Those that need no cluster may run beside all others.
        kinds = [MIXED[index].kind for index in running if MIXED[index].kind is not Kind.FAST]
        assert kinds.count(Kind.LOAD) <= 2, kinds
        assert Kind.EXCLUSIVE not in kinds or len(kinds) == 1, kinds
        assert Kind.KILLING not in kinds or set(kinds) <= {Kind.KILLING, Kind.PLAIN}, kinds
        most_killing = max(most_killing, kinds.count(Kind.KILLING))
        most_fast = max(most_fast, (len(running) - len(kinds)) if kinds else 0)
        ran.extend(index for index in running if index not in ran)
    assert sorted(ran) == list(range(len(MIXED)))
    assert session.scheduler.tests_finished
    assert not session.scheduler.has_pending
    ordered = [MIXED[index].kind for index in ran if MIXED[index].kind not in (Kind.FAST, Kind.PLAIN)]
    assert ordered[-8:] == [Kind.KILLING] * 5 + [Kind.EXCLUSIVE] * 3
    assert most_killing == (2 if workers >= 6 else 1)
    assert most_fast <= 1, "one core is for the cluster"


def test_what_needs_no_cluster_takes_no_core_from_those_that_are_short_of_it(tmp_path: Path) -> None:
    session = Session(tmp_path, MIXED, workers=8)
    waiting = {index for index, label in enumerate(MIXED) if label.kind is Kind.WAITING}
    begun: set[int] = set()
    for running in session.steps():
        begun.update(running)
        assert waiting <= begun or not any(MIXED[index].kind in (Kind.FAST, Kind.PLAIN) for index in running)


def test_without_tests_of_the_cluster_every_worker_has_some(tmp_path: Path) -> None:
    session = Session(tmp_path, [label for label in MIXED if label.kind is Kind.FAST], workers=4)
    assert len(session.running()) == 4


def test_a_group_stays_on_one_worker_in_its_order(tmp_path: Path) -> None:
    session = Session(tmp_path, MIXED, workers=4)
    homes: dict[str, set[str]] = {}
    order: dict[str, list[int]] = {}
    for _ in session.steps():
        for worker in session.workers:
            for index in worker.queue:
                group = MIXED[index].group
                if group:
                    homes.setdefault(group, set()).add(worker.gateway.id)
                    order.setdefault(group, []).append(index)
    assert homes and all(len(names) == 1 for names in homes.values()), homes
    assert all(indices[: len(set(indices))] == sorted(set(indices)) for indices in order.values())


def test_long_ones_begin_first(tmp_path: Path) -> None:
    session = Session(tmp_path, [Label(Kind.LOAD), Label(Kind.LOAD), Label(Kind.LOAD, is_long=True)], workers=1)
    assert session.workers[0].queue[0] == 2


def test_a_worker_that_crashes_is_replaced_and_only_its_test_is_lost(tmp_path: Path) -> None:
    session = Session(tmp_path, MIXED, workers=3)
    # when
    crashed = session.workers.pop(1)
    lost = session.scheduler.remove_node(crashed)
    session.workers.append(Worker("gw9"))
    session.join(session.workers[-1])
    # then
    assert lost == f"test_{crashed.queue[0]}"
    ran = {index for running in session.steps() for index in running}
    assert ran | {crashed.queue[0]} == set(range(len(MIXED)))


def test_nobody_waits_for_tests_that_are_not_there() -> None:
    assert [Kind.EXCLUSIVE in lane for lane in lanes(3, [])] == [False] * 3
    assert sum(Kind.KILLING in lane for lane in lanes(8, [Kind.EXCLUSIVE])) == 0
    assert sum(Kind.LOAD in lane for lane in lanes(7, [Kind.KILLING, Kind.EXCLUSIVE])) == 2
