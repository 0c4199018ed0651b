"""All checks of PostgreSQL over one set of connections. A Lazy imports it, and nobody else."""

from datetime import timedelta

from resilience.adapters.checks.postgres.connections import PostgresConnections
from resilience.adapters.checks.postgres.postgres_check import check_postgres
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.core.health.thresholds import CheckResult
from resilience.core.model.probes import PostgresProbe


class PostgresChecks:
    """Runs checks, and keeps their connections."""

    def __init__(self, credentials: Credentials, guard: AddressGuard) -> None:
        self._connections = PostgresConnections(credentials=credentials, guard=guard)

    async def check(self, probe: PostgresProbe, *, timeout: timedelta) -> CheckResult:
        """As `check_postgres`."""
        return await check_postgres(probe, connections=self._connections, timeout=timeout)

    async def close(self) -> None:
        """Closes the connections."""
        await self._connections.close()
