"""The gRPC check against a real grpc.aio server with the standard health service, and its bytes against protobuf."""

import itertools
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.checks.grpc_messages import decode_status, encode_request
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.http import HttpClient
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import GrpcProbe
from tests.support.ports import server_port
from tests.support.secrets import no_secrets


async def run(probe: GrpcProbe) -> CheckResult:
    client = HttpClient(guard=AddressGuard(allowed=[ip_network("127.0.0.0/8"), ip_network("::1/128")]), version="1")
    return await NetworkChecker(client=client, loop_lag=lambda since: 0.0, credentials=no_secrets()).check(
        probe, timeout=timedelta(milliseconds=500)
    )


@asynccontextmanager
async def grpc_server() -> AsyncIterator[tuple[int, health.aio.HealthServicer]]:
    servicer = health.aio.HealthServicer()
    running = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, running)
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    try:
        yield port, servicer
    finally:
        await running.stop(None)


async def test_grpc_health_service() -> None:
    statuses = health_pb2.HealthCheckResponse
    async with grpc_server() as (port, servicer):
        await servicer.set("shop.Cart", statuses.NOT_SERVING)
        serving = await run(GrpcProbe("127.0.0.1", port, ""))
        assert (serving.outcome, serving.reason) == (Outcome.PASS, "Serving"), serving
        not_serving = await run(GrpcProbe("127.0.0.1", port, "shop.Cart"))
        assert (not_serving.outcome, not_serving.reason) == (Outcome.FAIL, "NotServing")
        assert not_serving.message == "gRPC health of 'shop.Cart' answered NOT_SERVING"
        unknown = await run(GrpcProbe("127.0.0.1", port, "shop.Missing"))
        assert (unknown.outcome, unknown.reason) == (Outcome.FAIL, "GrpcNotFound")
        await servicer.set("shop.Cart", statuses.SERVING)
        assert (await run(GrpcProbe("127.0.0.1", port, "shop.Cart"))).outcome is Outcome.PASS


async def test_a_server_that_compresses_by_default_is_understood() -> None:
    running = grpc.aio.server(compression=grpc.Compression.Gzip)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), running)
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    result = await run(GrpcProbe("127.0.0.1", port, ""))
    await running.stop(None)
    assert (result.outcome, result.reason) == (Outcome.PASS, "Serving"), result


async def test_an_answer_that_comes_compressed_all_the_same_is_not_unpacked() -> None:
    async def answer(request: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        # SERVING, and zeros that pack well.
        return b"\x08\x01" + bytes(1 << 20)

    running = grpc.aio.server(compression=grpc.Compression.Gzip)
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(answer)}
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    result = await run(GrpcProbe("127.0.0.1", port, ""))
    await running.stop(None)
    # Unpacked it would be too long (GrpcResourceExhausted). The library refuses it, or passes it on as it came.
    assert result.outcome is Outcome.FAIL and result.reason in ("GrpcInternal", "NotGrpcHealth"), result


async def test_grpc_failures() -> None:
    refused = await run(GrpcProbe("127.0.0.1", server_port(), ""))
    assert (refused.outcome, refused.reason) == (Outcome.FAIL, "ConnectionRefused"), refused
    bare = grpc.aio.server()
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    missing = await run(GrpcProbe("127.0.0.1", port, ""))
    await bare.stop(None)
    assert (missing.outcome, missing.reason) == (Outcome.FAIL, "GrpcUnimplemented")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        timed_out = await run(GrpcProbe("127.0.0.1", silent.getsockname()[1], ""))
    assert (timed_out.outcome, timed_out.reason) == (Outcome.FAIL, "Timeout"), timed_out


def limit_for(spare: int) -> int:
    """The limit on file descriptors under which so many are left."""
    used = {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - names only
    free = (number for number in itertools.count() if number not in used)
    return next(itertools.islice(free, spare, None))


async def test_without_file_descriptors_it_is_inconclusive_and_nothing_crashes() -> None:
    async with grpc_server() as (port, _):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        for spare in (0, 5, 12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit_for(spare), hard))
            try:
                result = await run(GrpcProbe("127.0.0.1", port, ""))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, "OwnResourcesExhausted")
        assert (await run(GrpcProbe("127.0.0.1", port, ""))).outcome is Outcome.PASS


@pytest.mark.parametrize("service", ["", "a", "shop.Cart", "x" * 127, "x" * 128, "ü" * 253])
def test_grpc_request_bytes_are_protobuf(service: str) -> None:
    assert encode_request(service) == health_pb2.HealthCheckRequest(service=service).SerializeToString()


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_grpc_response_bytes_are_protobuf(status: int) -> None:
    assert decode_status(health_pb2.HealthCheckResponse(status=status).SerializeToString()) == status


@pytest.mark.parametrize("broken", [b"\x08", b"\x08\x80", b"\xff" * 20, b"\x0a\x05hello", b"<html>"])
def test_grpc_response_that_is_none(broken: bytes) -> None:
    assert decode_status(broken) is None
