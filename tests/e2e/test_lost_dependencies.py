"""A dependency that is down degrades the service: that is seen at once, and no pod is restarted or unready for it."""

import base64
import signal
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.cluster import engine
from tests.support import postgres, redis
from tests.support.counts import PROOF, Figures, count
from tests.support.kube import Object, wait_until
from tests.support.postgres import Postgres
from tests.support.redis import Server
from tests.support.release import Release
from tests.support.shop_manifests import LIVE_CHECK, READY_CHECK, policies, shop
from tests.support.space import Space, stays
from tests.support.spending import pause
from tests.support.traffic import LIGHT, traffic
from tests.support.witness import Witness

# At an interval of 1 s and a time-out of 0.5 s. Held at full counts, which run alone.
SEEN_WITHIN = 4.0
# Elsewhere a core that others keep busy must not make a check fail.
TIMEOUT = "500ms" if PROOF else "900ms"
HEALTH: Object = {"interval": "1s", "timeout": TIMEOUT}
HUNG: Object = {"name": "stuck", "check": {"name": "live", "failures": 3}}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = (*redis.REACHABLE, "--requirepass", "open")
    with redis.running(tmp_path_factory.mktemp("redis"), *options, client={"password": "open"}) as server:
        yield server


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres.running(listen="*") as server:
        yield server


def secret(name: str, **values: str) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    labels = {"resilience.dev/readable": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "data": data,
    }


def of(name: str, key: str) -> Object:
    return {"secretKeyRef": {"name": name, "key": key}}


def checks(cache: Server, database: Postgres) -> tuple[Object, list[Object]]:
    """A Secret, and checks of both servers, as pods and the operator reach them."""
    host = engine.current().host()
    login = secret("logins", redis="open", dsn=database.dsn().replace("127.0.0.1", host) + "disable")
    address = f"{host}:{cache.port}"
    where: Object = {"address": address, "passwordFrom": of("logins", "redis"), "verify": ["Role", "Write"]}
    found: list[Object] = [
        READY_CHECK,
        LIVE_CHECK,
        {"name": "cache", "scope": "Dependency", "redis": where},
        {"name": "db", "scope": "Dependency", "postgres": {"dsnFrom": of("logins", "dsn")}},
    ]
    return login, found


class Stopped:
    """A server that hangs or is gone while the context is open."""

    def __init__(self, server: Server | Postgres, *, hangs: bool) -> None:
        self._server, self._hangs = server, hangs

    def __enter__(self) -> None:
        if self._hangs:
            self._server.signal(signal.SIGSTOP)
        elif isinstance(self._server, Server):
            self._server.kill()
        else:
            self._server.stop()

    def __exit__(self, *_: object) -> None:
        if self._hangs:
            self._server.signal(signal.SIGCONT)
        else:
            self._server.start()


@pytest.mark.parametrize("which", ["cache", "db"])
@pytest.mark.parametrize("how", ["hangs", "gone"])
def test_a_lost_dependency_degrades_and_restarts_nothing(
    operator: Release, space: Space, cache: Server, database: Postgres, figures: Figures, which: str, how: str
) -> None:
    # given
    login, found = checks(cache, database)
    health = HEALTH | {"checks": found}
    space.start(login, *shop(replicas=2, health=health, restart=policies(HUNG)))
    space.wait_for("Degraded", "False", timeout=30)
    before = space.uids()
    server = cache if which == "cache" else database
    seen, back = [], []
    with Witness(space) as witness, traffic(space.url(), **LIGHT) as clients:
        for _ in range(count(1, proof=20)):
            # when
            began = datetime.now().astimezone()
            with Stopped(server, hangs=how == "hangs"):
                # then: it is seen
                lost = space.wait_for("Degraded", "True", reason="DependencyLost", timeout=15)
                seen.append(_seconds(began, lost))
                assert lost["message"].startswith(f"{which}: "), lost
                assert space.condition("Ready")["status"] == "True"
                pause(count(5, proof=60) if not seen[1:] else 5)
            ended = datetime.now().astimezone()
            # and its recovery too
            back.append(_seconds(ended, space.wait_for("Degraded", "False", timeout=45)))
    figures.write(seen_after=seen, back_after=back, **clients.figures())
    # and: one transition each way, and no pod was blamed
    wait_until(lambda: len(transitions(space)) >= 2 * len(seen), what="the Events")
    assert len(transitions(space)) == 2 * len(seen), transitions(space)
    assert space.uids() == before
    assert "lastRestart" not in space.status()
    assert witness.fewest_serving() >= 2
    assert clients.failed == 0, clients.failures()
    assert not PROOF or max(seen) < SEEN_WITHIN, seen


def transitions(space: Space) -> list[str]:
    """Events that a dependency was lost or came back."""
    return [each for each in space.events() if "DependencyLost" in each or "DependenciesWork" in each]


def _seconds(since: datetime, condition: Object) -> float:
    """Between a moment and the condition's last transition, which has whole milliseconds."""
    return round((datetime.fromisoformat(condition["lastTransitionTime"]) - since).total_seconds(), 2)


def test_pods_that_all_fail_with_their_dependency_are_not_blamed(
    operator: Release, space: Space, cache: Server, database: Postgres
) -> None:
    # given: an application that says that it is dead and unready when Redis is, as it should not
    login, found = checks(cache, database)
    host = engine.current().host()
    bad: Object = {"name": "live", "scope": "Pod", "http": {"path": "/readyz", "port": "http"}}
    health = HEALTH | {"checks": [READY_CHECK, bad, *found[2:]]}
    env = {"REDIS_URL": f"redis://:open@{host}:{cache.port}/0", "REDIS_REQUIRED": "1"}
    space.start(login, *shop(replicas=2, env=env, probes={"readiness": None}, health=health, restart=policies(HUNG)))
    before = space.uids()
    # when
    with Stopped(cache, hangs=False):
        wait_until(
            lambda: space.status()["restarts"].get("blockedBy") == "DependencyDown",
            what="what holds the policy back",
            timeout=30,
        )
        # then
        coupled = "their readiness probe seems to check the dependency too"
        wait_until(lambda: coupled in space.condition("Degraded")["message"], what=f"{coupled!r}")
        stays(lambda: space.uids() == before, seconds=5, what="no pod is replaced")
        assert "the service is degraded" in space.status()["explanation"]
    space.wait_for("Degraded", "False", timeout=45)
    assert space.uids() == before


def test_many_services_on_one_redis_hold_one_connection(
    operator: Release, space: Space, cache: Server, database: Postgres, figures: Figures
) -> None:
    # given
    services = count(5, proof=50)
    login, found = checks(cache, database)
    space.apply(login)
    # when
    for number in range(services):
        name = f"shop-{number:02d}"
        space.apply(*shop(name, verify=None, health=HEALTH | {"checks": [found[2]]}, probes=None))
    space.wait_running(*(f"shop-{number:02d}" for number in range(services)), timeout=60 + 5 * services)
    # then
    # The pods of the tests before may still be on their way out.
    wait_until(lambda: cache.clients() == 1, what="one connection", timeout=60)
    figures.write(services=services, connections=cache.clients())
