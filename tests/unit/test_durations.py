"""The table of durations: sums by kind and file, what the time was spent on, and the longest tests first."""

import pytest

from tests.plugins.durations import tables
from tests.support import spending
from tests.support.spending import Spending

ROWS = [
    {"test": "tests/e2e/test_a.py::one", "kind": "load", "setup": 1.0, "call": 9.0, "spent": {"condition": 6.0}},
    {"test": "tests/e2e/test_a.py::two", "kind": "waiting", "setup": 0.0, "call": 30.0, "spent": {"clock": 25.0}},
    {"test": "tests/unit/test_b.py::three", "kind": "fast", "setup": 0.0, "call": 1.5, "spent": {}},
]


def test_sums_by_kind_and_file() -> None:
    lines = list(tables(ROWS))
    assert "| waiting | 1 | 30 | 0 | 0 | 25 | 0 | 5 |" in lines
    assert "| load | 1 | 10 | 0 | 6 | 0 | 0 | 4 |" in lines
    # Of short tests there is no sum by file: they would hide the others.
    assert [line for line in lines if line.startswith("| tests/")] == [
        "| tests/e2e/test_a.py | 2 | 40 | 0 | 6 | 25 | 0 | 9 |"
    ]
    assert [line.split("`")[1] for line in lines if "`" in line] == [
        "test_a.py::two",
        "test_a.py::one",
        "test_b.py::three",
    ]


def test_what_is_inside_something_counts_for_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 10.0])
    monkeypatch.setattr("tests.support.spending.time.monotonic", lambda: next(now))
    spending.take()
    with spending.spending(Spending.STARTING), spending.spending(Spending.COMMANDS):
        pass
    assert spending.take() == {"starting": 10.0}
    assert spending.take() == {}
