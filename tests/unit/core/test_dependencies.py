"""What checks of dependencies ask, and what a lost dependency means for the service."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.checks import Check, Scheme
from resilience.api.dependency_checks import RedisVerify
from resilience.api.http import ProxyUse
from resilience.api.reasons import ConditionType, HealthState, Phase, Reason
from resilience.api.status import Status
from resilience.core.health import dependencies
from resilience.core.model.bounds import Bounds, Levels
from resilience.core.model.decision import Decision
from resilience.core.model.probes import (
    DnsProbe,
    GrpcProbe,
    HttpLogin,
    HttpProbe,
    HttpTarget,
    OAuth2,
    PostgresProbe,
    Probe,
    RedisKind,
    RedisPlace,
    RedisProbe,
    RedisStreamProbe,
    SecretRef,
    TcpProbe,
    TlsTrust,
)
from resilience.core.reconcile import decide
from tests.support.factories import (
    NOW,
    READY_CHECK,
    make_check,
    make_endpoint,
    make_pod,
    make_resource,
    make_seen,
    make_spec,
    make_workload,
)
from tests.support.firing import DATABASE

LAG = timedelta(seconds=10)


def ref(name: str, key: str = "k") -> dict[str, Any]:
    return {"secretKeyRef": {"name": name, "key": key}}


def secret(name: str) -> SecretRef:
    return SecretRef("shop", name, "k")


def asked(check: dict[str, Any], *others: dict[str, Any]) -> Probe | None:
    made = {"name": "check", "scope": "Dependency"} | check
    spec = make_spec(health={"checks": [made, *others]})
    return dependencies.probe(Check.model_validate(made), spec, namespace="shop")


@pytest.mark.parametrize(
    ("url", "target", "trusted"),
    [
        ("http://db", HttpTarget("db", 80, "/"), False),
        ("https://db", HttpTarget("db", 443, "/", Scheme.HTTPS), True),
        ("https://db:8443/health?deep=1", HttpTarget("db", 8443, "/health?deep=1", Scheme.HTTPS), True),
        ("http://DB.shop:81/A", HttpTarget("db.shop", 81, "/A"), False),
        ("http://[::1]:8080/x", HttpTarget("::1", 8080, "/x"), False),
        ("http://[::1]/x", HttpTarget("::1", 80, "/x"), False),
    ],
)
def test_an_address_is_taken_apart_and_https_is_verified(url: str, target: HttpTarget, trusted: bool) -> None:
    trust = TlsTrust() if trusted else None
    assert asked({"http": {"url": url}}) == HttpProbe(target, trust=trust, proxy=ProxyUse.OUTSIDE)
    never = asked({"http": {"url": url, "proxy": "Never"}})
    assert never == HttpProbe(target, trust=trust, proxy=ProxyUse.NEVER)


def test_what_an_http_check_asks_besides() -> None:
    check = {
        "url": "https://db",
        "tls": {"caFrom": ref("ca"), "serverName": "db.example"},
        "headersFrom": ref("token"),
        "expectStatus": [200, 204],
        "components": True,
        "json": {"field": "queue.length", "above": "10.5"},
    }

    assert asked({"http": check}) == HttpProbe(
        HttpTarget("db", 443, "/", Scheme.HTTPS),
        frozenset({200, 204}),
        components=True,
        number=("queue.length", Levels(Bounds(above=10.5))),
        headers=secret("token"),
        trust=TlsTrust(secret("ca"), "db.example"),
        proxy=ProxyUse.OUTSIDE,
    )


def test_an_http_check_logs_in_with_secrets_of_its_own_namespace() -> None:
    client = {
        "tokenUrl": "https://login/token",
        "clientId": "shop",
        "clientSecretFrom": ref("client"),
        "scopes": ["read"],
        "endpointParams": [{"name": "audience", "value": "db"}],
        "tls": {"caFrom": ref("ca")},
    }
    token = asked({"http": {"url": "https://db", "oauth2": client}})
    basic = asked({"http": {"url": "https://db", "basicAuthFrom": ref("login")}})
    assert isinstance(token, HttpProbe)
    assert isinstance(basic, HttpProbe)
    trust = TlsTrust(secret("ca"))
    expected = OAuth2("https://login/token", "shop", secret("client"), ("read",), (("audience", "db"),), trust)
    assert token.login == HttpLogin(oauth2=expected)
    assert basic.login == HttpLogin(basic=secret("login"))


@pytest.mark.parametrize(
    ("check", "probe"),
    [
        ({"tcp": {"host": "db", "port": 5432}}, TcpProbe("db", 5432)),
        ({"grpc": {"host": "db", "port": 50051, "service": "s"}}, GrpcProbe("db", 50051, "s")),
        ({"dns": {"name": "db", "minAddresses": 2}}, DnsProbe("db", 2)),
        ({"postgres": {"dsnFrom": ref("dsn")}}, PostgresProbe(secret("dsn"), "SELECT 1", 0.8, 5)),
        (
            {
                "postgres": {
                    "dsnFrom": ref("dsn"),
                    "query": "SELECT 2",
                    "maxConnectionUse": "50%",
                    "maxWaiting": 0,
                    "maxReplicationLag": "1m",
                    "tls": {},
                }
            },
            PostgresProbe(secret("dsn"), "SELECT 2", 0.5, 0, timedelta(minutes=1), TlsTrust()),
        ),
        ({"http": {"path": "/"}, "scope": "Service"}, None),
        ({"tcp": {"port": 80}, "scope": "Pod"}, None),
    ],
)
def test_each_kind_asks_in_its_own_way(check: dict[str, Any], probe: Probe | None) -> None:
    assert asked(check) == probe


@pytest.mark.parametrize(
    ("redis", "place"),
    [
        ({"address": "r:6379"}, RedisPlace(RedisKind.STANDALONE, (("r", 6379),))),
        (
            {"address": "[::1]:6379", "database": 3, "usernameFrom": ref("u"), "passwordFrom": ref("p"), "tls": {}},
            RedisPlace(
                RedisKind.STANDALONE,
                (("::1", 6379),),
                database=3,
                username=secret("u"),
                password=secret("p"),
                trust=TlsTrust(),
            ),
        ),
        (
            {"sentinel": {"addresses": ["s1:26379", "s2:26379"], "masterName": "m", "passwordFrom": ref("sp")}},
            RedisPlace(
                RedisKind.SENTINEL, (("s1", 26379), ("s2", 26379)), master_name="m", sentinel_password=secret("sp")
            ),
        ),
        ({"cluster": {"addresses": ["c:6379"]}}, RedisPlace(RedisKind.CLUSTER, (("c", 6379),))),
    ],
)
def test_a_redis_is_found_in_three_ways(redis: dict[str, Any], place: RedisPlace) -> None:
    assert asked({"redis": redis}) == RedisProbe(place, frozenset({RedisVerify.ROLE}), LAG)


def test_the_service_of_a_master_is_asked_where_it_leads() -> None:
    found = asked({"redis": {"address": "r:6379", "masterService": "master:6380", "verify": ["Write"]}})

    assert isinstance(found, RedisProbe)
    assert (found.master_service, found.verify) == (("master", 6380), frozenset({RedisVerify.WRITE}))


def test_a_stream_is_where_its_redis_is() -> None:
    redis = {"name": "cache", "scope": "Dependency", "redis": {"address": "r:6379", "database": 2}}
    stream = {"redisStream": {"redis": "cache", "stream": "orders", "maxLength": 7}}
    place = RedisPlace(RedisKind.STANDALONE, (("r", 6379),), database=2)

    assert asked(stream, redis) == RedisStreamProbe(
        place, "orders", "", Levels.most(warning=7), Levels.most(critical=300), Levels.most(warning=1000)
    )
    # The check that it names may have been taken away by a stored object from before the rule.
    other = make_spec(health={"checks": [DATABASE]})
    made = Check.model_validate({"name": "s", "scope": "Dependency"} | stream)
    assert dependencies.probe(made, other, namespace="shop") is None


# What a lost dependency means.

A, B = make_pod("a"), make_pod("b")


def looked(database: HealthState | None, *, ready: HealthState = HealthState.HEALTHY, serve: int = 2) -> Decision:
    checks = {"ready": make_check(state=ready)}
    if database is not None:
        checks["db"] = make_check("db", database, message="db:5432 refused the connection")
    endpoints = tuple(make_endpoint(pod, serving=number < serve) for number, pod in enumerate((A, B)))
    workload = make_workload(replicas=2, available=serve)
    seen = make_seen(A, B, checks=checks, endpoints=endpoints, workload=workload, quiet=True)
    resource = make_resource(make_spec(health={"checks": [READY_CHECK, DATABASE]}), status=BEFORE)
    return decide(resource, seen, NOW)


BEFORE = Status(observed_generation=1)


def conditions(found: Decision) -> dict[str, tuple[str, str, str]]:
    assert found.status is not None
    return {each.type: (each.status, each.reason, each.message) for each in found.status.conditions}


@pytest.mark.parametrize(
    ("database", "ready", "degraded", "healthy"),
    [
        (HealthState.HEALTHY, HealthState.HEALTHY, "False", ("True", Reason.CHECKS_PASS)),
        (HealthState.UNHEALTHY, HealthState.HEALTHY, "True", ("True", Reason.CHECKS_WARN)),
        (HealthState.UNHEALTHY, HealthState.UNHEALTHY, "True", ("False", Reason.CHECKS_FAIL)),
        (HealthState.WARNING, HealthState.HEALTHY, "False", ("True", Reason.CHECKS_WARN)),
        (HealthState.UNKNOWN, HealthState.HEALTHY, "False", ("Unknown", Reason.CHECKS_UNKNOWN)),
        (None, HealthState.HEALTHY, "False", ("Unknown", Reason.CHECKS_UNKNOWN)),
    ],
)
def test_a_lost_dependency_degrades_and_leaves_ready_alone(
    database: HealthState | None, ready: HealthState, degraded: str, healthy: tuple[str, Reason]
) -> None:
    found = looked(database, ready=ready)

    said = conditions(found)
    assert said[ConditionType.DEGRADED][0] == degraded
    assert said[ConditionType.HEALTHY][:2] == healthy
    assert said[ConditionType.READY][0] == "True"
    assert found.status is not None and found.status.phase is Phase.RUNNING
    lost = database is HealthState.UNHEALTHY
    assert ("Degraded: db: db:5432 refused" in found.status.explanation) is lost
    assert [each.warning for each in found.events if each.reason is Reason.DEPENDENCY_LOST] == [True] * lost


@pytest.mark.parametrize(("serve", "coupled"), [(0, True), (1, False), (2, False)])
def test_readiness_that_goes_with_the_dependency_is_named(serve: int, coupled: bool) -> None:
    message = conditions(looked(HealthState.UNHEALTHY, serve=serve))[ConditionType.DEGRADED][2]

    assert ("leave it out of the readiness endpoint" in message) is coupled


def test_without_a_dependency_nothing_can_be_lost() -> None:
    found = decide(make_resource(make_spec(health={"checks": [READY_CHECK]})), make_seen(A), NOW)

    assert conditions(found)[ConditionType.DEGRADED][:2] == ("False", Reason.NO_DEPENDENCIES)
    assert all(each.reason is not Reason.NO_DEPENDENCIES for each in found.events)
