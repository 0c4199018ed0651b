"""Watches that begin anew are counted by what kopf says of them; that it still says so is tested, too."""

import inspect
import logging
from collections.abc import Iterator

import pytest
from kopf._cogs.clients import watching

from resilience.handlers.watch_log import count_watches

LOGGER = "kopf._cogs.clients.watching"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger(LOGGER)
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.setLevel(before[0])
    logger.propagate, logger.handlers[:] = before[1], before[2]


def test_kopf_says_what_is_counted() -> None:
    source = inspect.getsource(watching)
    assert watching.logger.name == LOGGER
    for words in ("Starting the watch-stream for {resource} ", "Restarting the watch-stream for {resource} "):
        assert words in source
    assert "Watch-stream for {resource} {where} is inactive, reconnecting." in source


def test_a_watch_that_begins_anew_is_counted_and_nothing_is_printed_twice(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[tuple[str, bool]] = []
    count_watches(lambda resource, again: counted.append((resource, again)))
    count_watches(lambda resource, again: counted.append((resource, again)))
    with caplog.at_level(logging.INFO):
        watching.logger.debug("Starting the watch-stream for deployments.v1.apps cluster-wide.")
        watching.logger.debug("Restarting the watch-stream for resilientservices.v1alpha1.resilience.dev in 'shop'.")
        watching.logger.debug("Watch-stream for deployments.v1.apps cluster-wide is inactive, reconnecting.")
        watching.logger.warning("Ignoring an unsupported event type: 'X'")
    assert counted == [("deployments", False), ("resilientservices", True), ("deployments", True)]
    assert [record.getMessage() for record in caplog.records] == ["Ignoring an unsupported event type: 'X'"]
