"""An API server in memory for a busy namespace: it counts requests, takes its time, and has watches that lag.

It answers like `adapters.kube.transport.Transport`. Its controllers are in `busy_controllers`.
"""

import asyncio
import copy
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from resilience.adapters.kube import listed
from resilience.adapters.kube.listed import Json, Listed, as_it_is
from resilience.adapters.kube.transport import MERGE_PATCH, NotFound
from resilience.ports import Conflict
from tests.support.memory_api import matches, merged
from tests.support.virtual_time import VirtualClock

Object = dict[str, Any]
# Receives the type of an event and the object.
Watch = Callable[[str, Object], None]
# Seconds that an answer takes.
LATENCY: Final = 0.01
_OBJECT: Final = re.compile(r"(?P<collection>.+/[a-z]+)/(?P<name>[^/]+)")
_KINDS: Final = re.compile(r"/namespaces/[^/]+(?=/)")


def now() -> str:
    """Virtual time as the API server writes it."""
    return VirtualClock().now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class BusyApi:
    """`watches` by the plural of a kind; `lag`: seconds until they tell."""

    watches: dict[str, Watch] = field(default_factory=dict)
    lag: Callable[[], float | None] = lambda: 0.02
    held: dict[str, dict[str, Object]] = field(default_factory=lambda: defaultdict(dict))
    # Verb and path of every request, without the names of objects.
    requests: Counter[str] = field(default_factory=Counter)
    events: int = 0
    # Called with the plural after every change.
    changed: Callable[[str], None] = lambda plural: None
    _wire: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    _versions: Any = field(default_factory=lambda: itertools.count(1))

    # For the operator.

    def now(self) -> datetime:
        return VirtualClock().now()

    async def find(self, path: str) -> Object | None:
        await self._asked("GET", path)
        return copy.deepcopy(self._get(path))

    async def get(self, path: str, **_: str) -> Object:
        found = await self.find(path)
        if found is None:
            raise NotFound(path)
        return found

    async def list(self, path: str, *, labels: str = "", fields: str = "") -> Any:
        return [*(await self.listed(path, as_it_is, labels=labels, fields=fields)).all()]

    async def views(self, path: str, view: Any, *, labels: str = "", fields: str = "") -> Any:
        return [*(await self.listed(path, view, labels=labels, fields=fields)).all()]

    async def listed(
        self, path: str, view: Any, *, labels: str = "", fields: str = "", shape: Any = Json, most: int = 0
    ) -> Any:
        if path.endswith("/events"):
            self.events += 1
            return Listed(())
        # What is there when the request arrives is in the answer.
        found = [self._wired(item) for item in self.of(path) if matches(labels, item)]
        await self._asked("LIST", path)
        if path.endswith("scaledobjects"):
            raise NotFound(path)
        return listed.read(found, view, shape)

    def _wired(self, raw: Object) -> bytes:
        """The object on the wire; each version is encoded once, for hundreds are listed again and again."""
        version, uid = raw["metadata"]["resourceVersion"], raw["metadata"]["uid"]
        before = self._wire.get(uid)
        if before is None or before[0] != version:
            before = self._wire[uid] = (version, msgspec.json.encode(raw))
        return before[1]

    async def patch(self, path: str, body: Any, *, content_type: str = MERGE_PATCH, **_: str) -> Object:
        await self._asked("PATCH", path)
        assert content_type == MERGE_PATCH, content_type
        path = path.removesuffix("/status")
        before = self._get(path)
        if before is None:
            raise NotFound(path)
        version = (body.get("metadata") or {}).get("resourceVersion")
        if version is not None and version != before["metadata"]["resourceVersion"]:
            raise Conflict(f"{path} changed")
        return copy.deepcopy(self.put(path, merged(before, body)))

    async def post(self, path: str, body: Object) -> Object:
        if path.endswith("/events"):
            self.events += 1
            return body
        await self._asked("POST", path)
        name = f"{path}/{body['metadata']['name']}"
        if self._get(name) is not None:
            raise Conflict(f"{name} exists")
        return copy.deepcopy(self.put(name, body))

    async def delete(self, path: str, body: Object) -> None:
        await self._asked("DELETE", path)
        found = self._get(path)
        if found is None:
            raise NotFound(path)
        if body.get("propagationPolicy") == "Foreground":
            self.put(path, merged(found, {"metadata": {"deletionTimestamp": now()}}))
        else:
            self.drop(path)

    async def _asked(self, verb: str, path: str) -> None:
        self.requests[f"{verb} {_plural(path) if verb in ('LIST', 'POST') else _plural(path.rpartition('/')[0])}"] += 1
        await asyncio.sleep(LATENCY)

    # For controllers and people: at once, and not counted.

    def of(self, path: str) -> Any:
        """The objects of a collection."""
        if "/namespaces/" in path or path in self.held:
            return list(self.held.get(path, {}).values())
        inside = [place for place in self.held if _KINDS.sub("", place) == path]
        return [item for place in inside for item in self.held[place].values()]

    def _get(self, path: str) -> Object | None:
        place = _OBJECT.fullmatch(path)
        return self.held.get(place["collection"], {}).get(place["name"]) if place else None

    def put(self, path: str, body: Object) -> Object:
        """Stores an object; nothing happens when it is as before."""
        place = _OBJECT.fullmatch(path)
        assert place is not None
        plural, before = _plural(place["collection"]), self._get(path)
        if before is not None and _same(before, body):
            return before
        meta = {"creationTimestamp": now(), "uid": f"uid-{next(self._versions)}", "generation": 1} | body["metadata"]
        if before is not None and before.get("spec") != body.get("spec"):
            meta["generation"] = before["metadata"]["generation"] + 1
        made = body | {"metadata": meta | {"resourceVersion": str(next(self._versions))}}
        self.held[place["collection"]][place["name"]] = made
        self._tell(plural, "MODIFIED" if before else "ADDED", made)
        return made

    def drop(self, path: str) -> None:
        """Removes an object, if it is there."""
        place = _OBJECT.fullmatch(path)
        assert place is not None
        found = self.held[place["collection"]].pop(place["name"], None)
        if found is not None:
            self._tell(_plural(place["collection"]), "DELETED", found)

    def _tell(self, plural: str, kind: str, made: Mapping[str, Any]) -> None:
        self.changed(plural)
        watch, lag = self.watches.get(plural), self.lag()
        if watch is not None and lag is not None:
            asyncio.get_running_loop().call_later(lag, watch, kind, copy.deepcopy(dict(made)))

    @property
    def asked(self) -> int:
        """Requests, without those about Events."""
        return sum(self.requests.values())


def _plural(path: str) -> str:
    return path.rpartition("/")[2]


def _same(before: Object, after: Object) -> bool:
    def known(item: Object) -> Object:
        skipped = ("resourceVersion", "generation", "uid", "creationTimestamp")
        return item | {"metadata": {key: value for key, value in item["metadata"].items() if key not in skipped}}

    return known(before) == known(after)
