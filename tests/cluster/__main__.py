"""The command line: `python -m tests.cluster up|down|…`, from the project's root."""

from tests.cluster.cli import main

main()
