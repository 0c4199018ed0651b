"""Memory and processor time of a process, from /proc."""

import os
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident(process: int | str) -> int:
    """Resident memory in bytes; `process`: its id, or self."""
    return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def cpu(process: int) -> float:
    """Processor time in seconds, of user and system."""
    return cpu_seconds(Path(f"/proc/{process}/stat").read_text(encoding="utf-8"))


def cpu_seconds(stat: str) -> float:
    """The same from the text of /proc/PID/stat. The name in it may contain blanks and brackets."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
