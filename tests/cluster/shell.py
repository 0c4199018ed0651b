"""Runs other programs and says what went wrong in their own words, so that no caller has to.

Must not know what any of the programs is for.
"""

import fcntl
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep


class ClusterError(Exception):
    """Something a person has to act on; the message says what."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with the system folders on PATH, which a plain user's shell may lack."""
    path = os.environ.get("PATH", "")
    return {**os.environ, "PATH": f"{path}:/usr/local/sbin:/usr/sbin:/sbin", **(extra or {})}


def find(program: str) -> str | None:
    """The full path of a program, or None."""
    return shutil.which(program, path=environment()["PATH"])


def run(*argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> str:
    """Run to the end and return what was printed. Raises ClusterError with the last lines of its complaint."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, cwd=cwd, env=environment(env), input=stdin, capture_output=True, check=False)
    except FileNotFoundError as missing:
        raise ClusterError(f"{missing.filename} is not there") from missing
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-15:]
        raise ClusterError(f"`{shlex.join(words)}` ended with {done.returncode}:\n" + "\n".join(said))
    return done.stdout.decode(errors="replace")


def succeeds(*argv: str | Path) -> bool:
    """Whether a command can be run and ends with 0."""
    try:
        run(*argv)
    except ClusterError:
        return False
    return True


def wait_for(what: str, ready: Callable[[], bool], *, seconds: float = 60.0, every: float = 0.1) -> None:
    """Ask `ready` until it says yes. Raises ClusterError after `seconds`; `ready` may raise one earlier."""
    deadline = monotonic() + seconds
    while not ready():
        if monotonic() > deadline:
            raise ClusterError(f"{what}: nothing after {seconds:.0f} s")
        sleep(every)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Only one process at a time inside; the others wait. The lock ends with the process, however that ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
