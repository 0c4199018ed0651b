"""Probes of a Redis, and a client that runs them as the operator does. Must not judge a result."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

from resilience.adapters.checks.redis.connections import MOST, RedisConnections
from resilience.adapters.checks.redis.redis_check import check_redis
from resilience.adapters.checks.redis.stream_check import check_redis_stream
from resilience.adapters.net.address import AddressGuard, Resolve
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure
from resilience.api.dependency_checks import RedisVerify
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import RedisKind, RedisPlace, RedisProbe, RedisStreamProbe, SecretRef
from resilience.ports import Invalid, Refused
from tests.support.redis import HOST, Server


@dataclass(slots=True)
class Vault:
    """Secrets by key; all are keys of one Secret. `reads` are the keys in the order of the reads."""

    values: dict[str, str] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    silent: bool = False

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        self.reads.append(key)
        if self.silent:
            await asyncio.sleep(60)
        if key not in self.values:
            raise Refused(f"Secret {name!r} is not labelled readable")
        return self.values[key]


def secret(key: str) -> SecretRef:
    """A reference to a key in the vault."""
    return SecretRef("shop", "redis-login", key)


@dataclass(slots=True)
class Asker:
    """Runs checks and classifies their errors, as NetworkChecker does; no value of the vault may be in a message."""

    vault: Vault
    connections: RedisConnections

    async def check(self, probe: RedisProbe | RedisStreamProbe, *, seconds: float = 3.0) -> CheckResult:
        result = await self._sorted(probe, timeout=timedelta(seconds=seconds))
        assert not [value for value in self.vault.values.values() if value and value in result.message], result.message
        return result

    async def until(
        self, asked: RedisProbe | RedisStreamProbe, *, outcome: Outcome, seconds: float = 20
    ) -> CheckResult:
        """The first result with the outcome, or the last one when none comes: servers take their time to notice."""
        deadline = time.monotonic() + seconds
        result = await self.check(asked)
        while result.outcome is not outcome and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            result = await self.check(asked)
        return result

    async def _sorted(self, probe: RedisProbe | RedisStreamProbe, *, timeout: timedelta) -> CheckResult:
        try:
            if isinstance(probe, RedisProbe):
                return await check_redis(probe, connections=self.connections, timeout=timeout)
            return await check_redis_stream(probe, connections=self.connections, timeout=timeout)
        except NetworkFailure as failure:
            return CheckResult(Outcome.INCONCLUSIVE if failure.own else Outcome.FAIL, failure.reason, str(failure))
        except Refused as refusal:
            return CheckResult(Outcome.INCONCLUSIVE, "AddressRefused", str(refusal))
        except Invalid as error:
            return CheckResult(Outcome.INCONCLUSIVE, "Invalid", str(error))


@asynccontextmanager
async def asking(
    *,
    most: int = MOST,
    resolve: Resolve | None = None,
    networks: tuple[str, ...] = ("127.0.0.0/8",),
    monotonic: Callable[[], float] = time.monotonic,
    **secrets: str,
) -> AsyncIterator[Asker]:
    """A client that may connect to servers on this machine; the vault contains `secrets`."""
    vault = Vault(dict(secrets))
    guard = AddressGuard(allowed=[ip_network(network) for network in networks], resolve=resolve)
    credentials = Credentials(vault, monotonic=monotonic)
    asker = Asker(vault, RedisConnections(guard=guard, credentials=credentials, most=most))
    try:
        yield asker
    finally:
        await asker.connections.close()


def probe(
    server: Server | int | None = None,
    *verify: RedisVerify,
    service: Server | None = None,
    max_lag: float = 10,
    host: str = HOST,
    kind: RedisKind = RedisKind.STANDALONE,
    at: list[Server] | None = None,
    **place: Any,
) -> RedisProbe:
    """A probe of servers at `host`; by default it verifies that there is a master."""
    ports = [server if isinstance(server, int) else server.port] if server is not None else []
    addresses = tuple((host, port) for port in [*ports, *(member.port for member in at or [])])
    return RedisProbe(
        RedisPlace(kind, addresses, **place),
        frozenset(verify or (RedisVerify.ROLE,)),
        timedelta(seconds=max_lag),
        (HOST, service.port) if service else None,
    )


def told(result: CheckResult) -> tuple[Outcome, str]:
    """Outcome and reason of a result."""
    return result.outcome, result.reason
