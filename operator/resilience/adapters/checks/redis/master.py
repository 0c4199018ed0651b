"""Finds the master of a Redis, and verifies that a server is the master that it should be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from resilience.adapters.checks.redis.answers import (
    PING,
    ROLE,
    Command,
    Reply,
    ServerError,
    Shortage,
    Verdict,
    address,
    items,
    lines,
    number,
    place,
    required,
    text,
    unreadable,
)
from resilience.adapters.checks.redis.connections import Answer, RedisConnections
from resilience.adapters.checks.redis.deadline import Deadline
from resilience.adapters.checks.redis.node import Node
from resilience.adapters.net.failures import NetworkFailure
from resilience.api.dependency_checks import RedisVerify
from resilience.api.scalars import format_duration
from resilience.core.model.probes import RedisKind, RedisPlace, RedisProbe
from resilience.ports import Refused

# Expires by itself a minute after the last check.
WRITE: Final[Command] = ("SET", "resilience.dev:probe", "1", "PX", 60_000)
INFO_SERVER: Final[Command] = ("INFO", "server")
_INFO_REPLICATION: Final[Command] = ("INFO", "replication")
# Reasons that may come from a connection that was opened before the servers changed roles.
_OF_ROLE: Final = frozenset({"NotMaster", "ReadOnly"})
_SHOWN: Final = 3


@dataclass(slots=True)
class Run:
    """One run of a check: its connections, its deadline, and its measurements beside the answers."""

    connections: RedisConnections
    deadline: Deadline
    # Seconds that the master took to answer.
    seconds: float | None = None
    reconnected: bool = False

    @classmethod
    async def begin(cls, connections: RedisConnections, timeout: timedelta) -> "Run":
        """A run whose time begins once the library is there."""
        await connections.load()
        return cls(connections, Deadline.after(timeout))

    async def ask(
        self, node: Node, *commands: Command, deadline: Deadline | None = None, anew: bool = False, keep: bool = True
    ) -> Answer:
        """As RedisConnections.ask, by default until the run's deadline."""
        answer = await self.connections.ask(node, *commands, deadline=deadline or self.deadline, anew=anew, keep=keep)
        self.reconnected = self.reconnected or answer.reconnected
        return answer


def node_of(where: RedisPlace, host: str, port: int) -> Node:
    """A server of the place, with the place's credentials."""
    database = 0 if where.kind is RedisKind.CLUSTER else where.database
    return Node(host, port, where.username, where.password, where.trust, database)


async def find_master(where: RedisPlace, run: Run, *, quorum: bool = False) -> tuple[Node, list[Shortage]]:
    """The server that should be the master, according to the Sentinels if there are any, and their shortages.

    Raises:
        Verdict: no Sentinel answers, or none knows the master.
        NetworkFailure: the operator itself could not query any Sentinel.
    """
    if where.kind is RedisKind.STANDALONE:
        return node_of(where, *where.addresses[0]), []
    if where.kind is RedisKind.CLUSTER:
        raise Refused("the check looks for one master, and a cluster has many")
    master_query: Command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", where.master_name)
    quorum_query: Command = ("SENTINEL", "CKQUORUM", where.master_name)
    sentinels = [
        Node(host, port, password=where.sentinel_password, trust=where.trust) for host, port in where.addresses
    ]
    first = await first_answer(
        sentinels,
        run,
        master_query,
        *([quorum_query] if quorum else []),
        accept=lambda node, answer: required(answer.replies, master_query, node=node) is not None,
        reason="SentinelsDown",
    )
    if first is None:
        raise Verdict("MasterUnknown", f"no Sentinel that answers knows a master called {where.master_name!r}")
    sentinel, answer = first
    host_and_port = items(answer.replies[master_query])
    if len(host_and_port) != 2:
        raise unreadable()
    master = node_of(where, *address(text(host_and_port[0]), host_and_port[1]))
    return master, _quorum_shortages(answer, quorum_query, sentinel) if quorum else []


