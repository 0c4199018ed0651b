"""A process that is told to end before it has begun to work ends at once."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 20.0
# Before all other finders of modules.
SLOW = """
import sys, time
class Slow:
    def find_spec(self, name, *_):
        if name == "resilience.app":
            time.sleep(60)
sys.meta_path.insert(0, Slow())
"""


@pytest.fixture
def starting() -> Iterator[subprocess.Popen[bytes]]:
    """The operator's process, whose imports take as long as on a busy machine."""
    code = SLOW + "from resilience.__main__ import main\nsys.exit(main(['run']))"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def is_caught(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """The process has a handler for the signal, by its mask of caught ones."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(mask, 16) & 1 << (number - 1))


def test_a_process_whose_imports_still_run_ends_when_it_is_told_to(starting: subprocess.Popen[bytes]) -> None:
    # given: before any import of the operator's own
    until = time.monotonic() + PATIENCE
    while not is_caught(starting, signal.SIGTERM):
        assert time.monotonic() < until and starting.poll() is None
        time.sleep(0.01)
    # when
    starting.send_signal(signal.SIGTERM)
    # then: in order, for its own handler ended it; the kernel's would have said -15
    assert starting.wait(PATIENCE) == 0
