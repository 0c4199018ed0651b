"""Valid and invalid manifests of ResilientServices, and a status with every field set.

Must not talk to a cluster.
"""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from resilience.api.reasons import AlertName, HealthState, Phase, ReplaceStep, RestartOutcome, Severity
from resilience.api.status import (
    CheckStatus,
    Condition,
    Effective,
    Handled,
    HealthStatus,
    HistoryEntry,
    LastReadable,
    Status,
)
from resilience.api.status_alerts import AlertsStatus, FiringAlert
from resilience.api.status_base import Requests
from resilience.api.status_restarts import (
    ContentStatus,
    ReplacementStatus,
    RestartResult,
    RestartsStatus,
    RestartStatus,
)
from resilience.api.status_rollout import FailedBefore, FailingCheck, RolloutStatus
from resilience.api.status_slo import DayOfOutages, Outage, SloStatus

Spec = dict[str, Any]

GOOD: Spec = yaml.safe_load("""
targetRef: {kind: Deployment, name: checkout}
service: {name: checkout, port: http}
health:
  checks:
  - {name: ready, http: {path: /readyz}}
  - {name: live, scope: Pod, http: {path: /livez, port: 8080}}
""")
FULL: Spec = yaml.safe_load("""
profile: Test
suspend: true
targetRef: {kind: Deployment, name: checkout}
container: app
service: {name: checkout, port: 80}
health:
  interval: 10s
  timeout: 500ms
  failureThreshold: 3
  successThreshold: 2
  checks:
  - {name: ready, http: {path: "/readyz?full=1", port: http, scheme: HTTPS, expectStatus: [200, 204]}}
  - name: named
    http: {path: /readyz, host: "shop.example.org:8443", headers: [{name: X-Forwarded-Proto, value: https}]}
  - {name: live, scope: Pod, http: {path: /livez, port: http}}
  - {name: open, scope: Pod, tcp: {port: 8080}}
  - {name: rpc, grpc: {service: shop.v1}}
  - {name: errors, prometheus: {query: 'sum(rate(errors_total{app="checkout"}[5m]))', above: "0.05", below: "-1"}}
probes:
  management: Observe
  readiness: {check: open}
  startup: {check: live, maxDuration: 1h30m}
  liveness: {check: live}
drain:
  preStop: 5s
  gracePeriod: 30s
  propagationDelay: 1.5s
  signal: {http: {path: /drain, port: admin, host: shop, headersFrom: {secretKeyRef: {name: drain, key: headers}}}}
  quiet: {http: {path: /api/connections, port: admin, json: active, below: 1, headers: [{name: X-From, value: ""}]}}
  maxWait: 60s
verify: {requestsPerSecond: 20, path: /readyz, host: "[fd00::1]:8080"}
rollout: {progressDeadline: 10m}
restart: {surge: 2}
""")

DURATION = "write a duration as 500ms, 90s, 5m or 1h30m"
ONE_TYPE = "set one of http, tcp, grpc, prometheus, postgres, redis, redisStream, dns or usage"
PORT = "write a port as a number from 1 to 65535, without quotes, or as a port's name"


def check(**fields: Any) -> Spec:
    return {"health": {"checks": [{"name": "ready", **fields}]}}


def headers(*entries: Spec) -> Spec:
    return check(http={"path": "/", "headers": list(entries)})


SECRET: Spec = {"secretKeyRef": {"name": "db", "key": "dsn"}}

