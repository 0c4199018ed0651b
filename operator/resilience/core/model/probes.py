"""Probes that the runtime sends over the network, and addresses of pods and Services. Equal probes run once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

from resilience.api.checks import Scheme
from resilience.api.dependency_checks import RedisVerify
from resilience.api.http import ProxyUse
from resilience.api.reasons import HealthState
from resilience.core.model.bounds import NO_LEVELS, Levels


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A key of a Secret, read just before it is used."""

    namespace: str
    name: str
    key: str

    @property
    def place(self) -> str:
        """The place of the value, for people in its namespace."""
        return f"key {self.key!r} of Secret {self.name!r}"


@dataclass(frozen=True, slots=True)
class TlsTrust:
    """TLS whose certificate is verified by the authorities in `ca`, else the system's, for `server_name` if given."""

    ca: SecretRef | None = None
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class OAuth2:
    """A client of an OAuth2 server, and the token that it wants; `params` are further names and values."""

    token_url: str
    client_id: str
    secret: SecretRef
    scopes: tuple[str, ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    trust: TlsTrust | None = None


@dataclass(frozen=True, slots=True)
class HttpLogin:
    """The way in which a request says who asks: by `user:password` in a Secret, by a token, or not at all."""

    basic: SecretRef | None = None
    oauth2: OAuth2 | None = None


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """An HTTP address, and what a request to it says besides the path.

    `host_header` is empty for the address itself. `secret` names a Secret and its key that contain further headers.
    """

    host: str
    port: int
    path: str
    scheme: Scheme = Scheme.HTTP
    secret: tuple[str, str] | None = None
    host_header: str = ""
    # Names and values.
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def at(cls, url: str) -> Self:
        """The target of an http or https URL. The code that resolves the address validates the port number.

        Raises:
            ValueError: the URL has another form, or has a user, a password or a fragment.
        """
        parts = urlsplit(url)
        _, colon, digits = parts.netloc.rpartition(":")
        has_port = bool(colon) and not parts.netloc.endswith("]")
        if not parts.hostname or "@" in parts.netloc or parts.fragment or (has_port and not digits.isdecimal()):
            raise ValueError("no http or https address, or one with user, password or fragment in it")
        scheme = Scheme(parts.scheme.upper())
        port = int(digits) if has_port else (443 if scheme is Scheme.HTTPS else 80)
        return cls(parts.hostname, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), scheme)


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """An HTTP health check; healthy when the status is one of `expect`, or 200–399 when that is empty.

    `components`: the body's own component results count. `number`: path of a number in the JSON body, with its bounds.
    `trust`: verify the certificate; None for pods and Services, which are not verified.
    """

    target: HttpTarget
    expect: frozenset[int] = frozenset()
    components: bool = False
    number: tuple[str, Levels] | None = None
    headers: SecretRef | None = None
    trust: TlsTrust | None = None
    # Pods and Services are never behind a proxy.
    proxy: ProxyUse = ProxyUse.NEVER
    login: HttpLogin = HttpLogin()


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """A TCP health check."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class GrpcProbe:
    """A gRPC health check."""

    host: str
    port: int
    service: str


@dataclass(frozen=True, slots=True)
class PrometheusProbe:
    """A query forced into one namespace; unhealthy when any value of it is out of bounds, unknown without data."""

    query: str
    namespace: str
    levels: Levels = NO_LEVELS


@dataclass(frozen=True, slots=True)
class PostgresProbe:
    """A PostgreSQL server. `max_connection_use` is a share, 0 to 1; `max_lag` None: replication lag is not checked.

    `levels` None: what the query returns does not count.
    """

    dsn: SecretRef
    query: str
    max_connection_use: float
    max_waiting: int
    max_lag: timedelta | None = None
    trust: TlsTrust | None = None
    levels: Levels | None = None


class RedisKind(StrEnum):
    """Topology of a Redis, which decides how its master is located."""

    STANDALONE = "Standalone"
    SENTINEL = "Sentinel"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Addresses of a Redis, of its Sentinels or of some nodes of its cluster, and the credentials."""

    kind: RedisKind
    addresses: tuple[tuple[str, int], ...]
    master_name: str = ""
    database: int = 0
    username: SecretRef | None = None
    password: SecretRef | None = None
    sentinel_password: SecretRef | None = None
    trust: TlsTrust | None = None


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """A Redis; healthy when it answers PING and passes the verifications in `verify`."""

    place: RedisPlace
    verify: frozenset[RedisVerify]
    max_lag: timedelta
    # Host and port of a Service that should route to the master.
    master_service: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class RedisStreamProbe:
    """A stream that serves as a queue. Without a group only the length counts. `lag` is in seconds."""

    place: RedisPlace
    stream: str
    group: str
    length: Levels
    lag: Levels
    pending: Levels
    # Key of the stream with entries that no consumer could process; empty for none.
    dead_letter: str = ""


@dataclass(frozen=True, slots=True)
class DnsProbe:
    """A name that has to resolve to at least `min_addresses` addresses."""

    name: str
    min_addresses: int


class Measure(StrEnum):
    """Measured resource of a container. Memory is in bytes, CPU in cores."""

    MEMORY = "memory"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Limits of one measure: above `critical` it fails, above `warning` it warns; `whole` is 100 %."""

    measure: Measure
    warning: float | None
    critical: float | None
    whole: float | None = None


@dataclass(frozen=True, slots=True)
class UsageProbe:
    """Usage of a container, from metrics.k8s.io, against limits. Figures from before `born` belong to another pod."""

    namespace: str
    pod: str
    container: str
    lines: tuple[UsageLine, ...]
    born: datetime | None = None


@dataclass(frozen=True, slots=True)
class SlopeProbe:
    """Growth of a container's memory. It fails when memory will reach `limit` (bytes) within `within` at this rate."""

    namespace: str
    pod: str
    # A StatefulSet uses the name again for a new pod, whose memory starts afresh.
    pod_uid: str
    container: str
    limit: float
    within: timedelta


@dataclass(frozen=True, slots=True)
class ContentProbe:
    """The content of a ConfigMap or Secret, as a fingerprint. One that is missing has none, unless it is optional."""

    namespace: str
    kind: str
    name: str
    optional: bool = False


NetworkProbe = (
    HttpProbe | TcpProbe | GrpcProbe | PrometheusProbe | PostgresProbe | RedisProbe | RedisStreamProbe | DnsProbe
)
# Probes that read from the Kubernetes API.
MeasuredProbe = UsageProbe | SlopeProbe | ContentProbe
Probe = NetworkProbe | MeasuredProbe


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """One target of a check of the spec: the Service, one pod, or a dependency."""

    check: str
    probe: Probe
    # Empty unless the scope is Pod.
    pod_uid: str
    interval: timedelta
    timeout: timedelta
    failure_threshold: int
    success_threshold: int
    # Bounds of the time, in seconds, in which the target answers.
    latency: Levels = NO_LEVELS
    # The interval is the check's own: it also holds while the target is down.
    fixed: bool = False
    # Time for which it also has to fail before the failure counts.
    sustained: timedelta = timedelta()
    # True when the first failure and the first success in a row trigger a pass, too.
    rows: bool = False
    # State before the first result.
    assumed: HealthState = HealthState.UNKNOWN
    # False when it has never passed: until the application answers, failures may be ours (`health.reach`).
    proven: bool = True
    # Identity of what the check asks pods or a Service, by the spec; empty for other checks.
    question: str = ""
