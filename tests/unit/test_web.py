"""Health, readiness and metrics over HTTP."""

import asyncio
import socket
from dataclasses import dataclass, field

import aiohttp
import pytest

from resilience.adapters.telemetry.metrics import PrometheusMetrics
from resilience.web.app import create_app, serve


@dataclass
class Patient:
    found: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        return self.found


async def get(port: int, path: str, **headers: str) -> tuple[int, str, aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as got,
    ):
        return got.status, await got.text(), got


async def test_health_and_readiness() -> None:
    patient = Patient()
    async with serve(create_app(health=patient, metrics=PrometheusMetrics(version="1")), 0) as port:
        status, body, answer = await get(port, "/healthz")
        assert (status, body, answer.content_type) == (200, '{"status": "ok"}', "application/json")
        assert "Server" not in answer.headers
        patient.found.append("no event since 700 s")
        status, body, _ = await get(port, "/healthz")
        assert (status, body) == (503, '{"status": "failing", "problems": ["no event since 700 s"]}')
        # A restart is what health asks for; readiness takes no replica out.
        assert (await get(port, "/readyz"))[0] == 200
        status, _, answer = await get(port, "/nothing")
        assert status == 404
        assert "Server" not in answer.headers


async def test_metrics() -> None:
    metrics = PrometheusMetrics(version="1.2.3", installation="ops/resilience")
    metrics.leader(True)
    async with serve(create_app(health=Patient(), metrics=metrics), 0) as port:
        status, body, answer = await get(port, "/metrics")
        assert status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4; charset=utf-8")
        assert "resilience_operator_leader 1.0\n" in body
        assert 'resilience_operator_build_info{installation="ops/resilience",version="1.2.3"} 1.0\n' in body
        _, _, answer = await get(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_both_families() -> None:
    async with serve(create_app(health=Patient(), metrics=PrometheusMetrics(version="1")), 0) as port:
        for host in ("127.0.0.1", "::1"):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()


async def test_other_methods_and_long_lines_are_refused() -> None:
    async with serve(create_app(health=Patient(), metrics=PrometheusMetrics(version="1")), 0) as port:
        address = f"http://127.0.0.1:{port}/healthz"
        async with aiohttp.ClientSession() as session, session.post(address, data=b"x" * 100_000) as posted:
            assert posted.status == 405
        assert (await get(port, "/" + "x" * 10_000))[0] == 400


async def test_the_port_is_free_again_and_a_taken_one_is_an_error() -> None:
    app = create_app(health=Patient(), metrics=PrometheusMetrics(version="1"))
    async with serve(app, 0) as port:
        other = create_app(health=Patient(), metrics=PrometheusMetrics(version="1"))
        with pytest.raises(OSError, match="in use"):
            async with serve(other, port):
                pass
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
