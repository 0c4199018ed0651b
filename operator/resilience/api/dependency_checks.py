"""Checks of a service's dependencies, in the dependency's own protocol."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from resilience.api.base import ApiModel, rule, validated
from resilience.api.bounds import CountBounds, DurationBounds, NumberBounds
from resilience.api.rules import at_least
from resilience.api.scalars import Duration, HostPort, ObjectName, Percent
from resilience.api.secrets import FromSecret, Tls

_Addresses = Annotated[list[HostPort], Field(min_length=1, max_length=16)]
_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}


class PostgresCheck(ApiModel):
    """Healthy when a session answers a query; Warning when the server runs short of connections or lags."""

    model_config = validated(at_least("maxReplicationLag", "1s"))

    dsn_from: FromSecret = Field(
        description="Address and credentials, as postgres://user:password@host:5432/database?sslmode=verify-full."
    )
    tls: Tls | None = Field(default=None, description="Required when sslmode verifies against your own authorities.")
    query: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        default="SELECT 1", description="One statement, run read-only; any answer is healthy, unless value has bounds."
    )
    value: NumberBounds | None = Field(
        default=None, description="Bounds of the number in the first row and column of the answer; none by default."
    )
    max_connection_use: Percent | None = Field(
        default=None, description="Warning above this share of max_connections; default 80%."
    )
    max_waiting: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=5, description="Warning when more sessions than this wait for a lock."
    )
    max_replication_lag: Duration | None = Field(
        default=None,
        description="Warning when a standby of this server is further behind, or this server itself, being one.",
    )


class RedisVerify(StrEnum):
    """Verifications beyond PING."""

    ROLE = "Role"
    WRITE = "Write"
    LAG = "Lag"
    QUORUM = "Quorum"


class Sentinel(ApiModel):
    """A master that Sentinels know."""

    addresses: _Addresses = Field(json_schema_extra=_SET, description="The Sentinels, as host:port.")
    master_name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = Field(
        description="Name of the master, as the Sentinels call it."
    )
    password_from: FromSecret | None = Field(default=None, description="Password of the Sentinels themselves.")


class RedisCluster(ApiModel):
    """A Redis Cluster."""

    addresses: _Addresses = Field(json_schema_extra=_SET, description="Some of its nodes, as host:port.")


class RedisCheck(ApiModel):
    """Healthy when the master answers, says that it is one, and takes a write, as far as that is to be verified."""

    model_config = validated(
        rule(
            "[has(self.address), has(self.sentinel), has(self.cluster)].filter(x, x).size() == 1",
            "a redis check needs one place: set one of address, sentinel or cluster",
        ),
        rule(
            "!has(self.verify) || has(self.sentinel) || self.verify.all(v, v != 'Quorum')",
            "verify Quorum asks Sentinels: set redis.sentinel, or take Quorum away",
        ),
        rule(
            "!has(self.masterService) || !has(self.cluster)",
            "masterService is for one master: a cluster has many, so take it away",
        ),
        at_least("maxLag", "1s"),
    )

    address: HostPort | None = Field(default=None, description="One server, as host:port.")
    sentinel: Sentinel | None = Field(default=None, description="A master that Sentinels know.")
    cluster: RedisCluster | None = Field(default=None, description="A Redis Cluster.")
    database: Annotated[int, Field(ge=0, le=1023)] = Field(default=0, description="Number of the database.")
    username_from: FromSecret | None = Field(default=None, description="User name (ACL).")
    password_from: FromSecret | None = Field(default=None, description="Password.")
    tls: Tls | None = Field(default=None, description="Speak TLS; {} verifies by the system's authorities.")
    verify: list[RedisVerify] = Field(
        default=[RedisVerify.ROLE],
        max_length=4,
        json_schema_extra=_SET,
        description="Role: it is a master. Write: it takes one (key resilience.dev:probe, 60 s). Lag: replicas keep up."
        " Quorum: enough Sentinels agree.",
    )
    max_lag: Duration = Field(default=timedelta(seconds=10), description="Warning when a replica is further behind.")
    master_service: HostPort | None = Field(
        default=None, description="Service that has to lead to the master, as host:port; Unhealthy when it does not."
    )


class Replay(StrEnum):
    """Trigger that puts dead letters back into their stream."""

    ON_REQUEST = "OnRequest"
    AUTOMATIC = "Automatic"


class DeadLetter(ApiModel):
    """Stream of entries that no consumer could process. They are put back when the dependencies of the service work."""

    model_config = validated(at_least("maxAge", "1m"))

    stream: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="Key of the dead-letter stream.")
    max_age: Duration = Field(default=timedelta(hours=24), description="Older entries stay where they are.")
    batch: Annotated[int, Field(ge=1, le=1000)] = Field(default=10, description="Entries put back at once.")
    replay: Replay = Field(
        default=Replay.ON_REQUEST,
        description="OnRequest: by the annotation resilience.dev/replay-requested-at. Automatic: by itself.",
    )


class RedisStreamCheck(ApiModel):
    """A stream as a queue: Warning when it grows too long, Unhealthy when its group falls behind, unless set else."""

    model_config = validated(
        at_least("maxLag", "1s"),
        rule(
            "!has(self.deadLetter) || self.deadLetter.stream != self.stream",
            "redisStream.deadLetter.stream must be another stream than redisStream.stream",
        ),
    )

    redis: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="Name of the redis check that has its address."
    )
    stream: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="Key of the stream.")
    group: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None, description="Consumer group; without one only the length is checked."
    )
    length: CountBounds | None = Field(
        default=None, description="Bounds of the number of its entries; default a warning above 10000."
    )
    lag: DurationBounds | None = Field(
        default=None,
        description="Bounds of the age of the oldest entry that is not delivered to the group, or not acknowledged;"
        " default critical above 5m.",
    )
    pending: CountBounds | None = Field(
        default=None,
        description="Bounds of the number of entries delivered and not acknowledged; default a warning above 1000.",
    )
    max_length: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, description="Earlier spelling of length.warning, which wins."
    )
    max_lag: Duration | None = Field(default=None, description="Earlier spelling of lag.critical, which wins.")
    max_pending: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, description="Earlier spelling of pending.warning, which wins."
    )
    dead_letter: DeadLetter | None = Field(
        default=None, description="Stream of entries that no consumer could process."
    )


class DnsCheck(ApiModel):
    """Healthy when the operator's name service finds the name."""

    name: ObjectName = Field(description="The name, e.g. db.shop.svc.cluster.local.")
    min_addresses: Annotated[int, Field(ge=1, le=100)] = Field(default=1, description="Unhealthy with fewer addresses.")