# Changes to GOOD (None: removed), and the texts that the answer must contain.
BROKEN: dict[str, tuple[Spec, tuple[str, ...]]] = {
    "no target": ({"targetRef": None}, ("spec.targetRef: Required value",)),
    "kind in lower case": (
        {"targetRef": {"kind": "deployment", "name": "checkout"}},
        ("spec.targetRef.kind", 'supported values: "Deployment", "StatefulSet", "DaemonSet"'),
    ),
    "name with a namespace": (
        {"targetRef": {"kind": "Deployment", "name": "shop/checkout"}},
        ("spec.targetRef.name", "give the object's name alone, in lower case, without kind or namespace"),
    ),
    "misspelt field": ({"probez": {}}, ('unknown field "spec.probez"',)),
    "misspelt nested field": ({"drain": {"prestop": "5s"}}, ('unknown field "spec.drain.prestop"',)),
    "duration without a unit": ({"health": {"interval": "10"}}, ("spec.health.interval", DURATION)),
    "duration in days": ({"drain": {"maxWait": "1d"}}, ("spec.drain.maxWait", DURATION, "days as hours")),
    "duration as a number": ({"health": {"interval": 10}}, ("spec.health.interval", "must be of type string")),
    "interval of nothing": ({"health": {"interval": "0s"}}, ("spec.health", "interval must be at least 1s")),
    "time-out over the interval": (
        {"health": {"interval": "1s", "timeout": "2s"}},
        ("health.timeout must be at most health.interval",),
    ),
    "time-out that holds a slot for long": (
        {"health": {"interval": "1h", "timeout": "31s"}},
        ("spec.health", "timeout must be at most 30s"),
    ),
    "preStop as long as the grace period": (
        {"drain": {"preStop": "30s", "gracePeriod": "30s"}},
        ("drain.preStop counts towards drain.gracePeriod: make it shorter",),
    ),
    "preStop with a fraction": ({"drain": {"preStop": "1500ms"}}, ("drain.preStop must be whole seconds",)),
    "check of two types": (check(http={"path": "/"}, tcp={}), ("spec.health.checks[0]", ONE_TYPE)),
    "url with a port besides": (
        check(scope="Dependency", http={"url": "https://partner.example/", "port": 443}),
        ("http.url says port and scheme itself",),
    ),
    "proxy before a Service": (
        check(http={"path": "/", "proxy": "Always"}),
        ("http.proxy needs http.url; pods and Services are reached directly",),
    ),
    "two ways to log in": (
        check(
            http={
                "path": "/",
                "basicAuthFrom": {"secretKeyRef": {"name": "a", "key": "b"}},
                "oauth2": {
                    "tokenUrl": "https://login.example/token",
                    "clientId": "a",
                    "clientSecretFrom": {"secretKeyRef": {"name": "a", "key": "b"}},
                },
            }
        ),
        ("there is one way to log in: set basicAuthFrom or oauth2, not both",),
    ),
    "silence without a matcher": (
        {"alerts": {"silences": [{"matchers": [], "author": "a", "reason": "b", "until": "2026-12-01T08:00:00Z"}]}},
        ("spec.alerts.silences[0].matchers",),
    ),
    "silence without an end": (
        {"alerts": {"silences": [{"matchers": ['severity="info"'], "author": "a", "reason": "b"}]}},
        ("spec.alerts.silences[0].until: Required value",),
    ),
    "url with a password": (
        check(scope="Dependency", http={"url": "https://u:p@partner.example/"}),
        ("write a whole http or https address, without user and password",),
    ),
    "url that asks the service": (
        check(http={"url": "https://partner.example/"}),
        ("a check with an address of its own asks a dependency: set scope: Dependency",),
    ),
    "dependency without an address": (
        check(scope="Dependency", http={"path": "/"}),
        ("a check of scope Dependency needs an address of its own",),
    ),
    "redis in two places": (
        check(scope="Dependency", redis={"address": "a:1", "cluster": {"addresses": ["b:1"]}}),
        ("a redis check needs one place",),
    ),
    "quorum without sentinels": (
        check(scope="Dependency", redis={"address": "a:1", "verify": ["Quorum"]}),
        ("verify Quorum asks Sentinels",),
    ),
    "stream of nowhere": (
        check(scope="Dependency", redisStream={"redis": "other", "stream": "s"}),
        ("redisStream.redis must be the name of a redis check",),
    ),
    "policy of two rules": (
        {"restart": {"policies": [{"name": "p", "uptime": {}, "cpu": {"above": "80%"}}]}},
        ("a policy has exactly one rule",),
    ),
    "policy about no check": (
        {"restart": {"policies": [{"name": "p", "check": {"name": "ready"}}]}},
        ("a check policy names a check of scope Pod in health.checks",),
    ),
    "flag about no dependency": (
        {"degradation": {"flags": [{"name": "f", "check": "ready"}]}},
        ("a flag names a check of scope Dependency in health.checks",),
    ),
    "flag that is never on": (
        {"degradation": {"flags": [{"name": "f", "check": "ready", "minDegraded": "0s"}]}},
        ("minDegraded must be at least 1s",),
    ),
    "dead letters in the stream itself": (
        {
            "health": {
                "checks": [
                    {"name": "cache", "scope": "Dependency", "redis": {"address": "r:6379"}},
                    {
                        "name": "jobs",
                        "scope": "Dependency",
                        "redisStream": {"redis": "cache", "stream": "jobs", "deadLetter": {"stream": "jobs"}},
                    },
                ]
            }
        },
        ("must be another stream than redisStream.stream",),
    ),
    "window that never opens": (
        {"restart": {"windows": [{"schedule": "at night", "duration": "1h"}]}},
        ("write a cron schedule: minute hour day month weekday",),
    ),
    "onChange of no object": (
        {"restart": {"onChange": [{"kind": "Secret"}]}},
        ("spec.restart.onChange[0]", "name one object by kind and name, or set mounted: true without them"),
    ),
    "onChange of one object and of all": (
        {"restart": {"onChange": [{"kind": "Secret", "name": "token", "mounted": True}]}},
        ("spec.restart.onChange[0]", "name one object by kind and name, or set mounted: true without them"),
    ),
    "onChange that ignores what it names": (
        {"restart": {"onChange": [{"kind": "Secret", "name": "token", "ignore": ["token"]}]}},
        ("spec.restart.onChange[0]", "set mounted: true, or remove ignore"),
    ),
    "line in words": (
        {"restart": {"policies": [{"name": "p", "memory": {"above": "ninety"}}]}},
        ('write a share ("90%") or an amount',),
    ),
    "bounds that are none": (
        check(prometheus={"query": "up", "warning": {}}),
        ("health.checks[0].prometheus.warning", "bounds are missing: set above, below or both"),
    ),
    "critical before the warning": (
        check(prometheus={"query": "up", "warning": {"above": "10"}, "critical": {"above": "9.5"}}),
        ("a warning comes first",),
    ),
    "critical before the warning, in short": (
        check(http={"path": "/", "json": {"field": "n", "warning": {"below": "1"}, "below": "2"}}),
        ("a warning comes first",),
    ),
    "bounds that nothing passes": (
        check(prometheus={"query": "up", "warning": {"above": "1"}, "critical": {"below": "2"}}),
        ("no value would pass",),
    ),
    "critical in two places": (
        check(prometheus={"query": "up", "above": "1", "critical": {"below": "0"}}),
        ("above and below are short for critical.above and critical.below",),
    ),
    "value that nothing passes": (
        check(scope="Dependency", postgres={"dsnFrom": SECRET, "value": {"critical": {"above": "1", "below": "2"}}}),
        ("no value would pass",),
    ),
    "latency of a query to Prometheus": (
        check(prometheus={"query": "up", "above": "1"}, latency={"warning": "1s"}),
        ("a prometheus or usage check asks neither",),
    ),
    "latency that is critical first": (
        check(http={"path": "/"}, latency={"warning": "2s", "critical": "1s"}),
        ("a warning comes first",),
    ),
    "pending entries that are critical first": (
        {
            "health": {
                "checks": [
                    {"name": "cache", "scope": "Dependency", "redis": {"address": "r:6379"}},
                    {
                        "name": "jobs",
                        "scope": "Dependency",
                        "redisStream": {"redis": "cache", "stream": "s", "pending": {"warning": 9, "critical": 8}},
                    },
                ]
            }
        },
        ("a warning comes first",),
    ),
    "check that never rests": (check(http={"path": "/"}, interval="500ms"), ("interval must be at least 1s",)),
    "check that takes longer than its interval": (
        check(http={"path": "/"}, interval="1s", timeout="2s"),
        ("a check's timeout must be at most its interval",),
    ),
    "check that takes for ever": (check(http={"path": "/"}, timeout="31s"), ("timeout must be at most 30s",)),
    "check of no type": (check(), ("spec.health.checks[0]", ONE_TYPE)),
    "two checks of one name": (
        {"health": {"checks": [{"name": "a", "tcp": {}}, {"name": "a", "tcp": {}}]}},
        ("spec.health.checks[1]: Duplicate value",),
    ),
    "check name with an underscore": (
        {"health": {"checks": [{"name": "is_ready", "tcp": {}}]}},
        ("spec.health.checks[0].name", "use lower-case letters, digits and '-'"),
    ),
    "pod check without a port": (check(scope="Pod", tcp={}), ("a check of scope Pod needs a port",)),
    "port in quotes": (check(http={"path": "/", "port": "8080"}), ("http.port", PORT)),
    "port out of range": (check(http={"path": "/", "port": 80800}), ("http.port", PORT)),
    "path without a slash": (check(http={"path": "readyz"}), ("http.path", "it begins with '/' and has no spaces")),
    "host with a scheme": (check(http={"path": "/", "host": "http://shop"}), ("http.host", "without a scheme")),
    "host of two lines": (check(http={"path": "/", "host": "shop\r\nX-Other: 1"}), ("http.host",)),
    "host as a header": (headers({"name": "HOST", "value": "shop"}), ("set host instead of a header Host",)),
    "header of a connection": (
        headers({"name": "Transfer-Encoding", "value": "chunked"}),
        ("headers of a connection (Connection, Transfer-Encoding, …) cannot be set",),
    ),
    "header of two lines": (headers({"name": "X-A", "value": "1\nX-B: 2"}), ("headers[0].value", "one line of ASCII")),
    "header with a colon": (headers({"name": "X-A:", "value": "1"}), ("headers[0].name", "only letters, digits")),
    "header twice": (
        headers({"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}),
        ("each header can be set once",),
    ),
    "17 headers": (
        headers(*({"name": f"X-{number}", "value": ""} for number in range(17))),
        ("headers: Too many: 17: must have at most 16 items",),
    ),
    "header too long": (headers({"name": "X-A", "value": "a" * 1025}), ("headers[0].value", "1024")),
    "probe of no check": (
        {"probes": {"readiness": {"check": "redy"}}},
        ("probes.readiness.check must be the name of a check in health.checks",),
    ),
    "probe that the kubelet cannot run": (
        {**check(http={"path": "/", "expectStatus": [204]}), "probes": {"startup": {"check": "ready"}}},
        ("probes.startup.check: the kubelet only asks for a status of 200 to 399; name a check without expectStatus",),
    ),
    "service check without a service": (
        {"service": None},
        ("needs spec.service; set it, or give the check scope: Pod",),
    ),
    "check of two types, one a query": (check(tcp={}, prometheus={"query": "up", "below": "1"}), (ONE_TYPE,)),
    "query of scope Pod": (
        check(scope="Pod", prometheus={"query": "up", "below": "1"}),
        ("a prometheus check asks no pod and no dependency: take scope away",),
    ),
    "query without a bound": (check(prometheus={"query": "up"}), ("needs a bound: set warning, critical or both",)),
    "query with its bounds mixed up": (
        check(prometheus={"query": "up", "above": "0", "below": "1"}),
        ("no value would pass",),
    ),
    "query of nothing": (check(prometheus={"query": "", "above": "1"}), ("prometheus.query",)),
    "query too long": (check(prometheus={"query": "x" * 2049, "above": "1"}), ("prometheus.query", "2048")),
    "bound as a number": (
        check(prometheus={"query": "up", "above": 1}),
        ("prometheus.above", "must be of type string"),
    ),
    "bound in percent": (
        check(prometheus={"query": "up", "above": "5%"}),
        ("prometheus.above", 'write a number as text, in quotes: "0.05"'),
    ),
    "probe that asks Prometheus": (
        {**check(prometheus={"query": "up", "below": "1"}), "probes": {"liveness": {"check": "ready"}}},
        ("probes.liveness.check: the kubelet only speaks to its own pods; name an http, tcp or grpc check",),
    ),
    "verify without a service": ({"service": None, "health": None, "verify": {}}, ("spec.verify needs spec.service",)),
    "33 checks": (
        {"health": {"checks": [{"name": f"c{number}", "tcp": {}} for number in range(33)]}},
        ("spec.health.checks: Too many: 33: must have at most 32 items",),
    ),
}

ACCEPTED: dict[str, Spec] = {
    "the least": {"targetRef": {"kind": "StatefulSet", "name": "db.main"}},
    "the usual": GOOD,
    "everything": FULL,
    "null means absent": {**GOOD, "health": None, "service": None, "drain": {"preStop": None}},
    "a query needs no service": {
        "targetRef": {"kind": "Deployment", "name": "checkout"},
        **check(prometheus={"query": "up", "below": "1"}),
    },
    "a url is a whole address": {
        **GOOD,
        **check(scope="Dependency", http={"url": "https://partner.example:8443/ping?full=1", "tls": {}}),
    },
    "a url behind a proxy and a login": {
        **GOOD,
        **check(
            scope="Dependency",
            http={
                "url": "https://partner.example/ping",
                "proxy": "Always",
                "oauth2": {
                    "tokenUrl": "https://login.example/token",
                    "clientId": "shop",
                    "clientSecretFrom": SECRET,
                    "scopes": ["read"],
                    "endpointParams": [{"name": "audience", "value": "partner"}],
                    "tls": {"caFrom": SECRET},
                },
            },
        ),
    },
    "a silence": {
        **GOOD,
        "alerts": {
            "silences": [
                {
                    "matchers": ['check=~"mem.*"'],
                    "author": "Ada",
                    "reason": "known",
                    "until": "2026-12-01T08:00:00+01:00",
                }
            ]
        },
    },
    "what it depends on": {
        **GOOD,
        "health": {
            "checks": [
                {"name": "db", "scope": "Dependency", "postgres": {"dsnFrom": SECRET, "maxConnectionUse": "80%"}},
                {
                    "name": "cache",
                    "scope": "Dependency",
                    "redis": {
                        "sentinel": {"addresses": ["redis-0:26379"], "masterName": "mymaster"},
                        "passwordFrom": SECRET,
                        "verify": ["Role", "Write", "Quorum"],
                    },
                },
                {
                    "name": "jobs",
                    "scope": "Dependency",
                    "redisStream": {"redis": "cache", "stream": "jobs", "group": "workers"},
                },
                {"name": "memory", "scope": "Pod", "usage": {"memory": {"critical": "95%"}, "of": "Limit"}},
                {"name": "name", "scope": "Dependency", "dns": {"name": "db.shop.svc"}},
                {"name": "queue", "scope": "Dependency", "tcp": {"host": "kafka", "port": 9092}},
            ]
        },
    },
    "policies": {
        **GOOD,
        "restart": {
            "windows": [{"schedule": "0 2 * * *", "duration": "3h", "timeZone": "Europe/London"}],
            "budget": {"max": 10, "per": "1h"},
            "onChange": [
                {"kind": "ConfigMap", "name": "checkout-config"},
                {"kind": "Secret", "name": "checkout-token", "optional": True},
                {"mounted": True, "ignore": ["certificate"]},
            ],
            "policies": [
                {"name": "leak", "memory": {"above": "90%", "for": "5m"}},
                {"name": "oom", "memorySlope": {"limitWithin": "2h"}},
                {"name": "spin", "cpu": {"above": "750m"}},
                {"name": "aged", "uptime": {}},
                {"name": "flappy", "containerRestarts": {"above": 5}, "dryRun": True},
            ],
        },
    },
    "bounds by severity and a pace of its own": {
        **GOOD,
        "health": {
            "checks": [
                {
                    "name": "hits",
                    "interval": "1m",
                    "timeout": "5s",
                    "failureThreshold": 2,
                    "successThreshold": 1,
                    "prometheus": {"query": "up", "warning": {"below": "0.5"}},
                },
                {
                    "name": "errors",
                    "prometheus": {"query": "up", "warning": {"above": "0.01"}, "critical": {"above": "0.05"}},
                },
                {
                    "name": "queue",
                    "latency": {"warning": "500ms", "critical": "1.5s"},
                    "http": {
                        "path": "/",
                        "json": {"field": "n", "above": "9", "below": "-9", "warning": {"above": "8", "below": "-8"}},
                    },
                },
                {
                    "name": "db",
                    "scope": "Dependency",
                    "latency": {"critical": "1s"},
                    "postgres": {
                        "dsnFrom": SECRET,
                        "query": "SELECT count(*) FROM jobs",
                        "value": {"warning": {"above": "100"}, "critical": {"above": "1000"}},
                    },
                },
                {"name": "cache", "scope": "Dependency", "redis": {"address": "r:6379"}},
                {
                    "name": "jobs",
                    "scope": "Dependency",
                    "redisStream": {
                        "redis": "cache",
                        "stream": "s",
                        "group": "g",
                        "length": {"warning": 10, "critical": 10},
                        "lag": {"warning": "1m", "critical": "5m"},
                        "pending": {"critical": 5},
                        "maxLength": 10000,
                    },
                },
            ]
        },
    },
    "no preStop": {**GOOD, "drain": {"preStop": "0s"}},
}


def changed(changes: Spec) -> Spec:
    spec = {**copy.deepcopy(GOOD), **changes}
    return {key: value for key, value in spec.items() if value is not None}


def full_status() -> Status:
    now = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    long, short = timedelta(hours=1, minutes=30), timedelta(milliseconds=12)
    requests = Requests(sent=1000, failed=0, p99=short)
    objective = SloStatus(
        since=now,
        summary="99.95%, 50% of budget left",
        availability="99.9500%",
        measured="99.9600%",
        budget_left="50%",
        burn_rate="0.5",
        last_recovery=long,
        outages=[Outage(began=now, ended=now, reason="ready: 503", replication_lag=short), Outage(began=now)],
        days=[DayOfOutages(day="2026-01-01", down=long)],
    )
    running = RestartStatus(
        request="now",
        trace_id="t1",
        started_at=now,
        born_before=now,
        total=3,
        pods=[ReplacementStatus(name="pod", step=ReplaceStep.DRAINING, since=now, connections=4)],
        requests=requests,
        kept_connections_cut=0,
    )
    ended = RestartResult(
        request="now",
        trace_id="t0",
        result=RestartOutcome.SUCCEEDED,
        started_at=now,
        duration=long,
        requests=requests,
    )
    entry = HistoryEntry(at=now, kind="Restart", result="Succeeded", message="3 pods", trace_id="t0", duration=long)
    alert = FiringAlert(
        name=AlertName.DEPENDENCY_LOST,
        subject="cache",
        severity=Severity.CRITICAL,
        since=now,
        message="gone",
        cause="redis",
        receivers=["team"],
    )
    return Status(
        observed_generation=1,
        phase=Phase.RUNNING,
        first_healthy_at=now,
        explanation="All is well.",
        effective=Effective(interval=long, timeout=short, pre_stop=long, grace_period=long, propagation_delay=short),
        last_readable=LastReadable(rollout='{"strategy":"BlueGreen"}', drain="{}"),
        conditions=[
            Condition(type="Degraded", status="False", last_transition_time=now, reason="Fine", message="m"),
            Condition(type="AlertsDelivered", status="Unknown", last_transition_time=now, reason="NobodyToTell"),
        ],
        health=HealthStatus(
            state=HealthState.WARNING,
            checks=[CheckStatus(name="ready", state=HealthState.WARNING, since=now, latency=short)],
        ),
        rollout=RolloutStatus(
            step="Complete",
            progress=100,
            resumed_by="kubectl-rollout",
            pods_ended=1,
            failed_before=FailedBefore(
                requests="answered 400",
                checks=[FailingCheck(name="ready", reason="OutOfBounds", figure="0.06", components=["db"])],
            ),
        ),
        restart=running,
        restarts=RestartsStatus(
            summary="1 of 10 this hour",
            contents=[ContentStatus(kind="ConfigMap", name="settings", fingerprint="1a2b-3c4d", changed_at=now)],
        ),
        last_restart=ended,
        alerts=AlertsStatus(firing=[alert], suppressed=3, undelivered=1, last_error="it answered 404"),
        slo=objective,
        history=[entry, entry],
        handled=[Handled(request="restart", value="now", at=now, note="done")],
    )
