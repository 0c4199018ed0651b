"""PostgreSQL servers, and an operator that checks them; tests of other servers have fixtures of their own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support import postgres, postgres_checks
from tests.support.postgres_checks import Operator, prepared


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    """A server with roles and a table."""
    with prepared() as running:
        yield running


@pytest.fixture(scope="module")
def standby(server: postgres.Postgres) -> Iterator[postgres.Postgres]:
    """Its streaming standby."""
    with postgres.standby(server) as running:
        yield running


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    """Closes its connections at the end."""
    async with postgres_checks.operator() as made:
        yield made
