"""Health bodies as frameworks serve them, and as somebody wicked would."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilience.adapters.checks.components import LONGEST_MESSAGE, LONGEST_NAME, MOST_COMPONENTS, read_components
from resilience.api.reasons import HealthState
from resilience.core.model.check_state import Component

HEALTHY, WARNING, UNHEALTHY, UNKNOWN = (
    HealthState.HEALTHY,
    HealthState.WARNING,
    HealthState.UNHEALTHY,
    HealthState.UNKNOWN,
)

SPRING = """{"status": "DOWN", "components": {
    "db": {"status": "DOWN", "details": {"error": "java.net.ConnectException: Connection refused"}},
    "diskSpace": {"status": "UP", "details": {"total": 250790436864, "free": 98, "exists": true}},
    "cache": {"status": "OUT_OF_SERVICE"},
    "discoveryComposite": {"description": "Discovery Client not initialized", "status": "UNKNOWN",
        "components": {"inner": {"status": "DOWN"}}},
    "ping": {"status": "UP"}},
    "groups": ["liveness", "readiness"]}"""
MICROPROFILE = """{"status": "DOWN", "checks": [
    {"name": "Database connections health check", "status": "UP", "data": {"<default>": "UP"}},
    {"name": "queue", "status": "DOWN"}]}"""
IETF = """{"status": "warn", "version": "1", "checks": {
    "db:latency": [
        {"componentId": "a", "observedValue": 12, "status": "pass", "output": ""},
        {"componentId": "b", "observedValue": 812, "status": "warn", "output": "slower than 500 ms"}],
    "cpu:utilization": [{"componentType": "system", "observedValue": 85}],
    "uptime": [{"status": "pass"}],
    "nothing": []}}"""
ASPNET = """{"status": "Unhealthy", "totalDuration": "00:00:00.06", "%s": {
    "sql": {"data": {}, "description": null, "duration": "00:00:00.05", "status": "Healthy", "tags": ["db"]},
    "memory": {"data": {}, "description": "87 %% used", "status": "Degraded"},
    "bus": {"data": {}, "description": "no broker", "exception": "at Line 3", "status": "Unhealthy"}}}"""
HOUSE = """{"status": "ok", "%s": {
    "redis": {"status": "healthy", "message": "PONG", "duration": 12},
    "db": "ok", "mail": true, "search": false, "queue": "Degraded", "odd": 3, "gone": null}}"""


def names(found: tuple[Component, ...]) -> list[tuple[str, HealthState]]:
    return [(each.name, each.state) for each in found]


def one(entry: object) -> Component:
    (found,) = read_components({"checks": {"it": entry}})
    return found


def test_spring_boot_actuator() -> None:
    assert read_components(json.loads(SPRING)) == (
        Component("db", UNHEALTHY, "java.net.ConnectException: Connection refused"),
        Component("diskSpace", HEALTHY),
        Component("cache", UNHEALTHY),
        Component("discoveryComposite", UNKNOWN, "Discovery Client not initialized"),
        Component("ping", HEALTHY),
    )


def test_microprofile() -> None:
    found = read_components(json.loads(MICROPROFILE))
    assert found == (Component("Database-connections-health-check", HEALTHY), Component("queue", UNHEALTHY))


def test_ietf_health_json_tells_the_worst_of_several_measurements() -> None:
    assert read_components(json.loads(IETF)) == (
        Component("db:latency", WARNING, "slower than 500 ms"),
        Component("cpu:utilization", UNKNOWN),
        Component("uptime", HEALTHY),
        Component("nothing", UNKNOWN),
    )


@pytest.mark.parametrize("container", ["entries", "results"])
def test_aspnet(container: str) -> None:
    assert read_components(json.loads(ASPNET % container)) == (
        Component("sql", HEALTHY),
        Component("memory", WARNING, "87 % used"),
        Component("bus", UNHEALTHY, "no broker"),
    )


@pytest.mark.parametrize("container", ["components", "checks", "services", "dependencies"])
def test_house_form(container: str) -> None:
    assert read_components(json.loads(HOUSE % container)) == (
        Component("redis", HEALTHY, "PONG"),
        Component("db", HEALTHY),
        Component("mail", HEALTHY),
        Component("search", UNHEALTHY),
        Component("queue", WARNING),
        Component("odd", UNKNOWN),
        Component("gone", UNKNOWN),
    )


def test_several_containers_are_read_together() -> None:
    body = {"services": {"a": "ok"}, "dependencies": {"b": "down"}}
    assert names(read_components(body)) == [("a", HEALTHY), ("b", UNHEALTHY)]


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["up", "UP", "ok", "OK", "pass", "Healthy", "running", "true", " ok\n", True], HEALTHY),
        (["warn", "Warning", "DEGRADED"], WARNING),
        (["down", "fail", "FAILED", "error", "Critical", "unhealthy", "OUT_OF_SERVICE", "false", False], UNHEALTHY),
        (["", "starting", "not ok", 0, 1, 1.5, None, {}, []], UNKNOWN),
    ],
)
def test_words(words: list[object], state: HealthState) -> None:
    for word in words:
        assert one({"status": word}).state is state, word
        assert one(word).state is state, word


@pytest.mark.parametrize(
    "body",
    [None, True, 3, "components", [], [{"name": "a", "status": "UP"}], {}, {"status": "UP"}, {"components": {}}]
    + [{"components": each} for each in (None, "redis", 7, [], ["redis", 3, None, [{"name": "a"}]])],
)
def test_bodies_without_components(body: object) -> None:
    assert read_components(body) == ()


def test_names_are_cleaned_and_never_empty() -> None:
    listed = [
        {"name": "  Redis Cache #1 ", "status": "UP"},
        {"name": "é" * 100, "status": "UP"},
        {"name": "x" * 5000, "status": "UP"},
        {"status": "DOWN"},
        {"name": {"a": 1}, "status": "UP"},
        {"name": "a\x00<b>\ud800c", "status": "UP"},
    ]
    assert names(read_components({"checks": listed})) == [
        ("Redis-Cache-1", HEALTHY),
        # Two that have no name are one, and the worse counts.
        ("unnamed", UNHEALTHY),
        ("x" * LONGEST_NAME, HEALTHY),
        ("a-b-c", HEALTHY),
    ]


def test_of_equal_names_the_worse_counts() -> None:
    body = {"checks": {"a b": {"status": "down", "message": "no"}, "a-b": "ok"}, "services": {"a.b": "warn"}}
    assert read_components(body) == (Component("a-b", UNHEALTHY, "no"), Component("a.b", WARNING))
    # JSON's own rule for two equal keys is older than ours.
    assert names(read_components(json.loads('{"checks": {"a": "down", "a": "ok"}}'))) == [("a", HEALTHY)]


def test_of_too_many_the_worst_are_kept() -> None:
    body = {"checks": {f"c{number}": "ok" for number in range(100)} | {"sick": "down", "slow": "warn", "odd": "?"}}
    found = names(read_components(body))
    assert len(found) == MOST_COMPONENTS
    assert found[:4] == [("sick", UNHEALTHY), ("slow", WARNING), ("odd", UNKNOWN), ("c0", HEALTHY)]


@pytest.mark.parametrize("field", ["message", "output", "description", "error"])
def test_messages(field: str) -> None:
    assert one({"status": "up", field: "fine"}).message == "fine"
    assert one({"status": "up", field: {"deep": "er"}}).message == ""
    assert one({"status": "up", field: " two\r\nlines\x00\x1b[31m \ud800 "}).message == "two lines [31m"


def test_messages_are_cut() -> None:
    assert one({"message": "word " * 39 + "12345"}).message == "word " * 39 + "12345"
    cut = one({"message": "word " * 13000}).message
    assert len(cut) == LONGEST_MESSAGE and cut.endswith("…")
    assert one({"message": "x" * 60000}).message == "…"


@pytest.mark.parametrize(
    "text",
    [
        "cannot connect to postgres://shop:s3cr3t@db:5432/shop",
        "login failed: password=s3cr3t",
        "sent Authorization: Bearer s3cr3t",
        'config {"api_key": "s3cr3t", "retries": 3}',
        # The end that tells what it is lies beyond what is looked at.
        "see " * 40 + "redis://default:" + "s3cr3t" * 60 + "@redis:6379",
    ],
)
def test_secrets_in_messages_are_hidden(text: str) -> None:
    assert "s3cr3t" not in one({"status": "down", "message": text}).message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["up", "down", "warn"]),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["name", "status", "message", "details"]), inner)
    ),
    max_leaves=20,
)


# The first text that Hypothesis makes is slow.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["components", "checks", "entries", "status"]), json_values))
def test_any_body_is_read_within_bounds(body: dict[str, object]) -> None:
    found = read_components(body)
    assert len(found) <= MOST_COMPONENTS
    assert len({each.name for each in found}) == len(found)
    for each in found:
        assert 0 < len(each.name) <= LONGEST_NAME and each.name.isascii()
        assert len(each.message) <= LONGEST_MESSAGE and (each.message + "x").isprintable()


@pytest.mark.parametrize(
    "body",
    [
        {"checks": {f"{number}": 1 for number in range(6000)}},
        {"checks": {"a": [{}] * 16000}},
        {"checks": [{"name": "://" * 300, "message": "://" * 300}] * 35},
        {"checks": [{"name": f"n{number}", "message": "://" * 300} for number in range(60)]},
        {"checks": {"a": {"status": "x" * 60000, "message": "basic " * 10000}}},
    ],
)
def test_hostile_bodies_do_not_hold_the_operator_up(body: object) -> None:
    def cost(work: Callable[[], object]) -> float:
        began = time.thread_time()
        work()
        return time.thread_time() - began

    parsing = min(cost(lambda: json.loads(json.dumps(body))) for _ in range(3))
    reading = min(cost(lambda: read_components(body)) for _ in range(3))
    # Fifty times as much where there are many parts; whatever grows with the square costs thousands.
    assert reading < 500 * parsing
