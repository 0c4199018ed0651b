"""The redis check of a Redis Cluster: the state that one node reports, and each of the masters."""

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
from resilience.adapters.checks.redis.master import WRITE, Run, first_answer, look, node_of
from resilience.adapters.checks.redis.node import Node
from resilience.adapters.net.failures import NetworkFailure
from resilience.api.dependency_checks import RedisVerify
from resilience.core.model.probes import RedisProbe

_INFO: Final[Command] = ("CLUSTER", "INFO")
_NODES: Final[Command] = ("CLUSTER", "NODES")
_SLOTS: Final = 16384
# A server must not make the operator open an unlimited number of connections.
_MOST: Final = 100


async def look_at_cluster(probe: RedisProbe, run: Run) -> tuple[Node, list[Shortage]]:
    """The node that answered for the cluster, and the shortages.

    Raises:
        Verdict: slots are not served, or a master does not answer or does not do what it should.
        NetworkFailure: the operator itself could not send its commands.
    """
    write_commands = [WRITE] if RedisVerify.WRITE in probe.verify else []
    nodes = [node_of(probe.place, host, port) for host, port in probe.place.addresses]
    first = await first_answer(
        nodes, run, PING, _INFO, _NODES, *write_commands, accept=lambda node, answer: True, reason="ClusterDown"
    )
    assert first is not None  # every answer is accepted
    node, answer = first
    run.seconds = answer.seconds
    _require_slots(lines(required(answer.replies, _INFO, node=node)), node)
    short: list[Shortage] = []
    if probe.verify:
        masters = list(islice(_masters(text(required(answer.replies, _NODES, node=node)), node, probe), _MOST + 1))
        if len(masters) > _MOST:
            raise Verdict("TooManyMasters", f"{node} names more than {_MOST} masters; give one of them as an address")
        # Each master has its own connection, and none waits for another.
        results = await asyncio.gather(
            *(_check_master(master, probe, run) for master in masters), return_exceptions=True
        )
        short = [shortage for result in results for shortage in _or_raised(result)]
    if write_commands:
        await _follow(answer.replies[WRITE], node, run)
    return node, short


def _require_slots(info: Mapping[str, str], node: Node) -> None:
    assigned, failed = number(info.get("cluster_slots_assigned", "")), number(info.get("cluster_slots_fail", ""))
    if info.get("cluster_state") != "ok":
        words = f"{node} reports that the cluster is down: {assigned} of {_SLOTS} slots have a master"
        raise Verdict("ClusterDown", f"{words}, and those of {failed} have failed")
    if assigned < _SLOTS or failed:
        words = f"{_SLOTS - assigned} of {_SLOTS} slots have no master, and the masters of {failed} have failed"
        raise Verdict("SlotsMissing", f"{node} reports that {words}")


def _masters(reply: str, node: Node, probe: RedisProbe) -> Iterator[Node]:
    """Nodes that serve slots, from a reply to CLUSTER NODES.

    A line of it: id, ip:port@bus[,hostname[,…]], flags, its master, four numbers, slots.
    """
    for line in reply.splitlines():
        words = line.split(" ")
        if len(words) < 9 or "master" not in words[2].split(","):
            continue
        endpoint, hostname, *_ = f"{words[1]},".split(",")
        ip, _, port = endpoint.partition("@")[0].rpartition(":")
        # Certificates carry names. A node that no other node has contacted does not know its own address.
        name = (hostname if probe.place.trust else "") or ip or node.host
        yield node_of(probe.place, *address(name, port))


async def _check_master(node: Node, probe: RedisProbe, run: Run) -> list[Shortage]:
    # A write goes to the master that has its key, not to every master.
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
    """Writes to the node that has the key, if the first node only replied which one that is."""
    if isinstance(reply, ServerError) and reply.moved is not None:
        host, port = reply.moved
        host, port = address(host or node.host, port)
        node = replace(node, host=host, port=port)
        reply = (await run.ask(node, WRITE)).replies[WRITE]
    required({WRITE: reply}, WRITE, node=node)
