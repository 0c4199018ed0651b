"""What the runtime asks over the network: checks, and addresses of pods and Services. Equal ones are asked once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

from resilience.api.checks import Scheme
from resilience.api.dependency_checks import RedisVerify
from resilience.api.reasons import HealthState


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A key of a Secret, read just before it is used."""

    namespace: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class TlsTrust:
    """TLS with a verified certificate: by the authorities in `ca`, else the system's; for `server_name` if given."""

    ca: SecretRef | None = None
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """An HTTP address. `secret` names a Secret and key that hold further headers."""

    host: str
    port: int
    path: str
    scheme: Scheme = Scheme.HTTP
    secret: tuple[str, str] | None = None

    @classmethod
    def at(cls, url: str) -> Self:
        """What an http or https URL points at. Whether there is such a port is for whoever looks the address up.

        Raises:
            ValueError: it is no such URL, or says more: a user, a password, a fragment.
        """
        parts = urlsplit(url)
        _, colon, digits = parts.netloc.rpartition(":")
        named = bool(colon) and not parts.netloc.endswith("]")
        if not parts.hostname or "@" in parts.netloc or parts.fragment or (named and not digits.isdecimal()):
            raise ValueError("no http or https address, or one with user, password or fragment in it")
        scheme = Scheme(parts.scheme.upper())
        port = int(digits) if named else (443 if scheme is Scheme.HTTPS else 80)
        return cls(parts.hostname, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), scheme)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number is good when it is neither above `above` nor below `below`."""

    above: float | None = None
    below: float | None = None

    def breach(self, value: float) -> str:
        """How the number is out of bounds, in words; empty when it is not."""
        if self.above is not None and value > self.above:
            return f"{value:g} is above {self.above:g}"
        if self.below is not None and value < self.below:
            return f"{value:g} is below {self.below:g}"
        return ""


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """An HTTP health check; healthy when the status is one of `expect`, or 200–399 when that is empty.

    `components`: the body's own component results count. `number`: path of a number in the JSON body, with its bounds.
    `trust`: verify the certificate; None for pods and Services, which are not verified.
    """

    target: HttpTarget
    expect: frozenset[int] = frozenset()
    components: bool = False
    number: tuple[str, Bounds] | None = None
    headers: SecretRef | None = None
    trust: TlsTrust | None = None


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
    """A query, its namespace forced; unhealthy when any value of the answer is out of bounds, unknown without data."""

    query: str
    namespace: str
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class PostgresProbe:
    """A PostgreSQL server. `max_connection_use` is a share, 0 to 1; None: replication lag is not looked at."""

    dsn: SecretRef
    query: str
    max_connection_use: float
    max_waiting: int
    max_lag: timedelta | None = None
    trust: TlsTrust | None = None


class RedisKind(StrEnum):
    """How a Redis is found."""

    STANDALONE = "Standalone"
    SENTINEL = "Sentinel"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Where a Redis is: itself, its Sentinels or some nodes of its cluster, and the credentials."""

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
    """A Redis; healthy when it answers PING and what is to be verified."""

    place: RedisPlace
    verify: frozenset[RedisVerify]
    max_lag: timedelta
    # Host and port of a Service that should lead to the master.
    master_service: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class RedisStreamProbe:
    """A stream as a queue. Without a group only the length counts."""

    place: RedisPlace
    stream: str
    group: str
    max_length: int
    max_lag: timedelta
    max_pending: int
    # Key of the stream with entries that nobody could deal with; empty for none.
    dead_letter: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters that may go back to their stream, `batch` at once, unless they are older than `max_age`."""

    place: RedisPlace
    stream: str
    dead_letter: str
    max_age: timedelta
    batch: int


@dataclass(frozen=True, slots=True)
class DnsProbe:
    """A name that has to have addresses."""

    name: str
    min_addresses: int


class Measure(StrEnum):
    """What of a container is measured. Memory in bytes, CPU in cores."""

    MEMORY = "memory"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Lines for one measure: above `critical` it fails, above `warning` it warns; `whole` is what is 100 %."""

    measure: Measure
    warning: float | None
    critical: float | None
    whole: float | None = None


@dataclass(frozen=True, slots=True)
class UsageProbe:
    """What a container uses, by metrics.k8s.io, against lines. Figures from before `born` are another pod's."""

    namespace: str
    pod: str
    container: str
    lines: tuple[UsageLine, ...]
    born: datetime | None = None


@dataclass(frozen=True, slots=True)
class SlopeProbe:
    """Fails when the container's memory, growing as it does, reaches `limit` (bytes) within `within`."""

    namespace: str
    pod: str
    # A StatefulSet makes the name again, but its memory begins anew.
    pod_uid: str
    container: str
    limit: float
    within: timedelta


@dataclass(frozen=True, slots=True)
class ContentProbe:
    """The content of ConfigMaps and Secrets, by kind and name, as one fingerprint; unknown while one is missing."""

    namespace: str
    objects: tuple[tuple[str, str], ...]


NetworkProbe = (
    HttpProbe | TcpProbe | GrpcProbe | PrometheusProbe | PostgresProbe | RedisProbe | RedisStreamProbe | DnsProbe
)
# What is asked by way of the Kubernetes API.
MeasuredProbe = UsageProbe | SlopeProbe | ContentProbe
Probe = NetworkProbe | MeasuredProbe


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """One thing to check: a check of the spec at the Service, at one pod, or at a dependency."""

    check: str
    probe: Probe
    # Empty unless the scope is Pod.
    pod_uid: str
    interval: timedelta
    timeout: timedelta
    failure_threshold: int
    success_threshold: int
    # For so long it has to fail, besides, before that counts.
    sustained: timedelta = timedelta()
    # Whether the first failure and the first success in a row are news, too.
    rows: bool = False
    # What is taken to be so before the first result.
    assumed: HealthState = HealthState.UNKNOWN


@dataclass(frozen=True, slots=True)
class VerifyTarget:
    """Requests to send through the Service while something is replaced."""

    target: HttpTarget
    requests_per_second: int
    # What an earlier process had counted when this one begins.
    already_sent: int = 0
    already_failed: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionsTarget:
    """Where a draining pod tells how many connections it has; `field` is a path into its JSON, by dots."""

    target: HttpTarget
    field: str
