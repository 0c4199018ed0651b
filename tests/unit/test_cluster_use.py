"""The cluster goes with the run that used it, and with no other, however its workers ended."""

import shutil
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.cluster import engine, fixture


def config(**fields: Any) -> pytest.Config:
    """One process's configuration."""
    return cast(pytest.Config, SimpleNamespace(stash=pytest.Stash(), getoption=lambda _: False, **fields))


@pytest.mark.parametrize("used", [True, False])
def test_a_run_whose_worker_crashed_removes_the_cluster_if_it_was_used(
    monkeypatch: pytest.MonkeyPatch, used: bool
) -> None:
    # given: a worker that may or may not have used it, and says nothing any more
    removed: list[bool] = []
    monkeypatch.setattr(engine, "current", lambda: SimpleNamespace(down=lambda: removed.append(True)))
    controller = config()
    node = SimpleNamespace(config=controller, workerinput={})
    fixture.pytest_configure_node(node)
    if used:
        fixture._note_use(config(workerinput=node.workerinput))
    # when
    fixture.pytest_unconfigure(controller)
    # then
    assert removed == [True] * used


def test_a_worker_removes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "current", lambda: pytest.fail("the cluster is of all workers"))
    node = SimpleNamespace(config=config(), workerinput={})
    fixture.pytest_configure_node(node)
    worker = config(workerinput=node.workerinput)
    fixture._note_use(worker)
    fixture.pytest_unconfigure(worker)
    shutil.rmtree(fixture._mark(worker).parent)
