"""A fleet on a real API server: services whose pods kwok plays, and what one of the controllers needs for each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from benchmarks.kinds import Kind, deployment, resource
from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.paths import collection, named
from resilience.adapters.kube.transport import JSON_PATCH, NotFound, Transport
from resilience.api.names import PLURAL

# A node has 254 addresses for its pods, and a release takes some more than those that serve.
_PODS_OF_A_NODE: Final = 150
_AT_ONCE: Final = 16
_OF_US: Final = {"resilience.dev/benchmark": "scale"}


def node(name: str) -> Json:
    """A node that is only an entry; nothing else is scheduled onto it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"type": "kwok", "kubernetes.io/hostname": name, **_OF_US},
        },
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
    }


def placed(count: int, per_namespace: int) -> list[tuple[str, str]]:
    """Namespace and name of each service."""
    return [(f"scale-{number // per_namespace}", f"service-{number}") for number in range(count)]


def spread(services: Sequence[tuple[str, str]], releases: int) -> list[tuple[str, str]]:
    """So many of the services, at equal distances."""
    return [services[number * len(services) // releases] for number in range(releases)]


class Fleet:
    """`count` services of so many pods each, so many services in each namespace."""

    def __init__(self, transport: Transport, count: int, *, kind: Kind, replicas: int, per_namespace: int) -> None:
        self._transport = transport
        self.kind = kind
        self.services = placed(count, per_namespace)
        self._nodes = [f"kwok-{number}" for number in range(replicas * count // _PODS_OF_A_NODE + 2)]
        self._namespaces = sorted({namespace for namespace, _ in self.services})

    async def make(self, report: Callable[[int], None]) -> None:
        """Nodes, namespaces, and everything of each service."""
        await self._each(self._post("/api/v1/nodes", node(each)) for each in self._nodes)
        await self._each(
            self._post("/api/v1/namespaces", {"metadata": {"name": each, "labels": _OF_US}})
            for each in self._namespaces
        )
        done = 0

        async def one(namespace: str, name: str) -> None:
            nonlocal done
            for path, made in self.kind.made(namespace, name):
                await self._post(path, made)
            done += 1
            report(done)

        await self._each(one(*each) for each in self.services)

    async def ready(self) -> int:
        """Services whose pods are all available in the version that is wanted."""
        return sum(map(self.kind.is_ready, await self._all(self.kind.templates)))

    async def running(self) -> int:
        """Services that the controller looks after."""
        return sum(map(self.kind.is_looked_after, await self._all(self.kind.reports)))

    def chosen(self, releases: int) -> list[tuple[str, str]]:
        """So many services, of every namespace alike."""
        return spread(self.services, releases)

    async def release(self, namespace: str, name: str, version: str) -> None:
        """A new template for one service."""
        env = [{"name": "VERSION", "value": version}]
        patch = [{"op": "add", "path": "/spec/template/spec/containers/0/env", "value": env}]
        group, _, plural = self.kind.templates.rpartition("/")
        path = f"{group}/namespaces/{namespace}/{plural}/{name}"
        await self._transport.patch(path, patch, content_type=JSON_PATCH)

    async def ended(self) -> dict[str, str]:
        """The release that ended last, by service; empty before the first."""
        return {each["metadata"]["name"]: self.kind.ended(each) for each in await self._all(self.kind.reports)}

    async def restart(self, value: str) -> None:
        """Requests a restart of the first service."""
        note = {"metadata": {"annotations": {"resilience.dev/restart-requested-at": value}}}
        path = named(PLURAL, *self.services[0])
        await self._transport.patch(path, note, content_type="application/merge-patch+json")

    async def restarted(self, value: str) -> int:
        """1 when that restart has succeeded. Raises RuntimeError when it has failed."""
        found = await self._transport.find(named(PLURAL, *self.services[0])) or {}
        last = (found.get("status") or {}).get("lastRestart") or {}
        if last.get("request") != value:
            return 0
        if last["result"] != "Succeeded":
            raise RuntimeError(f"the restart: {last}")
        return 1

    async def churn(self, count: int, report: Callable[[int], None]) -> None:
        """So many services that come, are looked after, and go."""
        namespace, done = self._namespaces[0], 0

        async def one(number: int) -> None:
            nonlocal done
            name = f"churn-{number}"
            await self._post(collection("deployments", namespace), deployment(namespace, name, replicas=0))
            made = resource(namespace, name)
            made["spec"] = {key: made["spec"][key] for key in ("profile", "targetRef", "probes")}
            await self._post(collection(PLURAL, namespace), made)
            for _ in range(600):
                found = await self._transport.find(named(PLURAL, namespace, name))
                if found is None or (found.get("status") or {}).get("phase"):
                    break
                await asyncio.sleep(0.1)
            await self._deleted(named(PLURAL, namespace, name))
            await self._deleted(named("deployments", namespace, name))
            done += 1
            report(done)

        await self._each(one(number) for number in range(count))

    async def gone(self) -> None:
        """Takes it all away again."""
        group, _, plural = self.kind.reports.rpartition("/")
        await self._each(
            self._deleted(f"{group}/namespaces/{namespace}/{plural}/{name}") for namespace, name in self.services
        )
        await self._each(self._deleted(f"/api/v1/namespaces/{each}") for each in self._namespaces)
        for _ in range(600):
            left = {each["metadata"]["name"] for each in await self._transport.list("/api/v1/namespaces")}
            if left.isdisjoint(self._namespaces):
                break
            await asyncio.sleep(1)
        await self._each(self._deleted(f"/api/v1/nodes/{name}") for name in self._nodes)

    async def _all(self, path: str) -> list[Json]:
        """Those of the fleet."""
        mine = set(self.services)
        found = await self._transport.list(path)
        return [each for each in found if (each["metadata"]["namespace"], each["metadata"]["name"]) in mine]

    async def _post(self, path: str, body: Json) -> None:
        await self._transport.post(path, body)

    async def _deleted(self, path: str) -> None:
        try:
            await self._transport.delete(path, {"propagationPolicy": "Background"})
        except NotFound:
            return

    async def _each(self, work: Iterable[Awaitable[None]]) -> None:
        """All of it, a few at once."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(each: Awaitable[None]) -> None:
            async with slots:
                await each

        await asyncio.gather(*(one(each) for each in work))
