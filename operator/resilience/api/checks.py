"""Health checks of the service, of its pods and of its dependencies."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from resilience.api.base import ApiModel, list_map, rule, validated
from resilience.api.bounds import WITH_SHORT_FORM, Bounds, DurationBounds
from resilience.api.dependency_checks import DnsCheck, PostgresCheck, RedisCheck, RedisStreamCheck
from resilience.api.http import ONE_LOGIN, Authenticated, HttpRequest, Proxied
from resilience.api.restarts import Of
from resilience.api.rules import at_least, at_most, compared
from resilience.api.scalars import (
    Amount,
    Decimal,
    Duration,
    HttpPath,
    HttpUrl,
    Label,
    ObjectName,
    Port,
    format_duration,
)
from resilience.api.secrets import HeadersFrom, Tls

# Bounds of what a check may take from the others; `core/model/profiles.py` applies them to what is stored already.
SHORTEST_INTERVAL = timedelta(seconds=1)
LONGEST_TIMEOUT = timedelta(seconds=30)

_Threshold = Annotated[int, Field(ge=1, le=100)]

CHECK_KINDS = ("http", "tcp", "grpc", "prometheus", "postgres", "redis", "redisStream", "dns", "usage")
_DEPENDENCIES = ("postgres", "redis", "redisStream", "dns")
_BOUNDS = "has(self.warning) || has(self.critical) || has(self.above) || has(self.below)"
_ANY_DEPENDENCY = " || ".join(f"has(self.{kind})" for kind in _DEPENDENCIES)
_HAS_HOST = " || ".join(
    (
        "(has(self.http) && has(self.http.url))",
        "(has(self.tcp) && has(self.tcp.host))",
        "(has(self.grpc) && has(self.grpc.host))",
    )
)


class Scope(StrEnum):
    """Subject of a check: the Service as its clients reach it, every pod by itself, or a server that they depend on."""

    SERVICE = "Service"
    POD = "Pod"
    DEPENDENCY = "Dependency"


class Scheme(StrEnum):
    """URL scheme of an http check. With HTTPS the certificate is not verified, as in kubelet probes."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


class JsonNumber(ApiModel):
    """A number in a JSON answer, within bounds."""

    model_config = validated(rule(_BOUNDS, "http.json needs a bound: set warning, critical or both"), *WITH_SHORT_FORM)

    field: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="Path to the number, nested by dots: queue.length."
    )
    warning: Bounds | None = Field(default=None, description="Warning out of these bounds; none by default.")
    critical: Bounds | None = Field(default=None, description="Unhealthy out of these bounds; none by default.")
    above: Decimal | None = Field(default=None, description="Short for critical.above: a number above this fails.")
    below: Decimal | None = Field(default=None, description="Short for critical.below: a number below this fails.")


class HttpCheck(HttpRequest, Proxied, Authenticated):
    """Healthy when a GET answers with an expected status within the time-out; redirects are not followed."""

    model_config = validated(
        rule("has(self.path) != has(self.url)", "an http check has either a path, or (scope: Dependency) a url"),
        rule(
            "!has(self.url) || (!has(self.port) && !has(self.scheme))",
            "http.url says port and scheme itself: take port and scheme away",
        ),
        rule("!has(self.tls) || has(self.url)", "http.tls needs http.url; pods and Services are not verified"),
        rule(
            "!has(self.proxy) || has(self.url)",
            "http.proxy needs http.url; pods and Services are reached directly",
        ),
        ONE_LOGIN,
    )

    path: HttpPath | None = Field(default=None, description="Path of the request.")
    url: HttpUrl | None = Field(default=None, description="Scope Dependency: the whole address. HTTPS is verified.")
    port: Port | None = Field(
        default=None,
        description="Service scope: port of the Service (default spec.service.port). Pod scope: container port.",
    )
    scheme_: Scheme | None = Field(default=None, alias="scheme", description="HTTP (default) or HTTPS.")
    tls: Tls | None = Field(default=None, description="Verification of the certificate of url.")
    headers_from: HeadersFrom | None = Field(
        default=None, description="Headers from a Secret, e.g. for authentication."
    )
    expect_status: list[Annotated[int, Field(ge=100, le=599)]] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Healthy statuses; default 200 to 399, as in kubelet probes.",
    )
    components: bool = Field(
        default=False,
        description="Show and count the components that the application's health body lists; one without any warns.",
    )
    json_: JsonNumber | None = Field(default=None, alias="json", description="A number in the answer, within bounds.")


