"""A fleet on a real API server: Deployments whose pods kwok plays, headless Services, and a ResilientService each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from resilience.adapters.kube.paths import collection, named
from resilience.adapters.kube.transport import Json, NotFound, Transport
from resilience.api.names import PLURAL

# A node has 254 addresses for its pods, and a release takes some more than those that serve.
_PODS_OF_A_NODE: Final = 150
PORT: Final = 8080
_AT_ONCE: Final = 16
_PER_NAMESPACE: Final = 100
_QUICK: Final = {"warmPeriod": "5s"}
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


def deployment(namespace: str, name: str, *, replicas: int) -> Json:
    """Pods that are ready as soon as they are scheduled."""
    container = {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": PORT}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "nodeSelector": {"type": "kwok"},
                    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
                    "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": False,
                    "containers": [container],
                },
            },
        },
    }


def service(namespace: str, name: str) -> Json:
    """Headless: what kube-proxy makes of a thousand Services is not what is measured."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"name": "http", "port": PORT}]},
    }


def resource(namespace: str, name: str, *, strategy: str = "RollingUpdate") -> Json:
    """One plain HTTP check every 10 s."""
    return {
        "apiVersion": "resilience.dev/v1alpha1",
        "kind": "ResilientService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "profile": "Production",
            "targetRef": {"kind": "Deployment", "name": name},
            "service": {"name": name, "port": "http"},
            "probes": {"management": "Observe"},
            "health": {"checks": [{"name": "ready", "http": {"path": "/"}}]},
            "slo": {"availability": "99.9%"},
            "rollout": {"strategy": strategy, **({"blueGreen": _QUICK} if strategy == "BlueGreen" else {})},
        },
    }


class Fleet:
    """`count` services of so many pods each, a hundred services in each namespace."""

    def __init__(self, transport: Transport, count: int, *, replicas: int, strategy: str) -> None:
        self._transport = transport
        self._replicas, self._strategy = replicas, strategy
        self.services = [(f"scale-{number // _PER_NAMESPACE}", f"service-{number}") for number in range(count)]
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
            made = deployment(namespace, name, replicas=self._replicas)
            await self._post(collection("deployments", namespace), made)
            await self._post(collection("services", namespace), service(namespace, name))
            await self._post(collection(PLURAL, namespace), resource(namespace, name, strategy=self._strategy))
            done += 1
            report(done)

        await self._each(one(*each) for each in self.services)

    async def ready(self) -> int:
        """Deployments whose pods are all available in the version that is wanted."""
        return sum([_whole(each) for name in self._namespaces for each in await self._list("deployments", name)])

    async def running(self) -> int:
        """ResilientServices that the operator calls healthy."""
        found = [each for name in self._namespaces for each in await self._list(PLURAL, name)]
        return sum((each.get("status") or {}).get("health", {}).get("state") == "Healthy" for each in found)

    async def release(self, share: float, version: str, *, pause: float) -> int:
        """A new template for a share of the services, of every namespace alike; how many.

        `pause`: seconds from one to the next.
        """
        chosen = self.services[:: round(1 / share)]
        env = [{"name": "VERSION", "value": version}]
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}}}
        for namespace, name in chosen:
            await self._patched(named("deployments", namespace, name), patch)
            await asyncio.sleep(pause)
        return len(chosen)

    async def ended(self) -> dict[str, str]:
        """Trace id of the release that ended last, by service; empty before the first."""
        found = [each for name in self._namespaces for each in await self._list(PLURAL, name)]
        return {
            each["metadata"]["name"]: ((each.get("status") or {}).get("lastRollout") or {}).get("traceId", "")
            for each in found
        }

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
        await self._each(self._deleted(named(PLURAL, namespace, name)) for namespace, name in self.services)
        await self._each(self._deleted(f"/api/v1/namespaces/{each}") for each in self._namespaces)
        for _ in range(600):
            left = {each["metadata"]["name"] for each in await self._transport.list("/api/v1/namespaces")}
            if left.isdisjoint(self._namespaces):
                break
            await asyncio.sleep(1)
        await self._each(self._deleted(f"/api/v1/nodes/{name}") for name in self._nodes)

    async def _list(self, plural: str, namespace: str) -> list[Json]:
        return await self._transport.list(collection(plural, namespace))

    async def _post(self, path: str, body: Json) -> None:
        await self._transport.post(path, body)

    async def _patched(self, path: str, patch: Json) -> None:
        await self._transport.patch(path, patch, content_type="application/strategic-merge-patch+json")

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


def _whole(raw: Json) -> bool:
    spec, status = raw["spec"], raw.get("status") or {}
    observed = status.get("observedGeneration") == raw["metadata"]["generation"]
    counts = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas")]
    return bool(observed and counts == [spec["replicas"]] * 3)
