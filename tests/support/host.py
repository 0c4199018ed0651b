"""Marks tests that need a program of the host, so that all of them are left out with the same words where it is not."""

from shutil import which

import pytest


def needs(program: str) -> pytest.MarkDecorator:
    """Leaves a test out where `program` is not installed and could not be; `make test` installs it if it may."""
    return pytest.mark.skipif(
        which(program) is None, reason=f"needs {program}, which python -m tests.cluster packages installs"
    )
