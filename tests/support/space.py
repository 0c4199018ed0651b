"""A namespace with services that the operator manages, in the terms of a test: request, wait, explain."""

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from pytest_kind import KindCluster

from tests.cluster import engine
from tests.support.kube import Kube, Object, wait_until
from tests.support.shop_manifests import LABEL
from tests.support.spending import Spending, spending

RETIRING: Final = "resilience.dev/retiring"
MANAGED: Final = "resilience.dev/managed"
CLAIM: Final = "resilience.dev/claimed-by"
_numbers = itertools.count(1)


class Space(Kube):
    """One test's namespace."""

    def __init__(self, cluster: KindCluster, namespace: str) -> None:
        super().__init__(cluster, namespace)
        self.began = datetime.now(UTC)

    def status(self, name: str = "shop") -> Object:
        """Status of a ResilientService; empty while there is none."""
        status: Object = self.get("resilientservices", name).get("status") or {}
        return status

    def condition(self, kind: str, name: str = "shop") -> Object:
        """A condition of a ResilientService; empty while there is none."""
        conditions: list[Object] = self.status(name).get("conditions") or []
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def handled(self, request: str, name: str = "shop") -> Object:
        """The record of the last request of that kind; empty while there is none."""
        entries: list[Object] = self.status(name).get("handled") or []
        return next((entry for entry in entries if entry["request"] == request), {})

    def request(self, what: str, name: str = "shop") -> str:
        """Requests by annotation, as in the documentation; returns the value."""
        value = f"{datetime.now(UTC):%H:%M:%S}-{next(_numbers)}"
        self.kubectl("annotate", "rsvc", name, "--overwrite", f"resilience.dev/{what}-requested-at={value}")
        return value

    def ended(self, value: str, name: str = "shop", *, timeout: float = 60) -> Object:
        """The result of the restart that `value` requested, once it has ended."""

        def probe() -> Object | None:
            result: Object = self.status(name).get("lastRestart") or {}
            return result if result.get("request") == value else None

        return wait_until(probe, what=f"the end of restart {value} of {name}", timeout=timeout)

    def restart(self, name: str = "shop", *, timeout: float = 60) -> Object:
        """Requests a restart and waits for its result."""
        return self.ended(self.request("restart", name), name, timeout=timeout)

    def wait_for(
        self, kind: str, status: str, name: str = "shop", *, reason: str | None = None, timeout: float = 30
    ) -> Object:
        """The condition, once it has this status (and reason)."""

        def probe() -> Object | None:
            condition = self.condition(kind, name)
            return (
                condition if condition.get("status") == status and reason in (None, condition.get("reason")) else None
            )

        return wait_until(probe, what=f"{kind}={status} {reason or ''} of {name}", timeout=timeout)

    def wait_running(self, *names: str, timeout: float = 60) -> None:
        """Waits until all of them serve and are healthy."""
        for name in names or ("shop",):
            self.wait_for("Ready", "True", name, timeout=timeout)
            self.wait_for("Healthy", "True", name, timeout=timeout)

    def start(self, *objects: Object, timeout: float = 60) -> None:
        """Applies, and waits until every ResilientService among the objects runs."""
        with spending(Spending.STARTING):
            self.apply(*objects)
            names = [item["metadata"]["name"] for item in objects if item["kind"] == "ResilientService"]
            self.wait_running(*names, timeout=timeout)

    def shop_pods(self, name: str = "shop") -> list[Object]:
        """The pods that the shop's Service selects and that are not ending."""
        return [pod for pod in self.list("pods", f"{LABEL}={name}") if "deletionTimestamp" not in pod["metadata"]]

    def uids(self) -> set[str]:
        """Uids of the shop's pods: other pods may have the same names."""
        return {pod["metadata"]["uid"] for pod in self.shop_pods()}

    def retiring(self) -> list[str]:
        """Pods in the middle of a replacement; nothing waits for those that only end."""
        pods = self.list("pods", RETIRING)
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def ending(self) -> set[str]:
        """Uids of the pods that are being deleted and still exist."""
        return {pod["metadata"]["uid"] for pod in self.list("pods") if "deletionTimestamp" in pod["metadata"]}

    def recycled(self, name: str = "shop", *, after: str = "", timeout: float = 90) -> Object:
        """The result of the next restart that policies or changed configuration began; `after`: the last trace id."""

        def probe() -> Object | None:
            result: Object = self.status(name).get("lastRestart") or {}
            ours = result.get("reason") and not result.get("request")
            return result if ours and result["traceId"] != after else None

        return wait_until(probe, what=f"the end of a restart of {name} by itself", timeout=timeout)

    def allow_pods(self, most: int) -> None:
        """Puts a ResourceQuota in force: the API server counts by its status, which a controller fills in."""
        hard = {"pods": str(most)}
        self.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": hard}})
        wait_until(lambda: self._quota().get("hard") == hard, what="the quota to be in force")

    def _quota(self) -> Object:
        status: Object = self.get("resourcequotas", "full").get("status") or {}
        return status

    def inside(self, pod: str, code: str) -> str:
        """Output of Python code in a shop's container: the image need have no shell."""
        return self.kubectl("exec", pod, "--", "/opt/venv/bin/python", "-c", code)

    def url(self, name: str = "shop") -> str:
        """URL of the Service for this machine: kind hides cluster addresses in its own network."""
        spec = self.get("services", name)["spec"]
        if not engine.uses_kind():
            address = spec["clusterIP"]
            return f"http://[{address}]/" if ":" in address else f"http://{address}/"
        addresses = Kube(self.cluster).list("nodes")[0]["status"]["addresses"]
        node = next(address["address"] for address in addresses if address["type"] == "InternalIP")
        return f"http://{node}:{spec['ports'][0]['nodePort']}/"

    def events(self) -> list[str]:
        """All Events on ResilientServices, one line each."""
        events = [event for event in self.list("events") if event["involvedObject"]["kind"] == "ResilientService"]
        events.sort(key=lambda event: event.get("eventTime") or event["metadata"]["creationTimestamp"])
        return [f"{event['involvedObject']['name']}: {event['reason']}: {event['message']}" for event in events]

    def situation(self) -> str:
        """Everything that helps to explain a failure."""
        sections = [self.kubectl("get", "rsvc,deploy,sts,ds,rs,pods", "-o", "wide", "--show-labels=false")]
        sections += [
            f"{resource['metadata']['name']}: {self._explained(resource)}"
            for resource in self.list("resilientservices")
        ]
        sections.append(self.kubectl("get", "rsvc", "-o", "yaml"))
        sections.extend(self.events())
        return "\n".join(sections)

    @staticmethod
    def _explained(resource: Object) -> str:
        return str((resource.get("status") or {}).get("explanation", "no status yet"))


@contextmanager
def opened(cluster: KindCluster) -> Iterator[Space]:
    """A new namespace, which is deleted with its contents; nothing waits for the deletion."""
    space = Space(cluster, f"e2e-{uuid.uuid4().hex[:6]}")
    meta = {"name": space.namespace}
    Kube(cluster).make("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    try:
        yield space
    finally:
        # A test may have had the API server stopped, and connections to it with it.
        Kube(cluster, space.namespace).remove("resilientservices")
        Kube(cluster).remove("namespaces", space.namespace)


def stays(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Asserts that a condition holds all the time."""
    until = time.monotonic() + seconds
    with spending(Spending.CLOCK):
        while time.monotonic() < until:
            assert condition(), f"did not hold: {what}"
            time.sleep(0.2)
