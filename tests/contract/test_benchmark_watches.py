"""The benchmarks measure a burst of releases by watches, here of an API server that does at once what it is asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from benchmarks.burst import Figures
from benchmarks.counting import Requests
from benchmarks.fleet import Fleet
from benchmarks.kinds import Argos, Kind, Ours
from benchmarks.releasing import released
from benchmarks.stage import transport_of
from benchmarks.watching import following
from tests.hostile.support import http_server, until

REPLICAS = 2
TEMPLATES = "/apis/apps/v1/deployments"


@dataclass(slots=True)
class Server:
    """Makes an object for a changed template, then says that its release is over."""

    kind: Kind
    versions: dict[str, int] = field(default_factory=dict)
    watches: dict[str, asyncio.Queue[dict[str, Any]]] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH":
            return await self._changed(request)
        if "watch" in request.query:
            return await self._watch(request)
        items = [self._report(name) for name in self.versions] if request.path == self.kind.reports else []
        return web.json_response({"metadata": {"resourceVersion": "41"}, "items": items})

    def tell(self, path: str, kind: str, raw: dict[str, Any]) -> None:
        """An event for who watches this path."""
        self.watches.setdefault(path, asyncio.Queue()).put_nowait({"type": kind, "object": raw})

    async def _changed(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        assert (await request.json())[0]["value"] == [{"name": "VERSION", "value": "2"}]
        self.versions[name] += 1
        template = {"metadata": {"labels": {"app": name}}}
        self.tell("/apis/apps/v1/replicasets", "ADDED", {"spec": {"template": template}})
        self.tell(self.kind.reports, "MODIFIED", self._report(name))
        return web.json_response({})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        assert request.query["resourceVersion"] == "41"
        response = web.StreamResponse()
        await response.prepare(request)
        events = self.watches.setdefault(request.path, asyncio.Queue())
        while True:
            await response.write(json.dumps(await events.get()).encode() + b"\n")

    def _report(self, name: str) -> dict[str, Any]:
        version = str(self.versions[name])
        of_argo = {"phase": "Healthy", "observedGeneration": "1", "currentPodHash": version, "stableRS": version}
        return {
            "metadata": {"namespace": "scale-0", "name": name, "generation": 1},
            "spec": {"replicas": REPLICAS},
            "status": {"lastRollout": {"traceId": version}, "replicas": REPLICAS, **of_argo},
        }


@asynccontextmanager
async def api_of(server: Server) -> AsyncIterator[client.ApiClient]:
    async with (
        http_server(server.answer) as port,
        client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{port}")) as api,
    ):
        yield api


@dataclass(slots=True)
class Controller:
    """Has taken ten times as much whenever it is asked."""

    asked: int = 0

    def figures(self) -> Figures:
        self.asked += 1
        return Figures(10.0**self.asked, 1, 0, Requests())


@pytest.mark.parametrize("name", ["ours", "argo"])
async def test_a_burst_is_over_when_each_service_has_been_released(name: str) -> None:
    ours = Ours(replicas=REPLICAS, strategy="BlueGreen", checks=False)
    kind: Kind = ours if name == "ours" else Argos(replicas=REPLICAS, strategy="BlueGreen")
    server = Server(kind)
    async with api_of(server) as api:
        fleet = Fleet(transport_of(api), 9, kind=kind, replicas=REPLICAS, per_namespace=9)
        server.versions = {service: 1 for _, service in fleet.services}
        # when
        burst = await released(api, fleet, Controller(), 3, version="2", pause=0)
    # then
    assert sorted(server.versions.values()) == [1] * 6 + [2] * 3
    assert (burst.releases, len(burst.first), burst.cpu) == (3, 3, 30)
    assert burst.seconds > 0


async def test_a_watch_that_ended_is_no_silence() -> None:
    server = Server(Ours(replicas=REPLICAS, strategy="BlueGreen", checks=False))
    server.tell(TEMPLATES, "ERROR", {"message": "too old"})
    with pytest.raises(RuntimeError, match="too old"):
        async with api_of(server) as api, following(api, TEMPLATES, lambda _: None):
            await until(lambda: server.watches[TEMPLATES].empty(), seconds=5)
            await asyncio.sleep(0.1)
