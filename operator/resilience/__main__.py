"""`python -m resilience run|release|ping URL`: the commands of the image."""

import argparse
import asyncio
import gc
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    # The imports take seconds; until they are over, nobody listens.
    signal.signal(signal.SIGTERM, _end)
    parser = argparse.ArgumentParser(prog="resilience", description="The Resilience Operator.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run the operator")
    commands.add_parser("release", help="stop the operator and hand every workload back (before uninstalling)")
    ping = commands.add_parser("ping", help="GET a URL; fails unless it answers 2xx within 5 s")
    ping.add_argument("url")
    chosen = parser.parse_args(arguments)
    if chosen.command == "ping":
        return _ping(chosen.url)
    return _operate(chosen.command)


def _end(*_: object) -> None:
    """Ends a process that has not begun to work, whatever it imports just now: an exception might be caught there."""
    os._exit(0)


def _operate(command: str) -> int:
    # Imported late: `ping` must be quick and needs none of it, and the imports take seconds.
    from resilience.adapters.packages import leave_out_unused

    leave_out_unused()
    import structlog
    from pydantic import ValidationError

    from resilience import app
    from resilience.adapters import process
    from resilience.adapters.telemetry import logging
    from resilience.config import Settings
    from resilience.ports import PortError

    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"RESILIENCE_{name}: {problem['msg']}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 2
    # What is loaded now stays. Whoever looks for garbage among it holds the event loop up, each time for 50 ms.
    gc.collect()
    gc.freeze()
    logging.configure(level=settings.log_level, log_format=settings.log_format)
    code = 1
    try:
        # A runner that is closed, as by asyncio.run, waits for all tasks; see app.run.
        code = asyncio.Runner().run({"run": app.run, "release": app.release}[command](settings))
    except (app.TooOld, PortError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for a person who installs
        code = 2
    except (Exception, asyncio.CancelledError):
        structlog.get_logger(__name__).exception("ended")
    finally:
        process.end(code=code)


def _ping(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            print(f"{url} answered {answer.status}")  # noqa: T201 - the command's output
            return 0
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        print(f"{url} did not answer: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return 1


if __name__ == "__main__":
    sys.exit(main())
