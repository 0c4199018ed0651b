"""Writes down how long each test took, and on what, into `build/durations.jsonl`; `python -m tests.plugins.durations`
makes tables of it for docs/contributing.md.

Must not judge: no test fails for being slow.
"""

import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.plugins.kinds import Kind, kind_of
from tests.support import spending

_FILE: Final = Path(__file__).resolve().parents[2] / "build/durations.jsonl"
_FAILURES: Final = _FILE.parent / "failures"
_PROPERTY: Final = "spent"
_NOTEWORTHY: Final = 2.0
Row = dict[str, Any]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Recorder(), "durations-recorder")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Send along what the test spent its time on: reports are all that a worker and its controller exchange."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    report.user_properties = [("kind", kind_of(item).value), (_PROPERTY, spending.take())]
    return report  # type: ignore[return-value]


class _Recorder:
    """Collects reports where they all arrive: in the one process, or in the controller of several."""

    def __init__(self) -> None:
        shutil.rmtree(_FAILURES, ignore_errors=True)
        self._rows: dict[str, Row] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties: dict[str, Any] = dict(report.user_properties)
        worker = getattr(getattr(report, "node", None), "gateway", None)
        fresh: Row = {"test": report.nodeid, "worker": worker.id if worker else "", "outcome": "passed", "spent": {}}
        row = self._rows.setdefault(report.nodeid, fresh)
        row["kind"] = properties.get("kind", Kind.WAITING)
        row[report.when] = round(report.duration, 2)
        for what, seconds in properties.get(_PROPERTY, {}).items():
            row["spent"][what] = round(row["spent"].get(what, 0.0) + seconds, 2)
        if report.outcome != "passed":
            row["outcome"] = report.outcome
        if report.failed:
            _keep(report)

    def pytest_sessionfinish(self) -> None:
        if not self._rows:
            return
        _FILE.parent.mkdir(exist_ok=True)
        _FILE.write_text("".join(json.dumps(row) + "\n" for row in self._rows.values()))


def _keep(report: pytest.TestReport) -> None:
    """Write a failure down at once: a run that is ended by hand has told what it knew."""
    _FAILURES.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]+", "_", report.nodeid.rpartition("/")[2])[:150]
    texts = [report.longreprtext, *(f"--- {title}\n{text}" for title, text in report.sections)]
    (_FAILURES / f"{name}.{report.when}.txt").write_text("\n".join(texts))


def main() -> None:
    """Print tables of the last run, in Markdown."""
    if not _FILE.exists():
        sys.exit(f"there is no {_FILE}; run some tests first")
    rows = [json.loads(line) for line in _FILE.read_text().splitlines()]
    print("\n".join(tables(rows)))


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """Sums by kind and by file of what the time was spent on, then the longest tests."""
    yield from _by("kind", rows, {row["test"]: row["kind"] for row in rows})
    yield ""
    noteworthy = [row for row in rows if _total(row) >= _NOTEWORTHY]
    yield from _by("file", noteworthy, {row["test"]: row["test"].partition("::")[0] for row in noteworthy})
    yield ""
    yield "| s | kind | test |"
    yield "| --- | --- | --- |"
    for row in sorted(rows, key=_total, reverse=True)[:25]:
        yield f"| {_total(row):.0f} | {row['kind']} | `{row['test'].rpartition('/')[2]}` |"


def _by(title: str, rows: Sequence[Row], names: dict[str, str]) -> Iterator[str]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[names[row["test"]]].append(row)
    kinds = list(spending.Spending)
    yield f"| {title} | tests | s | {' | '.join(kinds)} | other |"
    yield f"| --- | --- | --- |{' --- |' * (len(kinds) + 1)}"
    for name, members in sorted(groups.items(), key=lambda group: -sum(map(_total, group[1]))):
        total = sum(map(_total, members))
        spent = [sum(row["spent"].get(kind, 0.0) for row in members) for kind in kinds]
        cells = " | ".join(f"{seconds:.0f}" for seconds in (total, *spent, max(total - sum(spent), 0.0)))
        yield f"| {name} | {len(members)} | {cells} |"


def _total(row: Row) -> float:
    return sum(float(row.get(phase, 0.0)) for phase in ("setup", "call", "teardown"))


if __name__ == "__main__":
    main()
