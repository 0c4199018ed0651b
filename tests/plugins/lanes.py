"""Decides which pytest-xdist worker runs a test: tests that share a cluster must not decide each other's verdict.

`kinds` says which ones a worker takes. Without `-n` this plugin does nothing. It must not change which tests run.
"""

import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import pytest
from xdist.report import report_collection_diff
from xdist.scheduler import Scheduling
from xdist.workermanage import WorkerController, parse_tx_spec_config

from tests.plugins.kinds import BEFORE, Kind, Label, Lane, lanes

# A worker starts a test only when it knows the one after it.
_AHEAD: Final = 2
_FILE: Final = "labels of tests"
_FOLDER: Final = pytest.StashKey[Path]()


class Lanes:
    """xdist's `Scheduling`: gives each worker the tests of its lane."""

    def __init__(self, config: pytest.Config, labels: Path) -> None:
        self._config = config
        self._file = labels
        self._expected = len(parse_tx_spec_config(config))
        self._collections: dict[WorkerController, list[str]] = {}
        # Indices that a worker runs or has ahead of it, in their order.
        self._assigned: dict[WorkerController, list[int]] = {}
        self._lanes: dict[WorkerController, Lane] = {}
        self._free_lanes: list[Lane] = []
        # Indices that run together on one worker.
        self._units: dict[Kind, deque[list[int]]] = {kind: deque() for kind in Kind}
        self._tests: list[str] = []
        self._labels: list[Label] = []

    @property
    def nodes(self) -> list[WorkerController]:
        return list(self._assigned)

    @property
    def collection_is_completed(self) -> bool:
        return bool(self._tests) or len(self._collections) >= self._expected

    @property
    def has_pending(self) -> bool:
        return any(self._units.values()) or any(self._assigned.values())

    @property
    def tests_finished(self) -> bool:
        return (
            self.collection_is_completed
            and not any(self._units.values())
            and all(len(indices) < _AHEAD for indices in self._assigned.values())
        )

    def add_node(self, node: WorkerController) -> None:
        self._assigned[node] = []

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        self._collections[node] = list(collection)

    def schedule(self) -> None:
        """Called when all workers have collected, and again when one takes the place of a worker that crashed."""
        if not self._tests:
            self._begin()
        for node in self.nodes:
            if node not in self._lanes and self._free_lanes:
                self._lanes[node] = self._free_lanes.pop(0)
            self._fill(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        self._assigned[node].remove(item_index)
        self._fill(node)
        self._begin_later_lanes()

    def mark_test_pending(self, item: str) -> None:
        self._return([self._tests.index(item)])
        for node in self.nodes:
            self._fill(node)

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        raise NotImplementedError("no test is taken from a worker again")

    def remove_node(self, node: WorkerController) -> str | None:
        """The test that a worker was running when it crashed, or None when it ended in order."""
        indices = self._assigned.pop(node)
        lane = self._lanes.pop(node, None)
        if lane is not None:
            self._free_lanes.append(lane)
        if not indices:
            return None
        self._return(indices[1:])
        return self._tests[indices[0]]

    def _return(self, indices: Sequence[int]) -> None:
        """Put tests back before all others of their kind, in their order."""
        for index in reversed(indices):
            self._units[self._labels[index].kind].appendleft([index])

    def _begin(self) -> None:
        if not self._is_alike():
            return
        self._tests = next(iter(self._collections.values()))
        self._labels = labels = _read(self._file)
        for kind in Kind:
            units = list(_units(kind, labels))
            # Long ones first: what begins last should end soon.
            units.sort(key=lambda unit: not any(labels[index].is_long for index in unit))
            self._units[kind].extend(units)
        self._free_lanes = list(lanes(len(self.nodes), [kind for kind in Kind if self._units[kind]]))

    def _is_alike(self) -> bool:
        (first, tests), *others = self._collections.items()
        differences = [
            message
            for node, collection in others
            if (message := report_collection_diff(tests, collection, first.gateway.id, node.gateway.id))
        ]
        for message in differences:
            report = pytest.CollectReport(nodeid="lanes", outcome="failed", longrepr=message, result=[])
            self._config.hook.pytest_collectreport(report=report)
        return not differences

    def _fill(self, node: WorkerController) -> None:
        """Give a worker enough to go on with; end it when nothing of its lane is left."""
        lane = self._lanes.get(node, ())
        if node.shutting_down or not self._may_begin(lane, node):
            return
        while len(self._assigned[node]) < _AHEAD:
            kind = next((kind for kind in lane if self._units[kind] and self._may_run(kind, node)), None)
            if kind is None:
                node.shutdown()
                return
            unit = self._units[kind].popleft()
            self._assigned[node].extend(unit)
            node.send_runtest_some(unit)

    def _may_run(self, kind: Kind, node: WorkerController) -> bool:
        """Of the tests without a cluster one runs at a time, as long as other workers have tests of the cluster."""
        elsewhere = self._running_elsewhere(node)
        is_left = any(self._units[other] for other in Kind if other is not Kind.FAST)
        return kind is not Kind.FAST or Kind.FAST not in elsewhere or not (is_left or elsewhere - {Kind.FAST})

    def _begin_later_lanes(self) -> None:
        for node, lane in list(self._lanes.items()):
            if lane in BEFORE and not self._assigned[node]:
                self._fill(node)

    def _may_begin(self, lane: Lane, node: WorkerController) -> bool:
        """Nothing that must come before this lane is left, waiting or running elsewhere."""
        running = self._running_elsewhere(node)
        return not any(self._units[kind] or kind in running for kind in BEFORE.get(lane, ()))

    def _running_elsewhere(self, node: WorkerController) -> set[Kind]:
        """Kinds of the tests that other workers run or have ahead of them."""
        others = [indices for other, indices in self._assigned.items() if other is not node]
        return {self._labels[index].kind for indices in others for index in indices}


def _units(kind: Kind, labels: Sequence[Label]) -> Iterator[list[int]]:
    groups: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        if label.kind is kind:
            groups.setdefault(label.group or f"@{index}", []).append(index)
    yield from groups.values()


def _write(file: Path, labels: Sequence[Label]) -> None:
    """Each worker writes the same; a reader sees a whole file or none."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.write_text(json.dumps([asdict(label) for label in labels]))
    part.rename(file)


def _read(file: Path) -> list[Label]:
    """Labels that a worker wrote; none when no worker could collect, for example because a path is wrong."""
    if not file.exists():
        return []
    rows = json.loads(file.read_text())
    return [Label(Kind(row["kind"]), row["is_long"], row["group"]) for row in rows]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a worker where to write the labels of its tests."""
    node.workerinput[_FILE] = str(_file(node.config))


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> Scheduling | None:
    return Lanes(config, _file(config)) if config.getvalue("dist") == "load" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A worker writes the labels before it says which tests it has."""
    if hasattr(config, "workerinput"):
        _write(Path(config.workerinput[_FILE]), [Label.of(item) for item in items])


def pytest_unconfigure(config: pytest.Config) -> None:
    if _FOLDER in config.stash:
        shutil.rmtree(config.stash[_FOLDER])


def _file(config: pytest.Config) -> Path:
    """One file for all runs of one process."""
    if _FOLDER not in config.stash:
        config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="lanes-"))
    return config.stash[_FOLDER] / "labels.json"
