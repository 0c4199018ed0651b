"""Redis is lost: the application is told within seconds in every channel, works from memory, and comes back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from resilience.core.model import flags
from tests.cluster import engine
from tests.support.counts import PROOF, Figures, count
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.sentinel_group import MASTER, SERVERS, Fault, Group
from tests.support.shop_manifests import LIVE_CHECK, READY_CHECK, deployment, resilient, service
from tests.support.space import Space, stays
from tests.support.spending import pause
from tests.support.traffic import traffic
from tests.support.witness import Witness

FLAG = "redis-degraded"
# Checks once a second, with a time-out of half a second. Held at full counts, which run alone.
TOLD_WITHIN = 5.0
# Elsewhere a core that others keep busy must not make a check fail.
TIMEOUT = "500ms" if PROOF else "900ms"
# Elsewhere every channel has time to say that it is on, before it may be off.
HOLD = 5.0 if PROOF else 10.0
# At small counts one group of servers has all of them, one after the other.
FAULTS = [(fault,) for fault in Fault] if PROOF else [tuple(Fault)]


@pytest.fixture
def redis(space: Space) -> Group:
    group = Group(space)
    group.start()
    return group


def manifests(redis: Group, operator: Release) -> list[Object]:
    """A shop that reads its flag from the mounted file, and a second one that asks the operator over HTTP."""
    namespace = redis.space.namespace
    known: Object = {"REDIS_SENTINELS": ",".join(redis.sentinels), "REDIS_MASTER": MASTER}
    tmp: Object = {"name": "tmp", "emptyDir": {}}
    mounts: list[Object] = [{"name": "tmp", "mountPath": "/tmp"}]
    told: Object = {"name": "flags", "configMap": {"name": "shop-flags", "optional": True}}
    token: Object = {
        "name": "token",
        "projected": {"sources": [{"serviceAccountToken": {"audience": "resilience.dev", "path": "token"}}]},
    }
    reading = deployment(
        "shop",
        replicas=2,
        env=known | {"FLAGS_SOURCE": "file"},
        volumeMounts=[*mounts, {"name": "flags", "mountPath": "/etc/flags"}],
        pod={"volumes": [tmp, told]},
    )
    asking = deployment(
        "asking",
        env={"FLAGS_SOURCE": "ofrep", "FLAGS_URL": f"{operator.flags_url}/flags/{namespace}/shop"},
        volumeMounts=[*mounts, {"name": "token", "mountPath": "/var/run/secrets/resilience.dev"}],
        pod={"volumes": [tmp, token]},
    )
    cache = {"sentinel": {"addresses": redis.sentinels, "masterName": MASTER}, "verify": ["Role", "Write"]}
    checks = [READY_CHECK, LIVE_CHECK, {"name": "cache", "scope": "Dependency", "redis": cache}]
    flag = {"name": FLAG, "check": "cache", "mode": "memory", "successThreshold": 3, "minDegraded": f"{HOLD:g}s"}
    health = {"interval": "1s", "timeout": TIMEOUT, "checks": checks}
    return [reading, service(), asking, resilient(health=health, degradation={"flags": [flag]})]


@pytest.fixture
def shop(operator: Release, space: Space, redis: Group) -> Iterator[Space]:
    space.start(*manifests(redis, operator))
    space.kubectl("rollout", "status", "deploy/asking", "--timeout=60s")
    wait_until(lambda: published(space).get(FLAG) == "false", what="the first word")
    yield space


def published(space: Space) -> Object:
    found: Object = (space.find("configmaps", "shop-flags") or {}).get("data") or {}
    return found


def flag(space: Space) -> Object:
    found: list[Object] = space.status().get("degradation") or [{}]
    return found[0]


def heard(space: Space, pod: str) -> list[tuple[datetime, bool]]:
    """When the shop in the pod took notice of the flag, and of what."""
    lines = [json.loads(line) for line in space.kubectl("logs", pod).splitlines() if line.startswith('{"flag"')]
    return [(datetime.fromisoformat(each["at"]), each["on"]) for each in lines]


def names(space: Space, name: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in space.shop_pods(name)]


def started(space: Space, count: int) -> list[str] | None:
    """The shop's pods, once there are so many and all of them have something to say."""
    pods = space.shop_pods()
    states = [each.get("started") for pod in pods for each in pod["status"].get("containerStatuses", [])]
    return [pod["metadata"]["name"] for pod in pods] if states == [True] * count else None


def everybody(space: Space, switches: int) -> dict[str, list[tuple[datetime, bool]]]:
    """What every pod heard, once all have heard of so many changes."""
    pods = [*names(space, "shop"), *names(space, "asking")]

    def look() -> dict[str, list[tuple[datetime, bool]]] | None:
        told = {pod: heard(space, pod) for pod in pods}
        return told if all(len(each) >= switches for each in told.values()) else None

    return wait_until(look, what=f"{switches} changes of the flag in every pod", timeout=45)


