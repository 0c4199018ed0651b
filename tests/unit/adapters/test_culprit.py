"""The kind of work that holds the event loop up, as its stack tells."""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from resilience.adapters.telemetry.culprit import Work, of_stack
from resilience.adapters.telemetry.loop_lag import LoopLag


def within(*modules: str) -> Callable[[Callable[[], Any]], Any]:
    """Calls through a function of each of these modules, the outermost first."""

    def call(innermost: Callable[[], Any]) -> Any:
        inner = innermost
        for module in reversed(modules):
            scope: dict[str, Any] = {"__name__": module, "inner": inner}
            exec("def call(): return inner()", scope)
            inner = scope["call"]
        return inner()

    return call


@pytest.mark.parametrize(
    ("modules", "work"),
    [
        (("asyncio.events", "asyncpg.protocol.protocol", "resilience.adapters.checks.postgres.scram"), Work.POSTGRES),
        (("asyncio.events", "asyncpg.connection"), Work.POSTGRES),
        (("resilience.runtime.checking.check_runner", "resilience.adapters.checks.checker"), Work.CHECKS),
        (
            (
                "resilience.runtime.checking.check_runner",
                "resilience.adapters.checks.http_check",
                "resilience.adapters.net",
            ),
            Work.HTTP,
        ),
        (("resilience.runtime.controller", "resilience.core.reconcile", "resilience.core.alerting.rules"), Work.PASS),
        (("resilience.runtime.controller", "resilience.adapters.kube.reader", "json.decoder"), Work.KUBERNETES),
        (("resilience.runtime.alerting.receiver_worker", "resilience.core.alerting.grouping"), Work.ALERTS),
        (("kopf._core.reactor.queueing", "resilience.handlers.resources"), Work.WATCH),
        (("aiohttp.web_protocol", "resilience.web.flags"), Work.WEB),
        (("asyncio.base_events", "selectors"), Work.OTHER),
        (("resilience.runtime_like",), Work.OTHER),
    ],
)
def test_the_innermost_module_with_a_kind_decides(modules: tuple[str, ...], work: Work) -> None:
    def look() -> tuple[Work, str]:
        innermost = sys._getframe(1)
        # The tests' own callers are no part of the stack in question.
        return of_stack(innermost)

    seen, place = within(*modules)(look)
    assert seen is work
    assert place.partition(":")[0].endswith(".call")


async def test_the_work_that_held_the_loop_up_is_known() -> None:
    lag = LoopLag()
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0.1)
    within("resilience.runtime.checking.check_runner", "resilience.adapters.checks.redis.link")(lambda: time.sleep(0.5))
    await asyncio.sleep(0.1)
    assert lag.of_last_minute(Work.REDIS) > 0
    assert lag.of_last_minute(Work.POSTGRES) == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert lag.of_last_minute(Work.REDIS) == 0
