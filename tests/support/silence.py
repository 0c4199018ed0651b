"""Silences the log lines of loops and executor about each pass: over thousands of passes they would only cost time.

A conftest that imports the fixture has it for all of its modules.
"""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True, scope="module")
def silent() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
