"""Health bodies as frameworks and libraries write them. Each row of the table in docs/concepts/health.md is a case.

Where components stand beside other facts, these other facts are none.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from resilience.adapters.checks.components import read_components, read_whole
from resilience.api.reasons import HealthState
from resilience.core.model.check_state import Component

PAGE: Final = Path(__file__).parents[2] / "docs" / "concepts" / "health.md"
HEALTHY, WARNING, UNHEALTHY, UNKNOWN = (
    HealthState.HEALTHY,
    HealthState.WARNING,
    HealthState.UNHEALTHY,
    HealthState.UNKNOWN,
)
Found = dict[str, HealthState]

DISK: Final = '"diskSpace": {"status": "UP", "details": {"total": 62725623808, "free": 9564057600, "exists": true}}'
BODIES: Final[dict[str, list[tuple[str, Found]]]] = {
    "Spring Boot 2.2 to 4": [
        (
            f"""{{"status": "DOWN", "components": {{{DISK}, "db": {{"status": "DOWN", "details": {{"error": "no"}}}},
            "discoveryComposite": {{"description": "not initialized", "status": "UNKNOWN", "components": {{}}}}}},
            "groups": ["liveness", "readiness"]}}""",
            {"diskSpace": HEALTHY, "db": UNHEALTHY, "discoveryComposite": UNKNOWN},
        )
    ],
    "Spring Boot 2.0, 2.1": [
        (
            f'{{"status": "DOWN", "details": {{{DISK}, "rabbit": {{"status": "DOWN", "details": {{"error": "x"}}}}}}}}',
            {"diskSpace": HEALTHY, "rabbit": UNHEALTHY},
        ),
        # The page of one component of any version 2: these details are facts, not components.
        ('{"status": "UP", "details": {"database": "H2", "validationQuery": "isValid()", "exists": true}}', {}),
    ],
    "Spring Boot 1": [
        (
            """{"status": "UP", "description": "Spring Cloud Eureka", "diskSpace": {"status": "UP", "total": 10568581},
            "zipkin": {"status": "OUT_OF_SERVICE", "ElasticsearchHttpStorage": {"status": "UP"}}}""",
            {"diskSpace": HEALTHY, "zipkin": UNHEALTHY},
        )
    ],
    "MicroProfile 2 to 4: Quarkus, Open Liberty, Helidon": [
        (
            """{"status": "DOWN", "checks": [{"name": "Database connections health check", "status": "UP",
            "data": {"<default>": "UP"}}, {"name": "queue", "status": "DOWN"}]}""",
            {"Database-connections-health-check": HEALTHY, "queue": UNHEALTHY},
        ),
        (
            '{"outcome": "UP", "status": "UP", "checks": [{"name": "heap", "state": "UP", "status": "UP"}]}',
            {"heap": HEALTHY},
        ),
    ],
    "MicroProfile 1, CloudNativeJS": [
        (
            """{"outcome": "DOWN", "checks": [{"name": "a", "state": "UP", "data": {}},
            {"name": "b", "state": "DOWN", "data": {"reason": "no"}}]}""",
            {"a": HEALTHY, "b": UNHEALTHY},
        )
    ],
    "Micronaut": [
        (
            """{"name": "shop", "status": "DOWN", "details": {"jdbc": {"name": "shop", "status": "DOWN", "details":
            {"jdbc:h2": {"name": "shop", "status": "DOWN"}}}, "compositeDiscoveryClient()": {"name": "shop", "status":
            "UP"}}}""",
            {"jdbc": UNHEALTHY, "compositeDiscoveryClient": HEALTHY},
        )
    ],
    "Dropwizard": [
        (
            """{"deadlocks": {"healthy": true, "duration": 0, "timestamp": "2020-01-01T00:00:00.000Z"},
            "AnalysisService": {"healthy": false, "message": "Analysis service not accessible"}}""",
            {"deadlocks": HEALTHY, "AnalysisService": UNHEALTHY},
        )
    ],
    "health+json": [
        (
            """{"status": "warn", "version": "1", "notes": [""], "output": "", "checks": {"cassandra:connections":
            [{"status": "pass"}, {"status": "warn", "output": "75 in use"}], "uptime": [{"status": "pass"}]}}""",
            {"cassandra:connections": WARNING, "uptime": HEALTHY},
        )
    ],
    "ASP.NET Core, HealthChecks.UI": [
        (
            """{"status": "Unhealthy", "totalDuration": "00:00:00.06", "entries": {"sql": {"data": {}, "status":
            "Healthy", "tags": []}, "bus": {"data": {}, "description": "no broker", "status": "Unhealthy"}}}""",
            {"sql": HEALTHY, "bus": UNHEALTHY},
        )
    ],
    "ASP.NET Core, writers of one's own": [
        (
            '{"status": "Healthy", "results": {"sql": {"status": "Degraded", "description": "slow", "data": {}}}}',
            {"sql": WARNING},
        ),
        (
            """{"Status": "Unhealthy", "Checks": [{"Component": "sql", "Status": "Unhealthy", "Description": "no"},
            {"Component": "bus", "Status": "Healthy", "Description": null}], "Duration": "00:00:01"}""",
            {"sql": UNHEALTHY, "bus": HEALTHY},
        ),
        (
            '{"status": "Healthy", "info": [{"key": "example_check", "status": "Healthy", "error": "", "tags": []}]}',
            {"example_check": HEALTHY},
        ),
    ],
    "NestJS and godaddy Terminus": [
        (
            """{"status": "error", "info": {"database": {"status": "up"}}, "error": {"redis": {"status": "down",
            "message": "Could not connect"}}, "details": {"database": {"status": "up"}, "redis": {"status": "down",
            "message": "Could not connect"}}}""",
            {"database": HEALTHY, "redis": UNHEALTHY},
        ),
        (
            '{"status": "ok", "info": {"a": {"status": "up"}}, "error": {}, "details": {"a": {"status": "up"}}}',
            {"a": HEALTHY},
        ),
    ],
    "Go, alexliesenfeld/health and InVision go-health": [
        (
            """{"status": "down", "details": {"database": {"status": "up", "timestamp": "2021-07-01T08:05:08Z"},
            "search": {"status": "down", "timestamp": "2021-07-01T08:05:08Z", "error": "this fails"}}}""",
            {"database": HEALTHY, "search": UNHEALTHY},
        ),
        (
            """{"status": "failed", "details": {"good-check": {"name": "good-check", "status": "ok", "fatal": false},
            "bad-check": {"name": "bad-check", "status": "failed", "fatal": true, "error": "refused"}}}""",
            {"good-check": HEALTHY, "bad-check": UNHEALTHY},
        ),
    ],
    "Go, heptiolabs/healthcheck": [
        ('{"database": "OK", "upstream-dep-dns": "lookup failed: no such host"}', {"database": HEALTHY})
    ],
    "Go, hellofresh/health-go": [
        (
            """{"status": "OK", "timestamp": "2017-01-01T00:00:00.413567856+00:00", "system": {"version": "go1.8",
            "goroutines_count": 4}, "component": {"name": "myservice", "version": "v1.0"}}""",
            {"myservice": HEALTHY},
        ),
        (
            """{"status": "Partially Available", "failures": {"some-custom-check-fail": "failed during custom check"},
            "component": {"name": "myservice", "version": "v1.0"}}""",
            {"some-custom-check-fail": WARNING, "myservice": WARNING},
        ),
        (
            '{"status": "Unavailable", "failures": {"rabbitmq": "Timeout during check"}, "component": {"name": ""}}',
            {"rabbitmq": UNHEALTHY, "unnamed": UNHEALTHY},
        ),
    ],
    "Rails, OkComputer": [
        (
            """{"default": {"message": "Application is running", "success": true, "time": 3.1e-05},
            "database": {"message": "Failed to connect", "success": false, "time": 0.5}}""",
            {"default": HEALTHY, "database": UNHEALTHY},
        )
    ],
    "Rails, health-monitor-rails": [
        (
            """{"results": [{"name": "Database", "message": "", "status": "OK"}, {"name": "Redis", "message": "refused",
            "status": "ERROR"}, {"name": "Sidekiq", "message": "", "status": "WARNING"}], "status":
            "service_unavailable", "timestamp": "2017-03-10 17:07:52 +0200"}""",
            {"Database": HEALTHY, "Redis": UNHEALTHY, "Sidekiq": WARNING},
        )
    ],
    "Rails, rails-healthcheck": [
        ('{"code": 200, "status": {"database": "OK", "zipcode": "OK"}}', {"database": HEALTHY, "zipcode": HEALTHY})
    ],
    "Django, django-health-check": [
        (
            '{"Cache backend: default": "working", "DatabaseBackend": "unavailable: no", "DiskUsage": "warning: 91 %"}',
            {"Cache-backend:-default": HEALTHY, "DatabaseBackend": UNHEALTHY, "DiskUsage": WARNING},
        )
    ],
    "Laravel, spatie health": [
        (
            """{"finishedAt": 1626174600, "checkResults": [{"name": "UsedDiskSpace", "label": "Used disk space",
            "notificationMessage": "almost full", "shortSummary": "78%", "status": "warning", "meta": {}}, {"name":
            "Redis", "status": "crashed"}, {"name": "Cache", "status": "ok"}, {"name": "Q", "status": "skipped"}]}""",
            {"UsedDiskSpace": WARNING, "Redis": UNHEALTHY, "Cache": HEALTHY, "Q": UNKNOWN},
        )
    ],
    "an envelope": [
        (
            '{"code": 0, "msg": "success", "data": {"redis": "up", "mysql": "down", "qps": 12}}',
            {"redis": HEALTHY, "mysql": UNHEALTHY},
        ),
        ('{"success": true, "data": {"status": "ok", "checks": {"db": true}}}', {"db": HEALTHY}),
        (
            '{"statusCode": 200, "data": {"status": "ok", "error": {}, "details": {"a": {"status": "up"}}}}',
            {"a": HEALTHY},
        ),
        ('{"ok": true, "data": [{"name": "a", "status": "UP"}, {"id": 7}]}', {"a": HEALTHY}),
    ],
    "your own": [
        (
            '{"components": {"redis": "ok", "db": true, "mail": false, "odd": 3}}',
            {"redis": HEALTHY, "db": HEALTHY, "mail": UNHEALTHY, "odd": UNKNOWN},
        ),
        ('{"services": {"a": {"status": "up"}}, "dependencies": {"b": "red"}}', {"a": HEALTHY, "b": UNHEALTHY}),
    ],
}


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the page's table that begins with this heading."""
    table = PAGE.read_text().partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def found(body: str) -> Found:
    return {each.name: each.state for each in read_components(json.loads(body))}