async def first_answer(
    nodes: Sequence[Node], run: Run, *commands: Command, accept: Callable[[Node, Answer], bool], reason: str
) -> tuple[Node, Answer] | None:
    """The first answer that `accept` takes, in the order of the nodes; None when some answered and none was accepted.

    Raises:
        Verdict: all failed, with `reason` unless one of them gave a reason of its own.
        NetworkFailure: all failed, and it may be the operator's own fault.
    """
    failures: list[Verdict | NetworkFailure] = []
    for index, node in enumerate(nodes):
        try:
            # A silent node must leave time for the others, and for the commands that follow.
            answer = await run.ask(node, *commands, deadline=run.deadline.share(len(nodes) - index + 1))
            if accept(node, answer):
                return node, answer
        except (Verdict, NetworkFailure) as failure:
            failures.append(failure)
    if len(failures) < len(nodes):
        return None
    decisive = next((failure for failure in failures if isinstance(failure, Verdict) or failure.own), None)
    if decisive is not None:
        raise decisive
    details = "; ".join(map(str, failures[:_SHOWN])) + ("; …" if len(failures) > _SHOWN else "")
    raise Verdict(reason, f"none of {len(nodes)} answers: {details}")


async def look(
    node: Node, probe: RedisProbe, run: Run, *further: Command
) -> tuple[Mapping[Command, Reply], list[Shortage]]:
    """Replies of a server that should be a master, to what `probe` verifies and to `further`, and the shortages.

    Raises:
        Verdict: the server is not a master, or does not do what it should.
        NetworkFailure: no answer.
    """
    commands = _commands(probe, further)
    answer = await run.ask(node, *commands)
    try:
        short = _judged(answer, probe, node)
    except Verdict as verdict:
        if not answer.kept or verdict.reason not in _OF_ROLE:
            raise
        # Behind the same name another server may be the master by now: a new connection leads to it.
        answer = await run.ask(node, *commands, anew=True)
        short = _judged(answer, probe, node)
    run.seconds = answer.seconds
    return answer.replies, short


def require_master(replies: Mapping[Command, Reply], *, node: object) -> None:
    """Raises Verdict when the reply to ROLE is not that of a master."""
    reply = items(required(replies, ROLE, node=node))
    role = text(reply[0]) if reply else ""
    if role == "master":
        return
    if role != "slave" or len(reply) < 3:
        raise Verdict("NotMaster", f"{node} is not a master" + (", but a Sentinel" if role == "sentinel" else ""))
    raise Verdict("NotMaster", f"{node} is not a master, but a replica of {place(text(reply[1]), reply[2])}")


def _commands(probe: RedisProbe, further: Sequence[Command]) -> list[Command]:
    wanted = {RedisVerify.ROLE: ROLE, RedisVerify.WRITE: WRITE, RedisVerify.LAG: _INFO_REPLICATION}
    verified = [command for verify, command in wanted.items() if verify in probe.verify]
    return [PING, *verified, *further]


def _judged(answer: Answer, probe: RedisProbe, node: Node) -> list[Shortage]:
    replies = answer.replies
    if text(required(replies, PING, node=node)) != "PONG":
        raise unreadable()
    if ROLE in replies:
        require_master(replies, node=node)
    if WRITE in replies:
        required(replies, WRITE, node=node)
    if _INFO_REPLICATION in replies:
        return _lagging(lines(required(replies, _INFO_REPLICATION, node=node)), probe, node)
    return []


def _lagging(info: Mapping[str, str], probe: RedisProbe, node: Node) -> list[Shortage]:
    """The shortage of replicas that lag, in a list; an empty list when none lags."""
    replicas = [
        dict(pair.split("=", 1) for pair in line.split(",") if "=" in pair)
        for name, line in info.items()
        if name.startswith("slave") and name[5:].isdecimal()
    ]
    lagging = [replica for replica in replicas if not _is_in_step(replica, probe)]
    if not lagging:
        return []
    first = lagging[0]
    what = (
        "is not in step yet"
        if first.get("state") != "online"
        else f"is more than {format_duration(probe.max_lag)} behind"
    )
    where = place(first.get("ip", ""), first.get("port", ""))
    return [("ReplicaLags", f"{len(lagging)} of {len(replicas)} replicas of {node} lag: {where} {what}")]


def _is_in_step(replica: Mapping[str, str], probe: RedisProbe) -> bool:
    # Seconds since the replica last reported its position; servers before 2.8 do not state them.
    lag = number(replica.get("lag", "0"))
    return replica.get("state") == "online" and lag <= probe.max_lag.total_seconds()


def _quorum_shortages(answer: Answer, quorum_query: Command, sentinel: Node) -> list[Shortage]:
    reply = answer.replies[quorum_query]
    if isinstance(reply, ServerError) and reply.code == "NOQUORUM":
        return [("NoQuorum", f"the Sentinel {sentinel} sees too few others to agree on another master")]
    required(answer.replies, quorum_query, node=sentinel)
    return []
