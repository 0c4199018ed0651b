"""A tenant who may do anything in one namespace means harm: a neighbour notices nothing, and the operator lives.

The tenant acts with exactly the rights of the ClusterRole `edit`. Everything that the neighbour is owed is counted.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pytest_kind import KindCluster

from tests.cluster import engine
from tests.cluster.paths import AUDIT_LOG
from tests.support.counts import PROOF, Figures, count
from tests.support.kube import Kube, KubectlError, Object, wait_until
from tests.support.ports import server_port
from tests.support.recorder import Recorder, recording
from tests.support.release import NAME, NAMESPACE, Release
from tests.support.shop_manifests import LIVE_CHECK, READY_CHECK, deployment, resilient, shop
from tests.support.space import Space, opened
from tests.support.spending import pause
from tests.support.traffic import LIGHT, traffic

TENANT: Final = "tenant-who-means-harm"
ACCOUNT: Final = f"system:serviceaccount:{NAMESPACE}:{NAME}"
MIB: Final = 1 << 20
# Seconds in which the neighbour's checks are counted, one run a second each.
COUNTED: Final = count(10, proof=60)


def batched(objects: Iterable[Object], size: int) -> Iterator[list[Object]]:
    """Lists of at most so many of them."""
    rest = iter(objects)
    while few := list(islice(rest, size)):
        yield few


class Tenant(Space):
    """A namespace, and kubectl with the rights that somebody has who may edit it."""

    def kubectl(self, *args: str, stdin: str = "") -> str:
        return super().kubectl("--as", TENANT, *args, stdin=stdin)

    def tries(self, *objects: Object) -> None:
        """Makes each of them, whatever the API server says to it."""
        for few in batched(objects, 20):
            with suppress(KubectlError):
                self.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": few}))


@contextmanager
def tenant(cluster: KindCluster) -> Iterator[Tenant]:
    with opened(cluster) as space:
        space.kubectl("create", "rolebinding", "harm", "--clusterrole=edit", f"--user={TENANT}")
        yield Tenant(cluster, space.namespace)


@contextmanager
def silent_server() -> Iterator[int]:
    """Takes connections and never answers; yields the port."""
    kept: list[socket.socket] = []
    with socket.create_server(("0.0.0.0", server_port()), backlog=1024) as server:

        def take() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for connection in kept:
                connection.close()


def idle(name: str, **spec: object) -> list[Object]:
    """A target without pods, and a resource for it."""
    usual: Object = {"service": None, "verify": None, "drain": None, "health": None}
    return [deployment(name, replicas=0), resilient(name, **(usual | spec))]


def all_slots(port: int) -> list[Object]:
    """As many checks as a resource may have, as slow as they may be, at a server that never answers."""
    slow: list[Object] = [
        {
            "name": f"slow-{number}",
            "scope": "Dependency",
            "timeout": "30s",
            "http": {"url": f"http://{engine.current().host()}:{port}/{number}"},
        }
        for number in range(32)
    ]
    health: Object = {"interval": "30s", "timeout": "30s", "checks": slow}
    return [item for number in range(count(3, proof=10)) for item in idle(f"slow-{number}", health=health)]


def large_maps(port: int) -> list[Object]:
    data = {"k": "x" * 900_000}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"a{number}-flags", "labels": {"resilience.dev/flags-of": f"a{number}"}},
            "data": data,
        }
        for number in range(count(30, proof=250))
    ]


def paths_in_names(port: int) -> list[Object]:
    """Claims whose names are paths: of a Secret, of all pods, and many of them."""
    names = ["../../kube-system/secrets/x", "../../../pods", *(f"claim-{number}" for number in range(100))]
    volumes = [
        {"name": f"v{number}", "persistentVolumeClaim": {"claimName": name}} for number, name in enumerate(names)
    ]
    return [deployment("paths", replicas=1, pod={"volumes": volumes, "containers": container()}), resilient("paths")]


def container() -> list[Object]:
    return [{"name": "shop", "image": "none:1", "ports": [{"name": "http", "containerPort": 8080}]}]


def too_many(port: int) -> list[Object]:
    return [resilient(f"many-{number}", target="nothing") for number in range(count(40, proof=1000))]


def large_notes(port: int) -> list[Object]:
    made = [resilient(f"notes-{number}", target="nothing") for number in range(count(10, proof=100))]
    for item in made:
        item["metadata"]["annotations"] = {"resilience.dev/restart-requested-at": "x" * 250_000}
    return made


def long_names(port: int) -> list[Object]:
    name = ".".join(["a" * 62] * 4)
    return [resilient(name, target=name), deployment(name, replicas=0)]


def forged(port: int) -> list[Object]:
    """Marks of the operator's own on objects that it never made."""
    notes = {
        "resilience.dev/claimed-by": "shop.00000000-0000-0000-0000-000000000000",
        "resilience.dev/green-of": "shop",
        "resilience.dev/release-step": "Warm",
        "resilience.dev/release-towards": "green",
        "resilience.dev/pinned": "true",
        "resilience.dev/preview-of": "shop",
        "resilience.dev/step-since": "yesterday",
        "resilience.dev/failed-template": "0",
    }
    marked = {"annotations": notes, "labels": {"resilience.dev/managed": "true", "resilience.dev/retiring": "leaving"}}
    pod: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **marked}, "spec": {}}
    pod["spec"] = {"containers": container()}
    workload = deployment("shop-green", replicas=0)
    workload["metadata"] |= marked
    service: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", **marked}}
    service["spec"] = {"selector": {"pod-template-hash": "1"}, "ports": [{"port": 80}]}
    return [pod, workload, service, *idle("shop")]