@pytest.mark.parametrize(
    ("body", "expected"),
    [pytest.param(*case, id=f"{name} {number}") for name, cases in BODIES.items() for number, case in enumerate(cases)],
)
def test_bodies_as_frameworks_give_them(body: str, expected: Found) -> None:
    assert found(body) == expected


def test_each_row_of_the_table_is_a_case() -> None:
    assert [row[0] for row in rows("body of")] == list(BODIES)


def test_the_words_in_the_table_mean_what_it_says() -> None:
    said = {word: row[1] for row in rows("word in the body")[:3] for word in re.findall(r"`([^`]+)`", row[0])}
    assert len(said) > 30
    for word, state in said.items():
        assert found(json.dumps({"checks": {"a": word}})) == {"a": HealthState(state)}, word


@pytest.mark.parametrize(
    "body",
    [
        {"commit": "087143285", "version": "9.5.2", "uptime": 3},
        {"status": "ok", "message": "success", "logLevel": "error", "log_level": "warn", "severity": "critical"},
        {"status": "ok", "debug": False, "maintenance": False, "build": {"version": "1", "branch": "main"}},
        {"status": "ok", "info": {"version": "1.0"}, "details": {"region": "eu", "pid": 7}},
        {"status": "ok", "errors": {}, "failures": None, "component": {"version": "1"}},
        {"status": "ok", "errors": [{"detail": "x"}]},
        {"data": "ok"},
        {"data": {"data": {"redis": "up"}}},
        {"healthy": True, "message": "success"},
    ],
)
def test_other_facts_are_no_components(body: dict[str, Any]) -> None:
    assert read_components(body) == ()


def test_grafana_tells_of_its_database_beside_its_version() -> None:
    body = {"commit": "087143285", "database": "ok", "version": "9.5.2"}
    assert read_components(body) == (Component("database", HEALTHY),)


def test_what_fails_is_told_in_the_words_of_the_application() -> None:
    spatie, django = BODIES["Laravel, spatie health"][0][0], BODIES["Django, django-health-check"][0][0]
    assert read_components(json.loads(spatie))[0].message == "almost full"
    assert read_components(json.loads(django))[1].message == "unavailable: no"
    assert read_components({"failures": {"a": "no route"}}) == (Component("a", UNHEALTHY, "no route"),)


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ({"status": "UP"}, HEALTHY),
        ({"Status": "Degraded"}, WARNING),
        ("Unhealthy", UNHEALTHY),
        ({"data": {"status": "down"}}, UNHEALTHY),
        ({"healthy": False}, UNHEALTHY),
        ({"status": "strange"}, None),
        ({"status": 200}, None),
        ("<html>up</html>", None),
        ([], None),
        (None, None),
    ],
)
def test_the_word_for_the_whole(body: object, state: HealthState | None) -> None:
    assert read_whole(body) is state
