"""One call of the health service with the library, on a new connection. A Lazy imports this, and nobody else."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import grpc

from resilience.adapters.checks.grpc_messages import CallFailed, encode_request
from resilience.adapters.net.address import Address
from resilience.adapters.net.http_wire import BODY_LIMIT
from resilience.core.model.probes import GrpcProbe

_METHOD: Final = "/grpc.health.v1.Health/Check"
# A channel takes about ten: for sockets, epoll and events.
_SPARE_DESCRIPTORS: Final = 16


async def call(probe: GrpcProbe, addresses: Sequence[Address], user_agent: str, seconds: float) -> bytes:
    """The answer, as it is on the wire.

    Raises:
        CallFailed: the call ended with another status than OK.
        OSError: too few descriptors are free.
    """
    _require_descriptors()
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
    try:
        async with grpc.aio.insecure_channel(_target(addresses), options=options) as channel:
            # Without serializers the messages are bytes.
            answer: bytes = await channel.unary_unary(_METHOD)(encode_request(probe.service), timeout=seconds)
            return answer
    except grpc.aio.AioRpcError as error:
        raise CallFailed(error.code().name, error.details() or "") from error


def _require_descriptors() -> None:
    """Raises OSError when too few descriptors are free: gRPC would crash the process instead (tested with 1.85)."""
    with ExitStack() as stack:
        for _ in range(_SPARE_DESCRIPTORS):
            stack.enter_context(socket.socket())


def _target(addresses: Sequence[Address]) -> str:
    """The gRPC target. It can hold addresses of one family only, so it holds those of the family to try first."""
    family = addresses[0].family
    scheme = "ipv6" if family is socket.AF_INET6 else "ipv4"
    return f"{scheme}:" + ",".join(str(address) for address in addresses if address.family is family)
