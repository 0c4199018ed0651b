"""Raw objects of a quiet service as an API server holds them, and a transport that serves them from memory."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from resilience.adapters.kube.listed import Json, Listed, read
from resilience.ports.cluster import View

NAMESPACE = "bench"


def resource(name: str) -> Json:
    """A ResilientService that has been adopted, with one check at each scope."""
    return {
        "apiVersion": "resilience.dev/v1alpha1",
        "kind": "ResilientService",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["resilience.dev/give-back"],
        },
        "spec": {
            "profile": "Production",
            "targetRef": {"kind": "Deployment", "name": name},
            "service": {"name": name, "port": "http"},
            "health": {
                "checks": [
                    {"name": "ready", "scope": "Service", "http": {"path": "/readyz"}},
                    {"name": "live", "scope": "Pod", "http": {"path": "/livez", "port": "http"}},
                ]
            },
        },
    }


def deployment(name: str) -> Json:
    """Its Deployment of two pods, claimed and settled."""
    container = {
        "name": "app",
        "image": "app:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    }
    owned: Json = {"f:containers": {'k:{"name":"app"}': {".": {}, "f:lifecycle": {"f:preStop": {}}}}}
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"deploy-{name}",
            "resourceVersion": "1",
            "generation": 1,
            "labels": {"resilience.dev/managed": "true"},
            "annotations": {"resilience.dev/claimed-by": f"{name}/uid-{name}"},
            "managedFields": [
                {"manager": "resilience-operator", "fieldsV1": {"f:spec": {"f:template": {"f:spec": owned}}}}
            ],
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
        "status": {
            "observedGeneration": 1,
            "replicas": 2,
            "updatedReplicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
        },
    }


def service(name: str) -> Json:
    """Its Service, marked."""
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"resilience.dev/managed": "true"}},
        "spec": {
            "clusterIP": "10.0.0.1",
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def endpoint_slice(name: str) -> Json:
    """Its EndpointSlice with two pods."""
    return {
        "metadata": {
            "name": f"{name}-1",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": name, "resilience.dev/managed": "true"},
        },
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {
                "addresses": [f"10.1.0.{number}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "name": f"{name}-{number}", "uid": f"pod-{name}-{number}"},
            }
            for number in (1, 2)
        ],
    }


class MemoryApi:
    """Serves the sample objects and counts what is asked of it; a status write changes what is served."""

    def __init__(self) -> None:
        self.reads = 0
        self.writes = 0
        self._resources: dict[str, Json] = {}

    def put(self, name: str) -> None:
        """The resource is created."""
        self._resources[name] = resource(name)

    async def find(self, path: str) -> Json | None:
        """One object; a copy by JSON, as the wire would give it."""
        self.reads += 1
        name = path.rsplit("/", 1)[-1]
        if "resilientservices" in path:
            return _copy(self._resources[name]) if name in self._resources else None
        return deployment(name)

    async def views(self, path: str, view: Callable[[Json], View], **_: Any) -> list[View]:
        """What a first pass reads of Services and their slices; there is nothing else."""
        self.reads += 1
        made = {"services": service, "endpointslices": endpoint_slice}.get(path.rsplit("/", 1)[-1])
        return [] if made is None else [view(made(name)) for name in self._resources]

    async def listed(self, path: str, view: Callable[[Any], View], *, shape: Any = Json, **_: Any) -> Listed[View]:
        """As `views`, decoded as from the wire."""
        items: list[Json] = await self.views(path, lambda raw: raw)
        return read([msgspec.json.encode(item) for item in items], view, shape)

    def now(self) -> datetime:
        """This machine's time."""
        return datetime.now(UTC)

    async def patch(self, path: str, body: Json, **_: Any) -> Json:
        """A write; only status is kept."""
        self.writes += 1
        name = path.split("/")[-2 if path.endswith("/status") else -1]
        kept = self._resources[name]
        if path.endswith("/status"):
            kept["status"] = copy.deepcopy(body["status"])
        return _copy(kept)

    def forget(self, name: str) -> None:
        """The resource is deleted."""
        self._resources.pop(name, None)

    async def post(self, path: str, body: Json) -> Json:
        """An Event."""
        self.writes += 1
        return body


def _copy(raw: Json) -> Json:
    found: Json = json.loads(json.dumps(raw))
    return found