class TcpCheck(ApiModel):
    """Healthy when a connection can be opened within the time-out."""

    host: ObjectName | None = Field(default=None, description="Scope Dependency: name or IPv4 address.")
    port: Port | None = Field(default=None, description="As for http checks; with host, a number.")


class GrpcCheck(ApiModel):
    """Healthy when the standard gRPC health service answers SERVING."""

    host: ObjectName | None = Field(default=None, description="Scope Dependency: name or IPv4 address.")
    port: Port | None = Field(
        default=None, description="As for http checks; with host, and for a probe, it has to be a number."
    )
    service: Annotated[str, Field(max_length=253)] = Field(
        default="", description="Name of the gRPC service whose health is requested."
    )


class PrometheusCheck(ApiModel):
    """Healthy when every value of the answer is within bounds; Unknown without data. Reads this namespace only."""

    model_config = validated(
        rule(_BOUNDS, "a prometheus check needs a bound: set warning, critical or both"), *WITH_SHORT_FORM
    )

    query: Annotated[str, Field(min_length=1, max_length=2048)] = Field(
        description="PromQL, for one value or few; every selector is limited to this namespace."
    )
    warning: Bounds | None = Field(default=None, description="Warning out of these bounds; none by default.")
    critical: Bounds | None = Field(default=None, description="Unhealthy out of these bounds; none by default.")
    above: Decimal | None = Field(default=None, description="Short for critical.above: a value above this fails.")
    below: Decimal | None = Field(default=None, description="Short for critical.below: a value below this fails.")


class UsageBounds(ApiModel):
    """Thresholds for one resource."""

    warning: Amount | None = Field(
        default=None, description='Warning above this share ("80%") or amount ("512Mi"); the default is the profile\'s.'
    )
    critical: Amount | None = Field(
        default=None,
        description='Unhealthy above this share ("95%") or amount ("512Mi"); the default is the profile\'s.',
    )


class UsageCheck(ApiModel):
    """Usage of the main container, by metrics.k8s.io (metrics-server)."""

    model_config = validated(
        rule("has(self.memory) || has(self.cpu)", "a usage check looks at something: set memory, cpu or both")
    )

    memory: UsageBounds | None = None
    cpu: UsageBounds | None = None
    of: Of = Field(default=Of.LIMIT, description="Base of percentages: Limit or Request.")


