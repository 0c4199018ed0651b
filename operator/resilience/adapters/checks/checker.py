"""The Network port: runs a check of any type once, and maps every error to an outcome.

Only this module decides if a failure counts against the target. Thresholds belong to the core.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from resilience.adapters.checks import dns_check, grpc_check, http_check, postgres, tcp_check
from resilience.adapters.checks.prometheus import prometheus_check
from resilience.adapters.checks.prometheus.client import PrometheusClient
from resilience.adapters.checks.redis import redis_check, stream_check
from resilience.adapters.checks.redis.connections import RedisConnections
from resilience.adapters.lazy import Lazy
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.login import Logins
from resilience.api.checks import Scheme
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import (
    DnsProbe,
    GrpcProbe,
    HttpProbe,
    NetworkProbe,
    PostgresProbe,
    PrometheusProbe,
    RedisProbe,
    RedisStreamProbe,
    TcpProbe,
)
from resilience.ports import PortError, Refused

if TYPE_CHECKING:
    from resilience.adapters.checks.postgres.checks import PostgresChecks

MAX_LAG_SECONDS: Final = 0.1
# A port that requires TLS ends other connections so.
_RESETS: Final = ("ConnectionReset", "ConnectionClosed")


class NetworkChecker:
    """Implements ports.Network for all types of checks. Without `prometheus`, Prometheus checks are inconclusive.

    `loop_lag(since)` returns the longest delay of the event loop since a loop time, in seconds (LoopLag.worst).
    """

    def __init__(
        self,
        *,
        client: HttpClient,
        loop_lag: Callable[[float], float],
        credentials: Credentials,
        prometheus: PrometheusClient | None = None,
    ) -> None:
        self._client = client
        self._logins = Logins(client, credentials)
        self._grpc = Lazy(grpc_check.library)
        self._postgres = Lazy(lambda: _postgres()(credentials, client.guard))
        self._redis = RedisConnections(credentials=credentials, guard=client.guard)
        self._prometheus = prometheus
        self._loop_lag = loop_lag

    async def close(self) -> None:
        """Closes the connections to dependencies."""
        if self._postgres.is_loaded:
            await (await self._postgres.get()).close()
        await self._redis.close()

    async def check(self, probe: NetworkProbe, *, timeout: timedelta) -> CheckResult:
        """Runs the check once, without retries. Never raises.

        A failure while the operator's event loop lagged is inconclusive. A pass stays a pass: the target did answer, if
        nobody knows how fast.
        """
        began = asyncio.get_running_loop().time()
        result = await self._run_and_classify(probe, timeout=timeout)
        lag = self._loop_lag(began)
        if lag <= MAX_LAG_SECONDS:
            return result
        if result.outcome is not Outcome.FAIL:
            return replace(result, latency_seconds=None)
        return CheckResult(
            Outcome.INCONCLUSIVE,
            "OwnLoopLagged",
            f"{result.message}; inconclusive, because the operator itself was {lag * 1000:.0f} ms behind",
        )

    async def _run_and_classify(self, probe: NetworkProbe, *, timeout: timedelta) -> CheckResult:
        try:
            return await self._run(probe, timeout=timeout)
        except NetworkFailure as failure:
            outcome = Outcome.INCONCLUSIVE if failure.own else Outcome.FAIL
            message = f"{_describe(probe)}: {failure}{_hint(probe, failure)}"
            return CheckResult(outcome, failure.reason, message, answered=failure.taken)
        except Refused as refusal:
            return CheckResult(Outcome.INCONCLUSIVE, "AddressRefused", f"{_describe(probe)}: {refusal}")
        except PortError as error:
            # The check itself needs a Secret of the cluster that is missing, not labelled or not readable.
            return CheckResult(Outcome.INCONCLUSIVE, "SecretNotReadable", f"{_describe(probe)}: {error}")

    async def _run(self, probe: NetworkProbe, *, timeout: timedelta) -> CheckResult:
        client = self._client
        match probe:
            case HttpProbe():
                return await http_check.check_http(probe, client=client, logins=self._logins, timeout=timeout)
            case TcpProbe():
                return await tcp_check.check_tcp(probe, guard=client.guard, timeout=timeout)
            case GrpcProbe():
                return await grpc_check.check_grpc(
                    probe, library=self._grpc, guard=client.guard, user_agent=client.user_agent, timeout=timeout
                )
            case PrometheusProbe():
                return await prometheus_check.check_prometheus(probe, client=self._prometheus, timeout=timeout)
            case PostgresProbe():
                return await (await self._postgres.get()).check(probe, timeout=timeout)
            case RedisProbe():
                return await redis_check.check_redis(probe, connections=self._redis, timeout=timeout)
            case RedisStreamProbe():
                return await stream_check.check_redis_stream(probe, connections=self._redis, timeout=timeout)
            case DnsProbe():
                return await dns_check.check_dns(probe, guard_resolve=client.guard.resolve, timeout=timeout)
            case _:
                assert_never(probe)


def _postgres() -> "type[PostgresChecks]":
    from resilience.adapters.checks.postgres.checks import PostgresChecks

    return PostgresChecks


def _hint(probe: NetworkProbe, failure: NetworkFailure) -> str:
    """The cause that a reset by a port suggests, to a check that speaks no TLS; else empty."""
    is_plain = isinstance(probe, TcpProbe | GrpcProbe) or (
        isinstance(probe, HttpProbe) and probe.target.scheme is Scheme.HTTP
    )
    if not is_plain or failure.reason not in _RESETS:
        return ""
    return "; perhaps it requires TLS, as in a service mesh with STRICT mTLS"


def _describe(probe: NetworkProbe) -> str:
    match probe:
        case HttpProbe():
            return http_check.describe(probe)
        case TcpProbe():
            return tcp_check.describe(probe)
        case GrpcProbe():
            return grpc_check.describe(probe)
        case PrometheusProbe():
            return prometheus_check.DESCRIPTION
        case PostgresProbe():
            return postgres.DESCRIPTION
        case RedisProbe():
            return redis_check.describe(probe)
        case RedisStreamProbe():
            return stream_check.describe(probe)
        case DnsProbe():
            return dns_check.DESCRIPTION
        case _:
            assert_never(probe)
