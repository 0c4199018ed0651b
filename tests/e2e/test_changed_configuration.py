"""Pods are restarted, once and without loss, when the configuration changes that they have read."""

import time

import pytest

from tests.support.counts import Figures, count
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.shop_manifests import policies, shop
from tests.support.space import Space, stays
from tests.support.traffic import traffic
from tests.support.witness import Witness

CHANGES: Object = {"onChange": [{"kind": "ConfigMap", "name": "settings"}, {"kind": "Secret", "name": "token"}]}
# Between two looks at the content, then until it has settled.
PATIENCE = 90


def settings(value: str, *, labels: Object | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "labels": labels or {}},
        "data": {"value": value},
    }


def token(value: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token", "labels": {"resilience.dev/readable": "true"}},
        "stringData": {"value": value},
    }


def known(space: Space) -> bool:
    return len(space.status()["restarts"].get("contents", [])) == 2


@pytest.mark.load
@pytest.mark.long
def test_changed_configuration_restarts_all_pods_once(operator: Release, space: Space, figures: Figures) -> None:
    # given
    space.start(settings("one"), token("one"), *shop(replicas=2, restart=policies(**CHANGES)))
    wait_until(lambda: known(space), what="the content to be known", timeout=PATIENCE)
    seconds, last = [], ""
    with Witness(space) as witness, traffic(space.url()) as clients:
        for number in range(count(1, proof=10)):
            # when: both change, one after the other
            before, began = space.uids(), time.monotonic()
            space.apply(settings(f"changed {number}"))
            space.apply(token(f"changed {number}"))
            result = space.recycled(after=last, timeout=PATIENCE)
            # then: one restart of all
            seconds.append(round(time.monotonic() - began, 1))
            assert result["result"] == "Succeeded" and result["pods"] == 2, result
            assert "the content of ConfigMap settings, Secret token changed" in result["reason"]
            assert not before & space.uids()
            last = result["traceId"]
        # when: nothing that pods read has changed
        after = space.uids()
        space.apply(settings(f"changed {number}", labels={"some": "label"}))
        # then
        stays(lambda: space.uids() == after, seconds=count(24, proof=60), what="no restart")
    figures.write(seconds=seconds, **clients.figures())
    assert space.status()["lastRestart"]["traceId"] == last
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= 2


@pytest.mark.killing
def test_a_change_while_the_operator_was_away_is_seen(operator: Release, space: Space) -> None:
    # given
    space.start(settings("one"), token("one"), *shop(restart=policies(**CHANGES)))
    wait_until(lambda: known(space), what="the content to be known", timeout=PATIENCE)
    before = space.uids()
    operator.scale(0)
    # when
    space.apply(settings("two"))
    operator.scale(2)
    # then
    assert space.recycled(timeout=PATIENCE)["result"] == "Succeeded"
    assert not before & space.uids()


def test_a_secret_that_may_not_be_read_is_named_and_silences_no_other(operator: Release, space: Space) -> None:
    # given
    hidden = token("one")
    hidden["metadata"]["labels"] = {}
    # when
    space.start(settings("one"), hidden, *shop(restart=policies(**CHANGES)))
    # then
    wait_until(
        lambda: "kubectl label secret token resilience.dev/readable=true" in space.status()["explanation"],
        what="what to do about it",
        timeout=PATIENCE,
    )
    # when
    before = space.uids()
    space.apply(settings("two"))
    # then
    assert "the content of ConfigMap settings changed" in space.recycled(timeout=PATIENCE)["reason"]
    assert not before & space.uids()
