"""Numbers of repetitions: small ones for every day, full ones with PROOF=1. Figures are recorded for both."""

import json
import os
import time
from pathlib import Path
from typing import Final

PROOF: Final = os.environ.get("PROOF") == "1"
_DEFAULT: Final = Path(__file__).resolve().parents[2] / "build/figures.jsonl"


def count(small: int, *, proof: int) -> int:
    """Number of repetitions, or of seconds, in this run."""
    return proof if PROOF else small


class Figures:
    """Measurements of one test; each call adds a line to the file that RESILIENCE_FIGURES names."""

    def __init__(self, test: str) -> None:
        self._test = test
        self._began = time.monotonic()

    def write(self, **figures: object) -> None:
        """Adds one line: the test, whether counts were full, seconds since the test began, and the figures."""
        path = Path(os.environ.get("RESILIENCE_FIGURES") or _DEFAULT)
        path.parent.mkdir(parents=True, exist_ok=True)
        seconds = round(time.monotonic() - self._began, 1)
        line = json.dumps({"test": self._test, "proof": PROOF, "seconds": seconds, **figures}, default=str)
        with path.open("a") as file:
            file.write(line + "\n")
