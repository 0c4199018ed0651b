"""Policies of many services that fire in the same minute restart a few at once, in their order, and all of them."""

import time
from contextlib import ExitStack
from datetime import datetime

import pytest

from tests.support.counts import Figures, count
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.shop_manifests import policies, shop
from tests.support.space import Space
from tests.support.spending import pause
from tests.support.traffic import traffic

AGED: Object = {"name": "aged", "uptime": {"above": "1s"}}
# The default in one namespace.
AT_ONCE = 3


def names(services: int) -> list[str]:
    return [f"shop-{number:02d}" for number in range(services)]


def started(space: Space, name: str) -> datetime | None:
    result = space.status(name).get("lastRestart")
    return datetime.fromisoformat(result["startedAt"]) if result is not None else None


def watched(space: Space, everybody: list[str]) -> tuple[int, set[str]]:
    """Waits until all have begun; returns how many restarted at once at most, and who was told to wait."""
    most, queued, began = 0, set[str](), time.monotonic()
    while not all(started(space, name) for name in everybody):
        found = space.list("resilientservices")
        most = max(most, sum("restart" in (each.get("status") or {}) for each in found))
        for each in found:
            restarts = (each.get("status") or {}).get("restarts") or {}
            if restarts.get("blockedBy") == "Queued":
                queued.add(each["metadata"]["name"])
                assert "go before it" in restarts["message"] and restarts["nextAllowedAt"]
        assert time.monotonic() - began < 60 + 20 * len(everybody), "somebody starves"
        pause(0.2)
    return most, queued


@pytest.mark.load
def test_a_storm_becomes_a_queue(operator: Release, space: Space, figures: Figures) -> None:
    # given: services of which the last ones are the most important
    services = count(8, proof=50)
    everybody = names(services)
    urgent = everybody[-2:]
    for name in everybody:
        space.apply(*shop(name, verify=None))
    space.wait_running(*everybody, timeout=30 + 6 * services)
    began = time.monotonic()
    restart = {name: policies(AGED, priority=1 if name in urgent else 100, coolDown="1h") for name in everybody}
    with ExitStack() as calls:
        called = [everybody[0], everybody[services // 2], everybody[-1]]
        clients = [calls.enter_context(traffic(space.url(name), kept=3, new=3, rate=5.0, vegeta=5)) for name in called]
        # when: the pods of all are suddenly too old, once
        space.apply(*(shop(name, verify=None, restart=restart[name])[-1] for name in everybody))
        most, queued = watched(space, everybody)
    # then
    sent, failed = sum(each.sent for each in clients), sum(each.failed for each in clients)
    storm = {"most_at_once": most, "queued": len(queued), "storm_seconds": round(time.monotonic() - began, 1)}
    figures.write(services=services, **storm, sent=sent, failed=failed)
    assert failed == 0, [each.failures() for each in clients]
    assert 1 < most <= AT_ONCE
    assert len(queued) >= services - 2 * AT_ONCE
    order = sorted(everybody, key=lambda name: started(space, name) or datetime.max)
    assert max(order.index(name) for name in urgent) < 2 * AT_ONCE + len(urgent), order
    results = [space.status(name)["lastRestart"] for name in everybody]
    assert all(each["result"] == "Succeeded" for each in results), results
    wait_until(lambda: space.retiring() == [], what="rest", timeout=30)
