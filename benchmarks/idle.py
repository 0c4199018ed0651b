"""Memory of the operator's process before the first resource, and of each library once a resource needs it.

    python -m benchmarks.idle

It needs no cluster: an API server of almost nothing answers.
"""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.process_figures import resident
from tests.support.silent_api import Silent, leader

_ROOT: Final = Path(__file__).resolve().parent.parent
_REST: Final = 10.0
_MIB: Final = 2**20
# What loads it, by what needs it; each is imported by a Lazy.
_LIBRARIES: Final = {
    "check grpc (gRPC)": "resilience.adapters.checks.grpc_call",
    "check redis, redisStream (redis)": "resilience.adapters.checks.redis.link",
    "check postgres (asyncpg)": "resilience.adapters.checks.postgres.checks",
    "check prometheus (promql-parser)": "resilience.adapters.checks.prometheus.promql",
    "receiver email (aiosmtplib)": "resilience.adapters.receivers.email",
    "matcher =~ (RE2)": "re2",
}
_ADDED: Final = """\
import sys
from importlib import import_module
from benchmarks.process_figures import resident
from resilience.adapters.packages import leave_out_unused
leave_out_unused()
import_module("resilience.app")
before = resident("self")
import_module(sys.argv[1])
print(resident("self") - before)
"""


def malloc_of(dockerfile: str) -> dict[str, str]:
    """The settings of malloc in the image."""
    return dict(re.findall(r"(MALLOC_\w+)=(\d+)", dockerfile))


async def at_rest(folder: Path) -> int:
    """Resident memory in bytes of a leader that has nothing to look after."""
    async with leader(Silent(), folder) as process:
        await asyncio.sleep(_REST)
        return resident(process.pid)


def added_by(module: str) -> int:
    """Bytes that a module and what it imports add to the operator's modules."""
    command = [sys.executable, "-c", _ADDED, module]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, cwd=_ROOT).stdout)


def main() -> int:
    """Prints the table."""
    os.environ |= malloc_of((_ROOT / "Dockerfile").read_text(encoding="utf-8"))
    # To compile takes memory, and in the image that is done.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for module in _LIBRARIES.values():
        added_by(module)
    table = Table("figure", "value", title="Memory at rest", title_justify="left")
    with TemporaryDirectory() as folder:
        table.add_row("RSS before the first resource", f"{asyncio.run(at_rest(Path(folder))) / _MIB:.1f} MiB")
    for what, module in _LIBRARIES.items():
        table.add_row(what, f"+{added_by(module) / _MIB:.1f} MiB")
    Console(highlight=False).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
