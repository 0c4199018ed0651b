"""A load balancer with pod targets, as clouds have them: it learns late which pods a Service has, and sends to them.

It stands for the load balancer and its controller: a pod's readiness gate is True only while the pod is a target. It
counts requests and never judges.
"""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import requests

from tests.support.kube import Kube, KubectlError, Object
from tests.support.shop_manifests import LABEL
from tests.support.space import Space

GATE: Final = "balancer.example/target-healthy"
# Fields of a pod's spec: the gate that this load balancer answers.
GATED: Final[Object] = {"readinessGates": [{"conditionType": GATE}]}
_PORT: Final = 8080
_WORKERS: Final = 4
_SLICES_OF: Final = "kubernetes.io/service-name"


@dataclass(slots=True)
class Target:
    """A pod's address since it was first listed; `left` is the time at which it was no longer listed."""

    listed: float
    left: float | None = None


class LoadBalancer:
    """Sends POSTs to the shop's pods while the context is open, `rate` in a second, each on a connection of its own.

    A pod becomes a target `adds` seconds after an EndpointSlice lists it as ready, or its containers are ready and it
    has the gate. It is a target for `removes` seconds after none lists it. Without a target a request fails, as a load
    balancer answers 503.
    """

    def __init__(self, space: Space, *, adds: float, removes: float, rate: float = 40) -> None:
        # Clients of their own: sessions must not be shared between threads.
        self._watched, self._answered = (Kube(space.cluster, space.namespace) for _ in range(2))
        self._adds, self._removes, self._period = adds, removes, _WORKERS / rate
        self._targets: dict[str, Target] = {}
        # Addresses that each slice lists, and whether they are ready.
        self._slices: dict[str, dict[str, bool]] = {}
        # Addresses of pods with the gate whose containers are ready.
        self._able: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._errors: Counter[str] = Counter()
        self._sent = 0
        self._threads = [
            threading.Thread(target=work, name="balancer", daemon=True)
            for work in (self._follow, self._answer, *([self._send] * _WORKERS))
        ]
        self._is_sending = threading.Event()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def send(self) -> None:
        """Lets the clients begin. The pods that are listed now are targets at once."""
        with self._lock:
            for target in self._targets.values():
                target.listed -= self._adds
        self._is_sending.set()

    @property
    def sent(self) -> int:
        """Number of requests so far."""
        return self._sent

    @property
    def failed(self) -> int:
        """Number of requests without a 2xx answer."""
        return sum(self._errors.values())

    def failures(self) -> str:
        """Failures by kind, for messages."""
        return ", ".join(f"{error} × {times}" for error, times in self._errors.most_common())

    def figures(self) -> dict[str, object]:
        """Entries for the list of figures."""
        return {"sent": self.sent, "failed": self.failed, "adds_s": self._adds, "removes_s": self._removes}

    def targets(self) -> list[str]:
        """Addresses of the pods that it sends to now."""
        now = time.monotonic()
        with self._lock:
            return [address for address, target in self._targets.items() if self._serves(target, now)]

    def _serves(self, target: Target, now: float) -> bool:
        is_added = now >= target.listed + self._adds
        return is_added and (target.left is None or now < target.left + self._removes)

    def _follow(self) -> None:
        version = ""
        while not self._stop.is_set():
            try:
                version = version or self._list()
                for event in self._watched.watch("endpointslices", version, seconds=1):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(event["object"], gone=event["type"] == "DELETED")
            except (requests.RequestException, ValueError, KeyError):
                version = ""
                time.sleep(0.1)

    def _list(self) -> str:
        listed = self._watched.collection("endpointslices", f"{_SLICES_OF}=shop")
        with self._lock:
            self._slices = {}
        for raw in listed["items"]:
            self._take(raw)
        return str(listed["metadata"]["resourceVersion"])

    def _take(self, raw: Object, *, gone: bool = False) -> None:
        if (raw["metadata"].get("labels") or {}).get(_SLICES_OF) != "shop":
            return
        with self._lock:
            self._slices[raw["metadata"]["name"]] = {} if gone else _addresses(raw)
            self._update()

    def _update(self) -> None:
        """Targets from what is listed now. The lock is held."""
        now = time.monotonic()
        listed = {
            address
            for addresses in self._slices.values()
            for address, is_ready in addresses.items()
            if is_ready or address in self._able
        }
        for address in listed:
            known = self._targets.get(address)
            if known is None or known.left is not None:
                is_still_target = known is not None and self._serves(known, now)
                self._targets[address] = Target(now - self._adds if is_still_target else now)
        for address, target in self._targets.items():
            if address not in listed and target.left is None:
                target.left = now

    def _answer(self) -> None:
        """Sets the readiness gates: True for targets, False for all others."""
        while not self._stop.wait(0.2):
            with suppress(requests.RequestException, KubectlError):
                pods = [pod for pod in self._answered.list("pods", f"{LABEL}=shop") if _has_gate(pod)]
                with self._lock:
                    self._able = {pod["status"].get("podIP", "") for pod in pods if _is(pod, "ContainersReady")}
                    self._update()
                targets = set(self.targets())
                for pod in pods:
                    self._set_gate(pod, is_target=pod["status"].get("podIP") in targets)

    def _set_gate(self, pod: Object, *, is_target: bool) -> None:
        if _is(pod, GATE) == is_target or "deletionTimestamp" in pod["metadata"]:
            return
        condition = {"type": GATE, "status": "True" if is_target else "False"}
        patch, name = json.dumps({"status": {"conditions": [condition]}}), pod["metadata"]["name"]
        self._answered.kubectl("patch", "pod", name, "--subresource=status", "--type=strategic", "-p", patch)

    def _send(self) -> None:
        while not self._stop.is_set() and not self._is_sending.wait(0.05):
            pass
        while not self._stop.wait(self._period):
            self._post()

    def _post(self) -> None:
        number, targets = next(self._numbers), sorted(self.targets())
        error = _failure(targets[number % len(targets)]) if targets else "no target"
        with self._lock:
            self._sent += 1
            if error:
                self._errors[error] += 1


def _addresses(raw: Object) -> dict[str, bool]:
    """Addresses that a slice lists, except of pods that end, and whether they are ready."""
    return {
        endpoint["addresses"][0]: (endpoint.get("conditions") or {}).get("ready") is True
        for endpoint in raw.get("endpoints") or []
        if not (endpoint.get("conditions") or {}).get("terminating")
    }


def _has_gate(pod: Object) -> bool:
    return any(gate["conditionType"] == GATE for gate in pod["spec"].get("readinessGates") or [])


def _is(pod: Object, condition: str) -> bool:
    known = pod["status"].get("conditions") or []
    return any(entry["type"] == condition and entry["status"] == "True" for entry in known)


def _failure(address: str) -> str:
    """The error of one POST, which is never sent again; empty after a 2xx answer."""
    connection = http.client.HTTPConnection(address, _PORT, timeout=5)
    try:
        connection.request("POST", "/", body=b'{"order": "balancer"}', headers={"Content-Type": "application/json"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"answer {status}"
