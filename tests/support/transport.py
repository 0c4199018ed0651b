"""The API server as adapters see it, in memory: it answers from its objects, and records the writes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.releases import KubeRollouts
from resilience.adapters.kube.transport import MERGE_PATCH, NotFound, Transport
from resilience.ports import PortError
from tests.support.factories import NOW
from tests.support.listing import as_decoded

DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/shop/deployments"
SERVICES: Final = "/api/v1/namespaces/shop/services"
TARGET: Final = f"{DEPLOYMENTS}/checkout"


@dataclass(slots=True)
class FakeTransport:
    """`held`: objects, or lists of them, by path; `missing`: paths that are gone when they are to be deleted."""

    held: Mapping[str, Any] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    fails: Mapping[str, PortError] = field(default_factory=dict)
    sent: list[tuple[str, str, Any]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    managers: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        return NOW

    async def patch(self, path: str, body: Any, *, content_type: str = MERGE_PATCH, **query: str) -> None:
        self.sent.append(("patch", path, body))
        self.kinds.append(content_type)
        self.managers.append(query.get("fieldManager", ""))

    async def post(self, path: str, body: Any) -> None:
        self.sent.append(("post", path, body))

    async def delete(self, path: str, body: Any) -> None:
        self.sent.append(("delete", path, body))
        if path in self.missing:
            raise NotFound(path)

    async def find(self, path: str) -> Any:
        self.read.append(path)
        if path in self.fails:
            raise self.fails[path]
        return self.held.get(path)

    async def get(self, path: str) -> Any:
        item = await self.find(path)
        if item is None:
            raise NotFound(path)
        return item

    async def views(self, path: str, view: Any, *, labels: str = "", fields: str = "") -> Any:
        return [view(raw) for raw in await self.list(path, labels=labels, fields=fields)]

    async def listed(
        self, path: str, view: Any, *, labels: str = "", shape: Any = Json, most: int | None = None
    ) -> Any:
        return as_decoded(await self.list(path, labels=labels), view, shape)

    async def list(self, path: str, *, labels: str = "", fields: str = "") -> Any:
        chosen = "&".join(selector for selector in (labels, fields) if selector)
        return await self.find(f"{path}?{chosen}" if chosen else path) or []


def writer(transport: FakeTransport) -> KubeRollouts:
    return KubeRollouts(transport=cast(Transport, transport))


def only(transport: FakeTransport) -> tuple[str, str, Any]:
    """The one write, which must be the operator's."""
    (sent,) = transport.sent
    assert set(transport.managers) <= {"resilience-operator"}
    return sent
