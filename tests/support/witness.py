"""Watches the pods of a namespace and records every state that the API server showed, in order.

A poll could miss a short state; a watch that is cut continues where it was.
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
    """A pod as it was observed at a time.monotonic()."""

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
        """Its Services send clients to it, if it still has their label."""
        return self.ready and not self.deleting and not self.gone


class Witness:
    """All sightings since `__enter__`, beginning with the pods that exist then."""

    def __init__(self, space: Space) -> None:
        self._kube = Kube(space.cluster, space.namespace)
        self._sightings: list[Sighting] = []
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
        deadline, checked = time.monotonic() + timeout, 0
        with self._news:
            while True:
                fresh, checked = self._sightings[checked:], len(self._sightings)
                sighting = next((candidate for candidate in fresh if candidate.at >= since and wanted(candidate)), None)
                if sighting is not None:
                    return sighting
                left = deadline - time.monotonic()
                assert left > 0, f"waited {timeout:g} s in vain to see {what}"
                self._news.wait(left)

    def names(self, *, since: float = 0.0) -> set[str]:
        """Pods that were first observed after that time.monotonic()."""
        first: dict[str, float] = {}
        for sighting in self.sightings():
            first.setdefault(sighting.name, sighting.at)
        return {name for name, at in first.items() if at > since}

    def fewest_serving(self, *, of: str = "shop") -> int:
        """The smallest number of serving pods at any moment."""
        now: dict[str, Sighting] = {}
        counts = []
        # A list shows several pods at one moment: states within it never existed.
        for _, together in groupby(self.sightings(), key=lambda sighting: sighting.at):
            now |= {sighting.uid: sighting for sighting in together}
            counts.append(sum(pod.serves and pod.shop == of for pod in now.values()))
        return min(counts)

    def sightings(self) -> list[Sighting]:
        """Everything so far."""
        with self._news:
            return list(self._sightings)

    def _run(self, version: str = "") -> None:
        while not self._stop.is_set():
            try:
                version = self._follow(version or self._list())
            except (requests.RequestException, ValueError):
                version = ""
                time.sleep(0.1)

    def _list(self) -> str:
        listed = self._kube.collection("pods")
        at = time.monotonic()
        here = {pod["metadata"]["uid"] for pod in listed["items"]}
        latest = {sighting.uid: sighting for sighting in self.sightings()}
        for uid, sighting in latest.items():
            if uid not in here and not sighting.gone:
                self._add(_sighting(at, None, sighting))
        for raw in listed["items"]:
            self._add(_sighting(at, raw, None))
        return str(listed["metadata"]["resourceVersion"])

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
            self._sightings.append(sighting)
            self._news.notify_all()


def _sighting(at: float, raw: Object | None, last: Sighting | None) -> Sighting:
    """The sighting of a pod, or, for one that is gone, from its last sighting."""
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
        ready=any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions),
        deleting="deletionTimestamp" in meta,
        gone=False,
    )
