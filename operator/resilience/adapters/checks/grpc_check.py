"""The grpc check: one call of the standard health service (grpc.health.v1) on a new connection, without TLS."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final, TypeAlias

from resilience.adapters.checks.grpc_messages import CallFailed, decode_status
from resilience.adapters.lazy import Lazy
from resilience.adapters.net.address import Address, AddressGuard
from resilience.adapters.net.failures import NetworkFailure, from_os_error, from_text
from resilience.api.scalars import format_duration
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import GrpcProbe

# As grpc_call.call: probe, addresses, user agent, seconds.
Call: TypeAlias = Callable[[GrpcProbe, Sequence[Address], str, float], Awaitable[bytes]]
_STATUSES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING: Final = 1


def describe(probe: GrpcProbe) -> str:
    """The subject of the check, for messages."""
    return f"gRPC health of {probe.service!r}" if probe.service else "gRPC health"


def library() -> Call:
    """Imports gRPC, for a Lazy: the call."""
    from resilience.adapters.checks.grpc_call import call

    return call


async def check_grpc(
    probe: GrpcProbe, *, library: Lazy[Call], guard: AddressGuard, user_agent: str, timeout: timedelta
) -> CheckResult:
    """Passes when the answer is SERVING.

    Raises:
        Refused: the address is not permitted.
        NetworkFailure: no answer within `timeout`, of which name resolution may take half.
    """
    call = await library.get()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout.total_seconds()
    addresses = await guard.addresses(probe.host, probe.port, timeout=timeout / 2, stale=True)
    began = loop.time()
    try:
        async with asyncio.timeout_at(deadline):
            answer = await call(probe, addresses, user_agent, deadline - began)
    except TimeoutError as error:
        raise _timed_out(timeout) from error
    except CallFailed as error:
        return _from_status(error, probe, timeout=timeout, seconds=loop.time() - began)
    except OSError as error:
        raise from_os_error(error) from error
    seconds = loop.time() - began
    status = decode_status(answer)
    if status is None:
        return CheckResult(Outcome.FAIL, "NotGrpcHealth", f"{describe(probe)}: the answer cannot be read", seconds)
    name = _STATUSES.get(status, str(status))
    outcome = Outcome.PASS if status == _SERVING else Outcome.FAIL
    reason = "".join(word.capitalize() for word in name.split("_"))
    return CheckResult(outcome, reason, f"{describe(probe)} answered {name}", seconds)


def _from_status(error: CallFailed, probe: GrpcProbe, *, timeout: timedelta, seconds: float) -> CheckResult:
    """The result for a status that the target sent. Raises NetworkFailure for one that means a failed connection."""
    if error.code == "DEADLINE_EXCEEDED":
        raise _timed_out(timeout) from error
    if error.code == "UNAVAILABLE":
        raise _unavailable(error.details) from error
    reason = "Grpc" + "".join(word.capitalize() for word in error.code.split("_"))
    return CheckResult(Outcome.FAIL, reason, f"{describe(probe)} answered {error.code}", seconds)


def _unavailable(details: str) -> NetworkFailure:
    """The failure behind UNAVAILABLE.

    Only the library's own text is parsed: a target must not be able to pose as a fault of the operator.
    """
    failure = from_text(details) if details.startswith("failed to connect") else None
    return failure or NetworkFailure("unavailable, or the connection broke", reason="GrpcUnavailable")


def _timed_out(timeout: timedelta) -> NetworkFailure:
    return NetworkFailure(f"no answer within {format_duration(timeout)}", reason="Timeout")
