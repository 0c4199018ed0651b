"""Releases as a user makes them: apply the Deployment with another template, wait for the result in status.

Must not know how the operator does it.
"""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self

import requests

from tests.support.kube import Kube, Object, wait_until
from tests.support.shop_manifests import deployment, resilient, service
from tests.support.space import Space
from tests.support.spending import Spending, pause, spending

BLUE_GREEN: Final[Object] = {
    "strategy": "BlueGreen",
    "progressDeadline": "60s",
    "before": {"checks": ["ready", "health"], "for": "1s"},
    "after": {"checks": ["ready", "health"], "for": "1s"},
    "blueGreen": {"warmPeriod": "1s"},
}
HEALTH_CHECK: Final[Object] = {"name": "health", "http": {"path": "/api/health", "port": "http"}}
GREEN: Final = "shop-green"
HASH: Final = "pod-template-hash"
_SLICES_OF: Final = "kubernetes.io/service-name"


def rollout(**changes: Any) -> Object:
    """The rollout of a ResilientService: blue-green, gates of a second, and these changes; None removes a field."""
    return {key: value for key, value in (BLUE_GREEN | changes).items() if value is not None}


def checks() -> Object:
    """The shop's checks, and one of its own report on its parts."""
    usual = resilient()["spec"]["health"]
    return {**usual, "checks": [*usual["checks"], HEALTH_CHECK]}


def shop(version: str, *, replicas: int = 1, **spec: Any) -> list[Object]:
    """Deployment, Service and ResilientService under blue-green."""
    wanted = {"health": checks(), "rollout": rollout()} | spec
    return [template(version, replicas=replicas), service(), resilient(**wanted)]


def template(version: str, *, replicas: int = 1, **fields: Any) -> Object:
    """The Deployment with that version; `env` and the other fields as for `deployment`."""
    env = {"VERSION": version, **fields.pop("env", {})}
    return deployment(replicas=replicas, env=env, **fields)


def adopted(space: Space, *objects: Object) -> None:
    """Applies, and waits until the Deployment is paused and its Service leads to all of its pods.

    The Deployment is complete before its Service is: the controller that fills the slices has its own pace.
    """
    with spending(Spending.STARTING):
        space.start(*objects)
        wait_until(lambda: space.get("deployments", "shop")["spec"].get("paused"), what="adoption")
        space.wait_for("Ready", "True")
        replicas = space.get("deployments", "shop")["spec"]["replicas"]
        wait_until(lambda: _ready_endpoints(space) == replicas, what=f"{replicas} endpoints")


def _ready_endpoints(space: Space) -> int:
    return sum(_ready(endpoint_slice) for endpoint_slice in space.list("endpointslices", f"{_SLICES_OF}=shop"))


def _ready(endpoint_slice: Object) -> int:
    return sum(
        endpoint.get("conditions", {}).get("ready") is True for endpoint in endpoint_slice.get("endpoints") or []
    )


def trace(space: Space) -> str:
    """Identity of the last release that ended; empty before the first."""
    return str((space.status().get("lastRollout") or {}).get("traceId", ""))


def release(space: Space, *objects: Object, timeout: float = 90) -> Object:
    """Applies the objects that make a release and waits for its result."""
    before = trace(space)
    space.apply(*objects)
    return ended(space, before, timeout=timeout)


def restart_plainly(space: Space, times: int) -> None:
    """Restarts the Deployment as anybody may, so often, for controls; clients go on for a second after each time."""
    for _ in range(times):
        space.kubectl("rollout", "restart", "deployment/shop")
        space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
        pause(1)


def ended(space: Space, before: str, *, timeout: float = 90) -> Object:
    """The result of the release that ended after the one with trace `before`, once nothing is in flight."""

    def probe() -> Object | None:
        status = space.status()
        last: Object = status.get("lastRollout") or {}
        over = last.get("traceId", "") != before and not in_flight(space)
        return last if last and over else None

    return wait_until(probe, what="the end of a release", timeout=timeout)


def in_flight(space: Space) -> bool:
    """A release is in flight."""
    return "candidate" in (space.status().get("rollout") or {})


def step(space: Space) -> str:
    """The step that status shows."""
    return str((space.status().get("rollout") or {}).get("step", ""))


def reached(space: Space, *names: str, timeout: float = 60) -> str:
    """Waits until status shows one of the steps; returns it."""
    return wait_until(
        lambda: current if (current := step(space)) in names else None,
        what=f"step {names}",
        timeout=timeout,
        every=0.05,
    )


def at_rest(space: Space) -> None:
    """Asserts the state without a release in flight: no green, no pin."""
    assert space.find("deployments", GREEN) is None
    assert HASH not in space.get("services", "shop")["spec"]["selector"]


def serves(space: Space) -> set[str]:
    """Values of VERSION in the pods that exist and are not ending."""
    env = [pod["spec"]["containers"][0]["env"] for pod in space.shop_pods()]
    return {variable["value"] for entries in env for variable in entries if variable["name"] == "VERSION"}


@dataclass(frozen=True, slots=True)
class Count:
    """Number of ready endpoints of the Service at a time.monotonic()."""

    at: float
    ready: int


class Endpoints:
    """Follows the EndpointSlices of the shop's Service while the context is open: every state that the API showed."""

    def __init__(self, space: Space, service: str = "shop") -> None:
        self._kube = Kube(space.cluster, space.namespace)
        self._labels = f"{_SLICES_OF}={service}"
        self._service = service
        self._slices: dict[str, int] = {}
        self._counts: list[Count] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="endpoints", daemon=True)

    def __enter__(self) -> Self:
        self._version = self._list()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def fewest(self) -> int:
        """The smallest number of ready endpoints that was observed."""
        return min(count.ready for count in self._counts)

    def story(self) -> str:
        """The number of ready endpoints at each change, in seconds since the context was opened."""
        return ", ".join(f"{count.at - self._counts[0].at:.1f} s: {count.ready}" for count in self._counts)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for event in self._kube.watch("endpointslices", self._version, seconds=2):
                    self._version = event["object"]["metadata"]["resourceVersion"]
                    self._take(event)
                    self._note()
            except (requests.RequestException, ValueError, KeyError):
                time.sleep(0.1)
                with suppress(requests.RequestException, ValueError):
                    self._version = self._list()

    def _list(self) -> str:
        listed = self._kube.collection("endpointslices", self._labels)
        self._slices = {}
        for raw in listed["items"]:
            self._take({"type": "ADDED", "object": raw})
        self._note()
        return str(listed["metadata"]["resourceVersion"])

    def _take(self, event: Object) -> None:
        raw = event["object"]
        if (raw["metadata"].get("labels") or {}).get(_SLICES_OF) != self._service:
            return
        self._slices[raw["metadata"]["name"]] = 0 if event["type"] == "DELETED" else _ready(raw)

    def _note(self) -> None:
        ready = sum(self._slices.values())
        if not self._counts or self._counts[-1].ready != ready:
            self._counts.append(Count(time.monotonic(), ready))
