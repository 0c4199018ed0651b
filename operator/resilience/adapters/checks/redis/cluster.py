"""The redis check of a Redis Cluster: what one node says of it, and each of its masters."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final

from resilience.adapters.checks.redis.answers import (
    PING,
    Command,
    Reply,
    ServerError,
    Shortage,
    Verdict,
    address,
    lines,
    number,
    required,
    text,
)
from resilience.adapters.checks.redis.connections import Node
from resilience.adapters.checks.redis.master import WRITE, Run, first_answer, look, node_of
from resilience.adapters.net.failures import NetworkFailure
from resilience.api.dependency_checks import RedisVerify
from resilience.core.model.probes import RedisProbe

_INFO: Final[Command] = ("CLUSTER", "INFO")
_NODES: Final[Command] = ("CLUSTER", "NODES")
_SLOTS: Final = 16384
# A server must not have us open any number of connections.
_MOST: Final = 100


async def look_at_cluster(probe: RedisProbe, run: Run) -> tuple[Node, list[Shortage]]:
    """The node that spoke for the cluster, and what is short.

    Raises:
        Verdict: slots are not served, a master does not answer or does not do what it should.
        NetworkFailure: the operator itself could not ask.
    """
    write = [WRITE] if RedisVerify.WRITE in probe.verify else []
    nodes = [node_of(probe.place, host, port) for host, port in probe.place.addresses]
    found = await first_answer(
        nodes, run, PING, _INFO, _NODES, *write, accept=lambda node, answer: True, reason="ClusterDown"
    )
    assert found is not None  # whatever answers is accepted
    node, answer = found
    run.seconds = answer.seconds
    _require_slots(lines(required(answer.replies, _INFO, node=node)), node)
    short: list[Shortage] = []
    if probe.verify:
        masters = list(islice(_masters(text(required(answer.replies, _NODES, node=node)), node, probe), _MOST + 1))
        if len(masters) > _MOST:
            raise Verdict("TooManyMasters", f"{node} names more than {_MOST} masters; give one of them as an address")
        # Each master has its own connection, and none waits for another.
        found_short = await asyncio.gather(*(_master(each, probe, run) for each in masters), return_exceptions=True)
        short = [each for result in found_short for each in _or_raised(result)]
    if write:
        await _follow(answer.replies[WRITE], node, run)
    return node, short


def _require_slots(info: Mapping[str, str], node: Node) -> None:
    assigned, failed = number(info.get("cluster_slots_assigned", "")), number(info.get("cluster_slots_fail", ""))
    if info.get("cluster_state") != "ok":
        words = f"{node} says that the cluster is down: {assigned} of {_SLOTS} slots have a master"
        raise Verdict("ClusterDown", f"{words}, and those of {failed} have failed")
    if assigned < _SLOTS or failed:
        words = f"{_SLOTS - assigned} of {_SLOTS} slots have no master, and the masters of {failed} have failed"
        raise Verdict("SlotsMissing", f"{node} says that {words}")


def _masters(told: str, asked: Node, probe: RedisProbe) -> Iterator[Node]:
    """Nodes that serve slots. A line: id, ip:port@bus[,hostname[,…]], flags, its master, four numbers, slots."""
    for line in told.splitlines():
        words = line.split(" ")
        if len(words) < 9 or "master" not in words[2].split(","):
            continue
        where, hostname, *_ = f"{words[1]},".split(",")
        ip, _, port = where.partition("@")[0].rpartition(":")
        # Certificates carry names; a node that has not been spoken to by others does not know its own address.
        name = (hostname if probe.place.trust else "") or ip or asked.host
        yield node_of(probe.place, *address(name, port))


async def _master(node: Node, probe: RedisProbe, run: Run) -> list[Shortage]:
    # A write goes where its key is, not to each.
    probe = replace(probe, verify=probe.verify - {RedisVerify.WRITE})
    try:
        _, short = await look(node, probe, run)
    except NetworkFailure as failure:
        if failure.own:
            raise
        raise Verdict("MasterDown", f"a master does not answer: {failure}") from failure
    return short


def _or_raised(result: list[Shortage] | BaseException) -> list[Shortage]:
    if isinstance(result, BaseException):
        raise result
    return result


async def _follow(reply: Reply, node: Node, run: Run) -> None:
    """Writes where the key is, when the node that was asked only knew where that is."""
    if isinstance(reply, ServerError) and reply.moved is not None:
        host, port = reply.moved
        host, port = address(host or node.host, port)
        node = replace(node, host=host, port=port)
        reply = (await run.ask(node, WRITE)).replies[WRITE]
    required({WRITE: reply}, WRITE, node=node)
