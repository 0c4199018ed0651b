"""Probes of dependencies, made from the addresses and Secrets of the spec.

Probes can be compared: equal probes share one check and one connection, across all services.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from resilience.api.bounds import CountBounds
from resilience.api.checks import Check, HttpCheck, Scheme
from resilience.api.dependency_checks import PostgresCheck, RedisCheck, RedisStreamCheck
from resilience.api.http import Authenticated, ProxyUse
from resilience.api.secrets import FromSecret, Tls
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import bounds, hosts, quantities
from resilience.core.model.bounds import Levels
from resilience.core.model.destinations import DeadLetters
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

_CONNECTION_USE: Final = "80%"
# Of a stream, unless the check says more: entries and pending entries that warn, and a lag that is critical.
_LENGTH: Final = 10_000
_PENDING: Final = 1000
_LAG: Final = timedelta(minutes=5)


def probe(check: Check, spec: ResilientServiceSpec, *, namespace: str) -> Probe | None:
    """The probe; None when the check is not of a dependency, or names a redis check that no longer exists."""
    if check.http is not None and check.http.url is not None:
        return _at_url(check.http, check.http.url, namespace)
    if check.postgres is not None:
        return _postgres(check.postgres, namespace)
    if check.redis is not None:
        return _redis(check.redis, namespace)
    if check.redis_stream is not None:
        return _stream(check.redis_stream, spec, namespace)
    if check.dns is not None:
        return DnsProbe(check.dns.name, check.dns.min_addresses)
    if check.tcp is not None and check.tcp.host is not None:
        return TcpProbe(check.tcp.host, int(check.tcp.port or 0))
    if check.grpc is not None and check.grpc.host is not None:
        return GrpcProbe(check.grpc.host, int(check.grpc.port or 0), check.grpc.service)
    return None


def http_probe(check: HttpCheck, target: HttpTarget, *, namespace: str, trust: TlsTrust | None = None) -> HttpProbe:
    """The probe of an http check for this address."""
    number = None
    if check.json_ is not None:
        number = (check.json_.field, bounds.of_number(check.json_))
    return HttpProbe(
        target,
        frozenset(check.expect_status or ()),
        components=check.components,
        number=number,
        headers=secret(check.headers_from, namespace),
        trust=trust,
        login=login(check, namespace),
    )


def _at_url(check: HttpCheck, url: str, namespace: str) -> HttpProbe:
    # The pattern of the field admits no other URLs.
    target = replace(HttpTarget.at(url), host_header=check.host or "", headers=hosts.plain_headers(check))
    verified = trust(check.tls or Tls(), namespace) if target.scheme is Scheme.HTTPS else None
    probe = http_probe(check, target, namespace=namespace, trust=verified)
    return replace(probe, proxy=check.proxy or ProxyUse.OUTSIDE)


def _postgres(check: PostgresCheck, namespace: str) -> PostgresProbe:
    dsn = check.dsn_from.secret_key_ref
    return PostgresProbe(
        dsn=SecretRef(namespace, dsn.name, dsn.key),
        query=check.query,
        max_connection_use=quantities.share(check.max_connection_use or _CONNECTION_USE),
        max_waiting=check.max_waiting,
        max_lag=check.max_replication_lag,
        trust=trust(check.tls, namespace),
        levels=None if check.value is None else bounds.of_number(check.value),
    )


def _redis(check: RedisCheck, namespace: str) -> RedisProbe:
    service = _host_port(check.master_service) if check.master_service is not None else None
    return RedisProbe(_place(check, namespace), frozenset(check.verify), check.max_lag, service)


def _place(check: RedisCheck, namespace: str) -> RedisPlace:
    sentinel, cluster = check.sentinel, check.cluster
    if sentinel is not None:
        kind, addresses = RedisKind.SENTINEL, sentinel.addresses
    elif cluster is not None:
        kind, addresses = RedisKind.CLUSTER, cluster.addresses
    else:
        kind, addresses = RedisKind.STANDALONE, [check.address or ""]
    return RedisPlace(
        kind=kind,
        addresses=tuple(map(_host_port, addresses)),
        master_name=sentinel.master_name if sentinel is not None else "",
        database=check.database,
        username=secret(check.username_from, namespace),
        password=secret(check.password_from, namespace),
        sentinel_password=secret(sentinel.password_from, namespace) if sentinel is not None else None,
        trust=trust(check.tls, namespace),
    )


def _stream(check: RedisStreamCheck, spec: ResilientServiceSpec, namespace: str) -> RedisStreamProbe | None:
    redis = next((other.redis for other in spec.health.checks if other.name == check.redis), None)
    if redis is None:
        return None
    return RedisStreamProbe(
        place=_place(redis, namespace),
        stream=check.stream,
        group=check.group or "",
        length=_count(check.length, check.max_length or _LENGTH),
        lag=_lag(check),
        pending=_count(check.pending, check.max_pending or _PENDING),
        dead_letter=check.dead_letter.stream if check.dead_letter is not None else "",
    )


def _count(wanted: CountBounds | None, usual_warning: int) -> Levels:
    wanted = wanted or CountBounds()
    return bounds.largest(wanted.warning, wanted.critical, usual_warning=usual_warning)


def _lag(check: RedisStreamCheck) -> Levels:
    own, usual = bounds.of_latency(check.lag), (check.max_lag or _LAG).total_seconds()
    return bounds.largest(own.warning.above, own.critical.above, usual_critical=usual)


def dead_letters(check: RedisStreamCheck, spec: ResilientServiceSpec, *, namespace: str) -> DeadLetters | None:
    """Dead letters of a stream that may be replayed; None when it has none, or its redis check no longer exists."""
    redis = next((other.redis for other in spec.health.checks if other.name == check.redis), None)
    letters = check.dead_letter
    if redis is None or letters is None:
        return None
    return DeadLetters(_place(redis, namespace), check.stream, letters.stream, letters.max_age, letters.batch)


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    # Servers tell their IPv6 addresses without brackets, and those have to equal these.
    return host.removeprefix("[").removesuffix("]"), int(port)


def secret(source: FromSecret | None, namespace: str) -> SecretRef | None:
    """A reference to a key of a Secret in this namespace; None without a source."""
    return None if source is None else SecretRef(namespace, source.secret_key_ref.name, source.secret_key_ref.key)


def login(settings: Authenticated, namespace: str) -> HttpLogin:
    """The login of a request, with Secrets of this namespace."""
    client = settings.oauth2
    if client is None:
        return HttpLogin(basic=secret(settings.basic_auth_from, namespace))
    ref = client.client_secret_from.secret_key_ref
    return HttpLogin(
        oauth2=OAuth2(
            token_url=client.token_url,
            client_id=client.client_id,
            secret=SecretRef(namespace, ref.name, ref.key),
            scopes=tuple(client.scopes),
            params=tuple((param.name, param.value) for param in client.endpoint_params),
            trust=trust(client.tls, namespace),
        )
    )


def trust(tls: Tls | None, namespace: str) -> TlsTrust | None:
    """The verification of a certificate; None when the spec has no TLS settings."""
    return None if tls is None else TlsTrust(secret(tls.ca_from, namespace), tls.server_name or "")
