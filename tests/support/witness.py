"""Watches the pods of a namespace and remembers every state that the API server showed, in order.

A poll could miss what lasts a moment; a watch that is cut goes on where it was.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Self

import requests

from tests.support.kube import Kube, Object
from tests.support.shop_manifests import LABEL
from tests.support.space import RETIRING, Space

_STREAM_SECONDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A pod as it was seen at a time.monotonic()."""

    at: float
    name: str
    uid: str
    # The label that Services select by; a pod that left them has another value.
    shop: str
    # Value of the label `resilience.dev/retiring`; empty without it.
    step: str
    ready: bool
    deleting: bool
    gone: bool

    @property
    def serves(self) -> bool:
        """Whether its Services send clients to it, if it has their label still."""
        return self.ready and not self.deleting and not self.gone


class Witness:
    """All sightings since `__enter__`, which begins with the pods that are there."""

    def __init__(self, space: Space) -> None:
        self._kube = Kube(space.cluster, space.namespace)
        self._seen: list[Sighting] = []
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)

    def __enter__(self) -> Self:
        version = self._list()
        self._thread = threading.Thread(target=self._run, args=(version,), name="witness", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def wait(
        self, wanted: Callable[[Sighting], bool], *, what: str, since: float = 0.0, timeout: float = 40
    ) -> Sighting:
        """The first sighting since that time.monotonic() that is wanted, within milliseconds of it."""
        deadline, looked_at = time.monotonic() + timeout, 0
        with self._news:
            while True:
                fresh, looked_at = self._seen[looked_at:], len(self._seen)
                found = next((each for each in fresh if each.at >= since and wanted(each)), None)
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                assert left > 0, f"waited {timeout:g} s in vain to see {what}"
                self._news.wait(left)

    def names(self, *, since: float = 0.0) -> set[str]:
        """Pods that were first seen after that time.monotonic()."""
        first: dict[str, float] = {}
        for each in self.sightings():
            first.setdefault(each.name, each.at)
        return {name for name, at in first.items() if at > since}

    def fewest_serving(self, *, of: str = "shop") -> int:
        """The smallest number of serving pods at any moment."""
        now: dict[str, Sighting] = {}
        counts = []
        # A list shows several at one moment: states in the middle of it there never were.
        for _, together in groupby(self.sightings(), key=lambda each: each.at):
            now |= {each.uid: each for each in together}
            counts.append(sum(pod.serves and pod.shop == of for pod in now.values()))
        return min(counts)

    def sightings(self) -> list[Sighting]:
        """Everything so far."""
        with self._news:
            return list(self._seen)

    def _run(self, version: str = "") -> None:
        while not self._stop.is_set():
            try:
                version = self._follow(version or self._list())
            except (requests.RequestException, ValueError):
                version = ""
                time.sleep(0.1)

    def _list(self) -> str:
        found = self._kube.collection("pods")
        at = time.monotonic()
        here = {each["metadata"]["uid"] for each in found["items"]}
        latest = {each.uid: each for each in self.sightings()}
        for uid, each in latest.items():
            if uid not in here and not each.gone:
                self._add(_sighting(at, None, each))
        for raw in found["items"]:
            self._add(_sighting(at, raw, None))
        return str(found["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> str:
        for event in self._kube.watch("pods", version, seconds=_STREAM_SECONDS):
            raw: Object = event["object"]
            if event["type"] == "ERROR":
                return ""
            version = raw["metadata"]["resourceVersion"]
            sighting = _sighting(time.monotonic(), raw, None)
            self._add(_sighting(sighting.at, None, sighting) if event["type"] == "DELETED" else sighting)
        return version

    def _add(self, sighting: Sighting) -> None:
        with self._news:
            self._seen.append(sighting)
            self._news.notify_all()


def _sighting(at: float, raw: Object | None, last: Sighting | None) -> Sighting:
    """From a pod, or from the last sighting of one that is gone."""
    if raw is None:
        assert last is not None
        return Sighting(
            at=at, name=last.name, uid=last.uid, shop=last.shop, step=last.step, ready=False, deleting=True, gone=True
        )
    meta = raw["metadata"]
    labels = meta.get("labels") or {}
    conditions = raw["status"].get("conditions") or []
    return Sighting(
        at=at,
        name=meta["name"],
        uid=meta["uid"],
        shop=labels.get(LABEL, ""),
        step=labels.get(RETIRING, ""),
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
        deleting="deletionTimestamp" in meta,
        gone=False,
    )
