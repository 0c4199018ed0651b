"""An API server in memory that takes merge patches: what a pass writes is what the next one reads."""

import copy
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, NotFound
from resilience.ports import PortError
from tests.support.listing import as_decoded

_IN: Final = re.compile(r"([^\s,]+) in \(([^)]*)\),?")


@dataclass(slots=True)
class MemoryApi:
    """`held`: objects by path. `fails`: errors by the pattern of the paths that they answer."""

    held: dict[str, Any]
    fails: dict[str, PortError] = field(default_factory=dict)
    sent: list[tuple[str, str]] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)

    def _asked(self, path: str) -> None:
        for pattern, error in self.fails.items():
            if fnmatchcase(path, pattern):
                raise error

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def find(self, path: str) -> Any:
        self._asked(path)
        return copy.deepcopy(self.held.get(path))

    async def get(self, path: str, **_: str) -> Any:
        item = await self.find(path)
        if item is None:
            raise NotFound(path)
        return item

    async def list(self, path: str, *, labels: str = "", fields: str = "") -> Any:
        self._asked(path)
        inside = re.compile(re.escape(path).replace("apps/v1/", "apps/v1/(namespaces/[^/]+/)?") + "/[^/]+")
        found = [item for name, item in self.held.items() if inside.fullmatch(name)]
        return copy.deepcopy([item for item in found if not fields and matches(labels, item)])

    async def views(self, path: str, view: Any, *, labels: str = "", fields: str = "") -> Any:
        return [view(item) for item in await self.list(path, labels=labels, fields=fields)]

    async def listed(
        self, path: str, view: Any, *, labels: str = "", shape: Any = Json, most: int | None = None
    ) -> Any:
        return as_decoded(await self.list(path, labels=labels), view, shape)

    async def patch(self, path: str, body: Any, *, content_type: str = MERGE_PATCH, **_: str) -> Any:
        self._asked(path)
        self.sent.append(("patch", path))
        path = path.removesuffix("/status")
        if path not in self.held:
            raise NotFound(path)
        if content_type not in (APPLY_PATCH, JSON_PATCH):
            self.held[path] = merged(self.held[path], body)
        return copy.deepcopy(self.held[path])

    async def post(self, path: str, body: Any) -> Any:
        self._asked(path)
        if path.endswith("/events"):
            self.events.append(body)
        else:
            self.sent.append(("post", path))
        return body

    async def delete(self, path: str, body: Any) -> None:
        self._asked(path)
        self.sent.append(("delete", path))
        if self.held.pop(path, None) is None:
            raise NotFound(path)


def merged(before: Any, patch: Any) -> Any:
    """The object after a merge patch; a version in the patch is a precondition and no change."""
    if not isinstance(patch, dict):
        return patch
    kept = dict(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            kept.pop(name, None)
        elif name != "resourceVersion":
            kept[name] = merged(kept.get(name), value)
    return kept


def matches(selector: str, item: Any) -> bool:
    """The object has the labels that the selector of a request asks for."""
    labels = item["metadata"].get("labels") or {}
    if not all(labels.get(several[1]) in several[2].split(",") for several in _IN.finditer(selector)):
        return False
    wanted = [part.partition("=") for part in _IN.sub("", selector).split(",") if part]
    return all(name in labels and (not equals or labels[name] == value) for name, equals, value in wanted)
