"""The grpc check: one call of the standard health service (grpc.health.v1) on a new connection, without TLS.

Its two messages have one field each, so this module encodes and decodes them by hand: a protobuf runtime and generated
code would be a dependency for six bytes. Format: https://protobuf.dev/programming-guides/encoding/.
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
# A channel takes about ten: for sockets, epoll and events.
_SPARE_DESCRIPTORS: Final = 16


def describe(probe: GrpcProbe) -> str:
    """The subject of the check, for messages."""
    return f"gRPC health of {probe.service!r}" if probe.service else "gRPC health"


async def check_grpc(probe: GrpcProbe, *, guard: AddressGuard, user_agent: str, timeout: timedelta) -> CheckResult:
    """Passes when the answer is SERVING.

    Raises:
        Refused: the address is not permitted.
        NetworkFailure: no answer within `timeout`, of which name resolution may take half.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout.total_seconds()
    addresses = await guard.addresses(probe.host, probe.port, timeout=timeout / 2, stale=True)
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
    """Raises OSError when too few descriptors are free: gRPC would crash the process instead (tested with 1.85)."""
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
        # Otherwise channels to the same address share one connection.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", BODY_LIMIT),
        # The limit is for what is on the wire: no compression is offered, and what comes compressed is not unpacked.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.per_message_decompression", 0),
    )
    async with grpc.aio.insecure_channel(_target(addresses), options=options) as channel:
        # Without serializers the messages are bytes.
        answer: bytes = await channel.unary_unary(_METHOD)(encode_request(probe.service), timeout=seconds)
        return answer


def _target(addresses: Sequence[Address]) -> str:
    """The gRPC target. It can hold addresses of one family only, so it holds those of the family to try first."""
    family = addresses[0].family
    scheme = "ipv6" if family is socket.AF_INET6 else "ipv4"
    return f"{scheme}:" + ",".join(str(address) for address in addresses if address.family is family)


def _from_status(error: grpc.aio.AioRpcError, probe: GrpcProbe, *, timeout: timedelta, seconds: float) -> CheckResult:
    """The result for a status that the target sent. Raises NetworkFailure for one that means a failed connection."""
    code: grpc.StatusCode = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise _timed_out(timeout) from error
    if code is grpc.StatusCode.UNAVAILABLE:
        raise _unavailable(error.details() or "") from error
    reason = "Grpc" + "".join(word.capitalize() for word in code.name.split("_"))
    return CheckResult(Outcome.FAIL, reason, f"{describe(probe)} answered {code.name}", seconds)


def _unavailable(details: str) -> NetworkFailure:
    """The failure behind UNAVAILABLE.

    Only the library's own text is parsed: a target must not be able to pose as a fault of the operator.
    """
    failure = from_text(details) if details.startswith("failed to connect") else None
    return failure or NetworkFailure("unavailable, or the connection broke", reason="GrpcUnavailable")


def _timed_out(timeout: timedelta) -> NetworkFailure:
    return NetworkFailure(f"no answer within {format_duration(timeout)}", reason="Timeout")


def encode_request(service: str) -> bytes:
    """A HealthCheckRequest: field 1 is the service's name; an empty name is left out."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def decode_status(message: bytes) -> int | None:
    """Field 1 of a HealthCheckResponse, 0 when absent; None when the bytes are not such a message."""
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