class Check(ApiModel):
    """One health check."""

    model_config = validated(
        rule(
            f"[{', '.join(f'has(self.{kind})' for kind in CHECK_KINDS)}].filter(x, x).size() == 1",
            f"a check has exactly one type: set one of {', '.join(CHECK_KINDS[:-1])} or {CHECK_KINDS[-1]}",
        ),
        rule(
            "!has(self.scope) || self.scope == 'Service' || !has(self.prometheus)",
            "a prometheus check asks no pod and no dependency: take scope away; the query says what it is about",
        ),
        rule(
            "!has(self.scope) || self.scope != 'Pod' || has(self.prometheus) || has(self.usage) ||"
            " (has(self.http) && has(self.http.port)) || (has(self.tcp) && has(self.tcp.port)) ||"
            f" (has(self.grpc) && has(self.grpc.port)) || {_ANY_DEPENDENCY} || {_HAS_HOST}",
            "a check of scope Pod needs a port: name or number of a container port",
        ),
        rule(
            f"(has(self.scope) && self.scope == 'Dependency') || !({_ANY_DEPENDENCY} || {_HAS_HOST})",
            "a check with an address of its own asks a dependency: set scope: Dependency",
        ),
        rule(
            f"!has(self.scope) || self.scope != 'Dependency' || {_ANY_DEPENDENCY} || {_HAS_HOST}",
            "a check of scope Dependency needs an address of its own: http.url, or host and port",
        ),
        rule(
            "!has(self.usage) || (has(self.scope) && self.scope == 'Pod')",
            "a usage check looks at every pod: set scope: Pod",
        ),
        *(
            rule(
                f"!has(self.{kind}) || !has(self.{kind}.host) || (has(self.{kind}.port) && type(self.{kind}.port)"
                " == int)",
                f"{kind}.host needs {kind}.port as a number",
            )
            for kind in ("tcp", "grpc")
        ),
        rule(
            "!has(self.latency) || !(has(self.prometheus) || has(self.usage))",
            "latency is the time in which a service or a dependency answers: a prometheus or usage check asks neither",
        ),
        compared("timeout", "<=", "interval", "a check's timeout must be at most its interval"),
        at_least("interval", format_duration(SHORTEST_INTERVAL)),
        at_least("timeout", "100ms"),
        at_most("timeout", format_duration(LONGEST_TIMEOUT)),
    )

    name: Label = Field(description="Unique name of the check.")
    scope: Scope = Field(
        default=Scope.SERVICE,
        description="Service (through the Service), Pod (every pod) or Dependency (a server that they depend on).",
    )
    interval: Duration | None = Field(
        default=None,
        description="Time between two runs, in every phase; at least 1s; default health.interval, and 1s in a gate.",
    )
    timeout: Duration | None = Field(
        default=None, description="A run that takes longer has failed; at most 30s; default health.timeout."
    )
    failure_threshold: _Threshold | None = Field(
        default=None, description="Failures in a row that make it Unhealthy; default health.failureThreshold."
    )
    success_threshold: _Threshold | None = Field(
        default=None, description="Successes in a row that make it Healthy again; default health.successThreshold."
    )
    latency: DurationBounds | None = Field(
        default=None, description="Bounds of the time in which it answers, below the time-out; none by default."
    )
    http: HttpCheck | None = None
    tcp: TcpCheck | None = None
    grpc: GrpcCheck | None = None
    prometheus: PrometheusCheck | None = None
    postgres: PostgresCheck | None = None
    redis: RedisCheck | None = None
    redis_stream: RedisStreamCheck | None = None
    dns: DnsCheck | None = None
    usage: UsageCheck | None = None


class Health(ApiModel):
    """Health checks of the service, and their pace unless they set their own."""

    model_config = validated(
        compared("timeout", "<=", "interval", "health.timeout must be at most health.interval"),
        at_least("interval", format_duration(SHORTEST_INTERVAL)),
        at_least("timeout", "100ms"),
        at_most("timeout", format_duration(LONGEST_TIMEOUT)),
        rule(
            "!has(self.checks) || self.checks.all(c, !has(c.redisStream) || self.checks.exists(r, r.name =="
            " c.redisStream.redis && has(r.redis) && !has(r.redis.cluster)))",
            "redisStream.redis must be the name of a redis check in health.checks (an address or a sentinel)",
        ),
    )

    interval: Duration | None = Field(
        default=None, description="Time between two runs of a check, at least 1s; the default is the profile's."
    )
    timeout: Duration | None = Field(
        default=None, description="A run that takes longer has failed, at most 30s; the default is the profile's."
    )
    failure_threshold: _Threshold = Field(default=3, description="Failures in a row that make a check Unhealthy.")
    success_threshold: _Threshold = Field(
        default=2, description="Successes in a row that make an Unhealthy check Healthy again."
    )
    checks: list[Check] = Field(
        default_factory=list, max_length=32, json_schema_extra=list_map("name"), description="The checks."
    )
