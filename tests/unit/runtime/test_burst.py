"""A burst of releases has bounds of passes and of requests to the API server: neither depends on the machine."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final

import pytest

from tests.support.busy_operator import BusyOperator
from tests.support.counts import PROOF
from tests.support.virtual_time import run_virtual


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one release, on the average. `lists`: those that all services of the namespace are in."""

    passes: float
    requests: float
    lists: float
    seconds: float


async def carried_out(operator: BusyOperator, count: int) -> Cost:
    """The template of so many services changes at once; what it costs until all are at rest again."""
    names = operator.ns.names()
    await operator.settled(names)
    await asyncio.sleep(10)
    requests, passes = Counter(operator.api.requests), len(operator.bench.metrics.results)
    began = asyncio.get_running_loop().time()
    for name in names[:count]:
        operator.ns.change(name, "2")
    ended = await operator.released(names[:count], "2")
    made = operator.api.requests - requests
    return Cost(
        passes=(len(operator.bench.metrics.results) - passes) / count,
        requests=sum(made.values()) / count,
        lists=sum(number for kind, number in made.items() if kind.startswith("LIST")) / count,
        seconds=ended - began,
    )


def cost(services: int, released: int) -> Cost:
    """The cost of so many releases at once in a namespace of so many services."""
    found: list[Cost] = []

    async def main() -> None:
        operator = BusyOperator.make(services)
        async with operator.running():
            found.append(await carried_out(operator, released))

    run_virtual(main())
    return found[0]


@dataclass(frozen=True, slots=True)
class Burst:
    """`released` of a namespace's `services` at once. `requests`: bound of one release.

    `shared`: a release makes at most this fraction (1/shared) of the lists that it makes alone.
    """

    services: int
    released: int
    requests: int
    shared: int


# A namespace has half of the workers, so in a large burst fewer ask at the same time.
LARGE: Final = [Burst(300, 30, requests=260, shared=2)] if PROOF else []


@pytest.mark.parametrize("burst", [Burst(20, 10, requests=200, shared=3), *LARGE], ids=str)
def test_a_burst_costs_few_passes_and_fewer_lists_than_alone(burst: Burst) -> None:
    alone, together = cost(3, 1), cost(burst.services, burst.released)

    # Of these about 25 seconds are waits for nodes and the warm period.
    assert alone.seconds < 32 and together.seconds < 32
    assert alone.passes <= 27 and together.passes <= 27
    assert together.requests <= burst.requests
    assert together.lists <= alone.lists / burst.shared
