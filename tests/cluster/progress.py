"""Shows a person what goes on and how long it takes, on a terminal and in a log file alike.

Must not decide anything.
"""

import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic

from rich.console import Console

from tests.cluster.shell import ClusterError, environment

# A log file's reader must see a sign of life at least every 30 s.
LINE_EVERY = 20.0
END_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Prints steps with their times."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))

    def say(self, text: str) -> None:
        """One line, as it is."""
        self.console.print(text, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A line with the time it took, when the body is through; a spinner on a terminal meanwhile."""
        begun = monotonic()
        with self.console.status(title):
            yield
        self.console.print(f"[green]✓[/] {title} [dim]{monotonic() - begun:.1f} s[/]")

    def run(self, title: str, *argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        """Run something that takes long. Raises ClusterError with its last lines; never leaves it running behind."""
        words = [str(word) for word in argv]
        with TemporaryFile() as output, self.console.status(title) as status:
            begun = shown = monotonic()
            process = subprocess.Popen(
                words, cwd=cwd, env=environment(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            try:
                while _still_running(process):
                    now = monotonic()
                    status.update(f"{title} [dim]{now - begun:.0f} s[/]")
                    if not self.console.is_terminal and now - shown >= LINE_EVERY:
                        shown = now
                        self.console.print(f"  {title}: {now - begun:.0f} s so far")
            finally:
                _end(process)
            if process.returncode:
                output.seek(0)
                tail = output.read().decode(errors="replace").strip().splitlines()[-30:]
                raise ClusterError(f"`{shlex.join(words)}` ended with {process.returncode}:\n" + "\n".join(tail))
        self.console.print(f"[green]✓[/] {title} [dim]{monotonic() - begun:.1f} s[/]")


def _still_running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks first: the compiler and the image builder clean up behind themselves when asked."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=END_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
