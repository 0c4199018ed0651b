"""Repeats tests and keeps what each run saw: `make soak N=20 TEST=... BUSY=1`; TEST is whatever pytest takes.

A test that fails once in twenty is a defect of the product or of the test. Must not hide a failure: every run counts.
"""

import multiprocessing
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

_FOLDER: Final = Path(__file__).resolve().parents[1] / "build/soak"
_CONSOLE: Final = Console()


def soak(
    runs: Annotated[int, typer.Argument(help="How often.", min=1)],
    tests: Annotated[list[str], typer.Argument(help="What pytest is given: files, node ids, options after `--`.")],
    busy: Annotated[int, typer.Option(help="Processes that keep a core busy meanwhile.", min=0)] = 0,
) -> None:
    """Run the tests again and again on one cluster; ends with 1 if any run failed."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    with _busy(busy):
        results = [_run(number, tests) for number in range(1, runs + 1)]
    _CONSOLE.print(_table(results))
    passed = sum(result.passed for result in results)
    _CONSOLE.print(f"{passed} of {runs} runs passed; their output: {_FOLDER}")
    raise typer.Exit(0 if passed == runs else 1)


class _Result(NamedTuple):
    passed: bool
    seconds: float


def _run(number: int, tests: list[str]) -> _Result:
    log = _FOLDER / f"{number:03}.log"
    began = time.monotonic()
    with log.open("wb") as output:
        command = [sys.executable, "-m", "pytest", "--keep-cluster", "-p", "no:cacheprovider", *tests]
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    seconds = time.monotonic() - began
    _CONSOLE.print(f"{number:3}  {'passed' if code == 0 else f'[red]failed[/], see {log}'}  {seconds:.0f} s")
    return _Result(code == 0, seconds)


def _table(results: list[_Result]) -> Table:
    table = Table("runs", "passed", "failed", "shortest", "median", "longest")
    seconds = sorted(result.seconds for result in results)
    passed = sum(result.passed for result in results)
    times = (seconds[0], seconds[len(seconds) // 2], seconds[-1])
    table.add_row(str(len(results)), str(passed), str(len(results) - passed), *(f"{time:.0f} s" for time in times))
    return table


@contextmanager
def _busy(processes: int) -> Iterator[None]:
    """So many processes that compute all the time."""
    spinners = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(processes)]
    for spinner in spinners:
        spinner.start()
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()


def _spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    typer.run(soak)