@pytest.mark.load
@pytest.mark.long
@pytest.mark.parametrize("faults", FAULTS, ids=", ".join)
def test_everybody_knows_within_seconds_and_nobody_loses_a_request(
    operator: Release, shop: Space, redis: Group, figures: Figures, faults: tuple[Fault, ...]
) -> None:
    rounds = faults * count(1, proof=20)
    before = shop.uids()
    file: list[float] = []
    http: list[float] = []
    status: list[float] = []
    reasons: list[str] = []
    with Witness(shop) as witness, traffic(shop.url()) as clients:
        for number, fault in enumerate(rounds):
            # when
            server = redis.master()
            struck = redis.strike(server, fault)
            # then: every channel says it, the application knows, by the file and over HTTP
            said_everywhere(shop)
            now = flag(shop)
            told = everybody(shop, 2 * number + 1)
            late = {pod: (found[2 * number][0] - struck).total_seconds() for pod, found in told.items()}
            assert all(found[2 * number][1] for found in told.values()), told
            file.append(max(late[pod] for pod in names(shop, "shop")))
            http.append(max(late[pod] for pod in names(shop, "asking")))
            status.append((datetime.fromisoformat(now["since"]) - struck).total_seconds())
            reasons.append(now["reason"])
            # and when another master has proved itself, all come back
            everybody(shop, 2 * number + 2)
            redis.mend(server, fault)
            assert redis.master() != server
    what = ", ".join(faults)
    figures.write(fault=what, file=file, http=http, status=status, reasons=reasons, **clients.figures())
    assert shop.uids() == before
    assert "lastRestart" not in shop.status()
    assert witness.fewest_serving() >= 2
    assert clients.failed == 0, clients.failures()
    assert not PROOF or max(file) < TOLD_WITHIN, file
    # one change each way, and no flapping in between
    assert {len(each) for each in everybody(shop, 2 * len(rounds)).values()} == {2 * len(rounds)}


def said_everywhere(space: Space) -> None:
    """Every channel has the same word, the ConfigMap last of those that are written at once."""
    wait_until(lambda: published(space)[FLAG] == "true", what="the flag", every=0.05)
    data = published(space)
    assert (data[FLAG], data[f"{FLAG}.mode"]) == ("true", "memory")
    said = flags.read(namespace=space.namespace, service="shop", data=data)
    assert said.any_on
    wait_until(
        lambda: (
            {pod["metadata"].get("annotations", {}).get("resilience.dev/flags") for pod in space.shop_pods()}
            == {flags.annotation(said)}
        ),
        what="the annotation on every pod",
    )
    found = space.condition("Degraded")
    assert (found["status"], FLAG in found["message"]) == ("True", True), found
    assert any(": FlagOn: " in each for each in space.events())


@contextmanager
def api_server_stopped() -> Iterator[None]:
    cluster = engine.current()
    cluster.stop_api_server()
    try:
        yield
    finally:
        cluster.start_api_server()


@pytest.mark.exclusive
def test_flags_stand_while_operator_and_api_server_are_gone(operator: Release, shop: Space, redis: Group) -> None:
    # given: no server left that could become the master
    for name in SERVERS:
        redis.strike(name, Fault.KILLED)
    everybody(shop, 1)
    version = published(shop)["flags.version"]
    # when
    with operator.stopped():
        # then: what was told last holds
        with traffic(shop.url()) as clients:
            with api_server_stopped():
                pause(5)
            stays(lambda: published(shop)["flags.version"] == version, seconds=3, what="the version")
        assert clients.failed == 0, clients.failures()
        assert all(heard(shop, pod)[-1][1] for pod in names(shop, "shop"))
        # and for pods that are made now, too
        old = names(shop, "shop")
        shop.kubectl("delete", "pod", old[0], "--wait=true")
        # The Deployment's status is older than the pod that takes its place: only the pods themselves tell.
        new = wait_until(lambda: started(shop, len(old)), what="a pod in place of the one that went")
        assert set(new) - set(old)
        wait_until(lambda: all(heard(shop, pod)[-1:] and heard(shop, pod)[-1][1] for pod in new), what="the flag")
    # and whoever leads now neither forgets it nor says it again
    stays(lambda: published(shop)["flags.version"] == version, seconds=5, what="the version")
    assert flag(shop)["active"] is True
    assert sum(": FlagOn: " in each for each in shop.events()) == 1


def test_by_hand(operator: Release, shop: Space) -> None:
    # when
    shop.kubectl("annotate", "rsvc", "shop", f"resilience.dev/override.{FLAG}=On")
    # then: it says how to write it
    wait_until(lambda: "write: " in flag(shop).get("problem", ""), what="advice")
    until = datetime.now().astimezone().replace(microsecond=0)
    soon = datetime.fromtimestamp(until.timestamp() + 15).astimezone().isoformat()
    shop.kubectl("annotate", "rsvc", "shop", "--overwrite", f"resilience.dev/override.{FLAG}=On until {soon}")
    wait_until(lambda: flag(shop).get("reason") == "Override", what="the override")
    # and it ends by itself
    assert [on for _, on in next(iter(everybody(shop, 2).values()))] == [True, False]


def test_what_is_somebody_elses_is_left_alone_and_all_of_ours_goes(
    operator: Release, shop: Space, redis: Group
) -> None:
    # given
    mine: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mine-flags"},
        "data": {"colour": "blue"},
    }
    cache = {"sentinel": {"addresses": redis.sentinels, "masterName": MASTER}}
    check = {"name": "cache", "scope": "Dependency", "redis": cache}
    taken = resilient(
        "mine",
        target="asking",
        service=None,
        verify=None,
        health={"interval": "1s", "timeout": TIMEOUT, "checks": [check]},
        degradation={"flags": [{"name": FLAG, "check": "cache"}]},
    )
    shop.apply(mine, taken)
    # then
    wait_until(
        lambda: "rename or delete it" in (shop.status("mine").get("flags") or {}).get("problem", ""), what="a complaint"
    )
    assert shop.get("configmaps", "mine-flags")["data"] == {"colour": "blue"}
    # and when the resource goes, its ConfigMap goes with it
    shop.delete("rsvc", "shop")
    wait_until(lambda: shop.find("configmaps", "shop-flags") is None, what="the ConfigMap gone")
    shop.delete("rsvc", "mine")
    assert shop.get("configmaps", "mine-flags")["data"] == {"colour": "blue"}
