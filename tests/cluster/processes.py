"""Starts the local cluster's programs in the background, and ends those and no others.

A program is known by its recorded pid together with its start time and the boot it ran in: pids are used again.
Must not signal a process for which neither that record nor its command line and network namespace speak.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.components import Component
from tests.cluster.nodes import Node
from tests.cluster.paths import LOGS, RECORDS, STATE
from tests.cluster.shell import ClusterError, environment, find, wait_for

_PROC = Path("/proc")
# Programs in Go may use more memory and collect garbage less often: tests are short of CPU, not of memory.
_LEISURE = {"GOGC": "400"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`started` is in clock ticks after boot (field 22 of /proc/PID/stat)."""

    pid: int
    started: int
    boot: str


def boot_id() -> str:
    """Changes with every boot of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def running(name: str) -> int | None:
    """The pid of the program if it runs."""
    try:
        record = Record(**json.loads((RECORDS / name).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    alive = record.boot == boot_id() and record.started == _started(record.pid)
    return record.pid if alive else None


def start(component: Component) -> None:
    """Start a program in its node's network namespace, unless it runs."""
    if running(component.name):
        return
    words = [str(word) for word in component.argv]
    # A cut `up` may have started it and died before it could write that down.
    pid = next((pid for pid in strays(component.node) if _command_line(pid) == words), None)
    if pid is None:
        pid = _spawn([*component.node.enter, *words], LOGS / f"{component.name}.log")
        if component.nice:
            _prefer(pid, component.nice)
    _write_record(component.name, pid)


def expect(name: str, what: str, ready: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until `ready`. Raises ClusterError with the end of the program's log if it ends or takes too long."""

    def check() -> bool:
        if not running(name):
            raise ClusterError(f"{name} has ended")
        return ready()

    try:
        wait_for(what, check, seconds=seconds)
    except ClusterError as error:
        log = LOGS / f"{name}.log"
        tail = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        raise ClusterError("\n".join([f"{error}; see {log}", *tail])) from error


def kill(name: str) -> None:
    """Kill a program if it runs, and wait for its end. Not gently: all of its state is to go, or to be tested."""
    pid = running(name)
    if pid is not None:
        _kill(pid)
        wait_for(f"end of {name}", lambda: running(name) is None, seconds=20)
    (RECORDS / name).unlink(missing_ok=True)


def kill_strays(node: Node) -> None:
    """Kill what is left in the node's namespace and names the state folder: containerd's shims, and lost ones."""

    def gone() -> bool:
        pids = list(strays(node))
        for pid in pids:
            _kill(pid)
        return not pids

    wait_for(f"end of what is left in the network of {node.name}", gone, seconds=20)


def strays(node: Node) -> Iterator[int]:
    """Pids in the node's network namespace whose command line names the state folder."""
    try:
        ours = node.namespace_file.stat().st_ino
    except FileNotFoundError:
        return
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            inside = (entry / "ns/net").stat().st_ino == ours
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if inside and any(str(STATE) in word for word in _command_line(int(entry.name))):
            yield int(entry.name)


def _spawn(words: Sequence[str], log: Path) -> int:
    """Not subprocess.Popen: that complains when its owner ends first, which is the point here."""
    log.parent.mkdir(parents=True, exist_ok=True)
    program = find(words[0])
    if program is None:
        raise ClusterError(f"{words[0]} is not there")
    files = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        *((os.POSIX_SPAWN_CLOSE, number) for number in _inheritable()),
    )
    return os.posix_spawn(program, list(words), environment(_LEISURE), file_actions=files, setsid=True)


def _prefer(pid: int, nice: int) -> None:
    """Give it another share of the CPU: a quarter more for each step below zero.

    The kernel counts a session's processes as one (autogroup, see sched(7)). Without autogroup this does nothing.
    """
    with suppress(OSError):
        (_PROC / str(pid) / "autogroup").write_text(str(nice))


def _inheritable() -> list[int]:
    """Open files of whoever called `up`: a lock among them would be held for as long as the cluster runs."""
    numbers = []
    for entry in (_PROC / "self/fd").iterdir():
        with suppress(OSError):
            if int(entry.name) > 2 and os.get_inheritable(int(entry.name)):
                numbers.append(int(entry.name))
    return numbers


def _write_record(name: str, pid: int) -> None:
    started = _started(pid)
    if started is None:
        raise ClusterError(f"{name} ended at once; see {LOGS / name}.log")
    RECORDS.mkdir(parents=True, exist_ok=True)
    part = RECORDS / f".{name}"
    part.write_text(json.dumps(asdict(Record(pid=pid, started=started, boot=boot_id()))))
    part.rename(RECORDS / name)


def _started(pid: int) -> int | None:
    """None for a process that is not there, or only waits to be reaped."""
    try:
        # The second field, the program's name in brackets, may hold spaces.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _command_line(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
