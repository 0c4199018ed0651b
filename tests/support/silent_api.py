"""An API server of almost nothing for one process of the operator, and that process."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web

from tests.hostile.support import http_server, until
from tests.support.ports import server_port
from tests.support.preconditions import require

KINDS: Final = {
    "v1": {"configmaps": "ConfigMap", "services": "Service"},
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"},
    "discovery.k8s.io/v1": {"endpointslices": "EndpointSlice"},
    "resilience.dev/v1alpha1": {"resilientservices": "ResilientService", "alertreceivers": "AlertReceiver"},
}
WATCHED: Final = sum(len(kinds) for kinds in KINDS.values())
# Not watched, and kopf waits until it is known.
NAMESPACES: Final = {"name": "namespaces", "singularName": "", "kind": "Namespace", "namespaced": False, "verbs": []}
VERBS: Final = ["list", "watch", "patch"]
TOO_OLD: Final = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
PATIENCE: Final = 40.0


@dataclass(slots=True)
class Silent:
    """An API server with a Lease and otherwise empty lists, whose watches stay open until it `restarts`.

    After `silent` is set it accepts requests and answers none.
    """

    watches: int = 0
    lease: dict[str, object] | None = None
    restarts: asyncio.Event = field(default_factory=asyncio.Event)
    silent: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.silent.is_set():
            await asyncio.sleep(PATIENCE)
        if "watch" in request.query:
            return await self._watch(request)
        if "/leases" in request.path:
            return await self._lease(request)
        return web.json_response(discovery().get(request.path, {"items": [], "metadata": {"resourceVersion": "1"}}))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        self.watches += 1
        if not self.restarts.is_set():
            await self.restarts.wait()
            await response.write(json.dumps(TOO_OLD).encode() + b"\n")
            return response
        await self.silent.wait()
        return response

    async def _lease(self, request: web.Request) -> web.Response:
        if request.method != "GET":
            lease = await request.json()
            self.lease = lease | {"metadata": lease["metadata"] | {"resourceVersion": "1"}}
        return web.json_response(self.lease or {"message": "there is none"}, status=200 if self.lease else 404)


def discovery() -> dict[str, object]:
    """The answers of an API server about itself and its kinds, by path."""
    said: dict[str, object] = {
        "/version": {"minor": "36", "gitVersion": "v1.36.0"},
        "/api": {"versions": ["v1"]},
        "/apis": {"groups": [group(version) for version in KINDS if "/" in version]},
    }
    for version, kinds in KINDS.items():
        said[f"/apis/{version}" if "/" in version else f"/api/{version}"] = {
            "resources": [
                {
                    "name": plural,
                    "singularName": "",
                    "kind": kind,
                    "namespaced": True,
                    "verbs": ["list", "watch", "patch"],
                }
                for plural, kind in kinds.items()
            ]
            + [NAMESPACES] * (version == "v1")
        }
    return said


def group(version: str) -> dict[str, object]:
    """A group with one version."""
    name, _, short = version.partition("/")
    only = {"groupVersion": version, "version": short}
    return {"name": name, "versions": [only], "preferredVersion": only}


@asynccontextmanager
async def leader(server: Silent, folder: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The operator's process, which leads and watches, after the API server has restarted once.

    `options` are those of Python. What it says on standard error is in `folder / "log"`.
    """
    async with http_server(server.answer) as port:
        config = {
            "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
        }
        (folder / "config").write_text(json.dumps(config))
        env = os.environ | {
            "KUBECONFIG": str(folder / "config"),
            "RESILIENCE_HTTP_PORT": str(server_port()),
            "RESILIENCE_FLAGS_PORT": "0",
        }
        with (folder / "log").open("w") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *options, "-m", "resilience", "run", env=env, stderr=log
            )
        try:
            await until(lambda: server.watches >= WATCHED, seconds=PATIENCE)
            # Each watch lists again, and so begins anew while there is a leader.
            server.restarts.set()
            await until(lambda: server.watches >= 2 * WATCHED, seconds=PATIENCE)
            require(server.watches >= 2 * WATCHED, f"it does not watch: {(folder / 'log').read_text()}")
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