def silent_receivers(port: int) -> list[Object]:
    """Alerts that nobody takes: from many services to a receiver that hangs."""
    where = {"webhook": {"url": f"http://{engine.current().host()}:{port}/"}, "timeout": "1m"}
    receiver = {
        "apiVersion": "resilience.dev/v1alpha1",
        "kind": "AlertReceiver",
        "metadata": {"name": "void"},
        "spec": where,
    }
    routed = {"defaultReceiver": "void"}
    return [receiver, *(resilient(f"alert-{number}", target="nothing", alerts=routed) for number in range(20))]


def no_room(port: int) -> list[Object]:
    """Pods that never end, beside a quota of nothing."""
    stuck = shop("stuck")
    stuck[0]["spec"]["template"]["metadata"]["finalizers"] = ["example.com/never"]
    hard = {"pods": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
    return [*stuck, quota]


Attack = Callable[[int], list[Object]]
ALL: Final[list[Attack]] = [
    all_slots, large_maps, paths_in_names, too_many, large_notes, long_names, forged, silent_receivers, no_room,
]  # fmt: skip


def everything(port: int) -> list[Object]:
    return [item for attack in ALL for item in attack(port)]


@pytest.fixture
def partner() -> Iterator[Recorder]:
    """A server that the neighbour depends on."""
    with recording() as recorder:
        yield recorder


def neighbour(partner: Recorder) -> list[Object]:
    """A service with two checks of its own, one of its partner, and a flag for that."""
    where = f"http://{engine.current().host()}:{partner.port}/partner"
    checks = [READY_CHECK, LIVE_CHECK, {"name": "partner", "scope": "Dependency", "http": {"url": where}}]
    return shop(
        replicas=2,
        health={"interval": "1s", "timeout": "900ms", "checks": checks},
        degradation={"flags": [{"name": "alone", "check": "partner", "mode": "memory", "minDegraded": "1s"}]},
    )


def samples(operator: Release, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Of one of the leader's metrics."""
    text = operator.kube.text(f"/api/v1/namespaces/{NAMESPACE}/pods/{operator.leader()}:8080/proxy/metrics")
    for family in text_string_to_metric_families(text):
        yield from ((sample.labels, sample.value) for sample in family.samples if sample.name == name)


def runs(operator: Release, namespace: str) -> dict[str, float]:
    """Runs of the neighbour's checks so far, by check."""
    counted: dict[str, float] = {}
    for labels, value in samples(operator, "resilience_service_check_results_total"):
        if labels["namespace"] == namespace and labels["check"] in ("ready", "live", "partner"):
            counted[labels["check"]] = counted.get(labels["check"], 0) + value
    return counted


def memory(operator: Release) -> int:
    """The leader's, in MiB."""
    (value,) = [value for _, value in samples(operator, "process_resident_memory_bytes")]
    return round(value / MIB)


def is_degraded(space: Space) -> bool:
    (flag,) = space.status().get("degradation") or [{}]
    return bool(flag.get("active"))


def writes_elsewhere(cluster: KindCluster, mine: set[str], since: str) -> list[str]:
    """Writes by the operator since then outside of these namespaces, from the API server's audit log.

    Namespaces of other tests that are ending do not count: what they held is being handed back.
    """
    active = {
        item["metadata"]["name"] for item in Kube(cluster).list("namespaces") if item["status"]["phase"] == "Active"
    }
    found = []
    for line in AUDIT_LOG.read_text().splitlines():
        entry = json.loads(line)
        where = entry.get("objectRef") or {}
        ours = entry["user"]["username"] == ACCOUNT and entry["stageTimestamp"] > since
        # It asks whose a token is, which changes nothing.
        if ours and where.get("resource") != "tokenreviews" and where.get("namespace", "") in {"", *active} - mine:
            found.append(f"{entry['verb']} {entry['requestURI']}: {entry['responseStatus'].get('code')}")
    return found


def last_write() -> str:
    """The time of the newest entry in the audit log."""
    return max((json.loads(line)["stageTimestamp"] for line in AUDIT_LOG.read_text().splitlines()), default="")


@contextmanager
def let_go(harm: Tenant) -> Iterator[None]:
    """Takes finalizers off in the end, or the namespace would never go."""
    try:
        yield
    finally:
        everywhere = Kube(harm.cluster, harm.namespace)
        for pod in everywhere.list("pods"):
            if pod["metadata"].get("finalizers"):
                everywhere.patch("pod", pod["metadata"]["name"], {"metadata": {"finalizers": None}})


@pytest.mark.exclusive
@pytest.mark.parametrize("attack", [everything, *ALL] if PROOF else [everything], ids=lambda attack: attack.__name__)
def test_a_neighbour_notices_nothing(
    operator: Release, cluster: KindCluster, space: Space, partner: Recorder, figures: Figures, attack: Attack
) -> None:
    # given
    space.start(*neighbour(partner))
    restarts, has_audit = operator.restarts(), not engine.uses_kind()
    since = last_write() if has_audit else ""
    with tenant(cluster) as harm, silent_server() as port, let_go(harm):
        # when
        harm.tries(*attack(port))
        # then: each check of the neighbour runs once a second
        before = runs(operator, space.namespace)
        pause(COUNTED)
        counted = {check: value - before[check] for check, value in runs(operator, space.namespace).items()}
        assert len(counted) == 3 and min(counted.values()) >= 0.7 * COUNTED, counted
        # and its flag switches, both ways
        partner.statuses["/partner"] = 500
        wait_until(lambda: is_degraded(space), what="the flag")
        partner.statuses["/partner"] = 200
        wait_until(lambda: not is_degraded(space), what="the flag's end", timeout=60)
        # and it is restarted without loss
        with traffic(space.url(), **LIGHT) as clients:
            restarted = space.restart()
        used = memory(operator)
        figures.write(runs=counted, counted_seconds=COUNTED, memory_mib=used, **clients.figures())
        assert restarted["result"] == "Succeeded"
        assert clients.failed == 0, clients.failures()
        # and the operator is well, and wrote nowhere else
        assert operator.restarts() == restarts
        assert used < 400
        assert not has_audit or writes_elsewhere(cluster, {space.namespace, harm.namespace, NAMESPACE}, since) == []
