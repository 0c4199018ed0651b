"""The grpc check: the standard health service (grpc.health.v1), asked once on a new connection, without TLS.

Its two messages are one field each, so they are written and read here by hand: a protobuf runtime and generated code
would be a dependency for six bytes. Format: https://protobuf.dev/programming-guides/encoding/.
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Final

import grpc

from resilience.adapters.net.address import Address, AddressGuard
from resilience.adapters.net.failures import NetworkFailure, from_os_error, from_text
from resilience.adapters.net.http_wire import BODY_LIMIT
from resilience.api.scalars import format_duration
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import GrpcProbe

_METHOD: Final = "/grpc.health.v1.Health/Check"
_STATUSES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING: Final = 1
# A channel takes about ten: sockets, epoll and event descriptors.
_SPARE_DESCRIPTORS: Final = 16


def describe(probe: GrpcProbe) -> str:
    """What is asked, for messages."""
    return f"gRPC health of {probe.service!r}" if probe.service else "gRPC health"


async def check_grpc(probe: GrpcProbe, *, guard: AddressGuard, user_agent: str, timeout: timedelta) -> CheckResult:
    """Passes when the answer is SERVING.

    Raises:
        Refused: the address may not be spoken to.
        NetworkFailure: no answer within `timeout`; half of it is for the name service.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout.total_seconds()
    addresses = await guard.addresses(probe.host, probe.port, timeout=timeout / 2)
    began = loop.time()
    try:
        _require_descriptors()
        async with asyncio.timeout_at(deadline):
            answer = await _ask(probe, addresses, user_agent=user_agent, seconds=deadline - began)
    except TimeoutError as error:
        raise _timed_out(timeout) from error
    except grpc.aio.AioRpcError as error:
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


def _require_descriptors() -> None:
    """Raises OSError when there are too few: gRPC then crashes the process instead of saying so (tried: 1.85)."""
    with ExitStack() as stack:
        for _ in range(_SPARE_DESCRIPTORS):
            stack.enter_context(socket.socket())


async def _ask(probe: GrpcProbe, addresses: Sequence[Address], *, user_agent: str, seconds: float) -> bytes:
    options = (
        ("grpc.primary_user_agent", user_agent),
        ("grpc.default_authority", f"{probe.host}:{probe.port}"),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        # Else channels to the same address share one connection.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", BODY_LIMIT),
    )
    async with grpc.aio.insecure_channel(_target(addresses), options=options) as channel:
        # Without serializers the messages are bytes.
        answer: bytes = await channel.unary_unary(_METHOD)(encode_request(probe.service), timeout=seconds)
        return answer


def _target(addresses: Sequence[Address]) -> str:
    """One target names addresses of one family only: the family that is to be tried first."""
    family = addresses[0].family
    scheme = "ipv6" if family is socket.AF_INET6 else "ipv4"
    return f"{scheme}:" + ",".join(str(each) for each in addresses if each.family is family)


def _from_status(error: grpc.aio.AioRpcError, probe: GrpcProbe, *, timeout: timedelta, seconds: float) -> CheckResult:
    """A status that the target sent is its answer; one that the library made up is a failed connection."""
    code: grpc.StatusCode = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise _timed_out(timeout) from error
    if code is grpc.StatusCode.UNAVAILABLE:
        raise _unavailable(error.details() or "") from error
    reason = "Grpc" + "".join(word.capitalize() for word in code.name.split("_"))
    return CheckResult(Outcome.FAIL, reason, f"{describe(probe)} answered {code.name}", seconds)


def _unavailable(details: str) -> NetworkFailure:
    """Only the library's own words are read: a target must not be able to look like a fault of ours."""
    found = from_text(details) if details.startswith("failed to connect") else None
    return found or NetworkFailure("unavailable, or the connection broke", reason="GrpcUnavailable")


def _timed_out(timeout: timedelta) -> NetworkFailure:
    return NetworkFailure(f"no answer within {format_duration(timeout)}", reason="Timeout")


def encode_request(service: str) -> bytes:
    """A HealthCheckRequest: field 1, the service's name; the empty name is left out."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def decode_status(message: bytes) -> int | None:
    """Field 1 of a HealthCheckResponse, 0 when absent; None when the bytes are no such message."""
    status, position = 0, 0
    while position < len(message):
        read = _read_varint(message, position)
        if read is None:
            return None
        tag, position = read
        # Every field of this message, in all its versions, is a varint.
        read = _read_varint(message, position) if tag & 7 == 0 else None
        if read is None:
            return None
        value, position = read
        status = value if tag >> 3 == 1 else status
    return status


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(message: bytes, position: int) -> tuple[int, int] | None:
    """The number at a position and the position after it; None when it does not end within ten bytes."""
    number = 0
    for index, byte in enumerate(message[position : position + 10]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    return None
