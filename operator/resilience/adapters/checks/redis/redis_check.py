"""The redis check: PING, and if requested, that the server is a master, takes writes and has replicas that keep up."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from resilience.adapters.checks.redis.answers import PING, ROLE, Command, Reply, Shortage, Verdict, lines, required
from resilience.adapters.checks.redis.cluster import look_at_cluster
from resilience.adapters.checks.redis.connections import RedisConnections
from resilience.adapters.checks.redis.master import INFO_SERVER, Run, find_master, look, node_of, require_master
from resilience.adapters.checks.redis.node import Node
from resilience.api.dependency_checks import RedisVerify
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import RedisKind, RedisPlace, RedisProbe

_VERIFIED: Final = {
    RedisVerify.ROLE: "is a master",
    RedisVerify.WRITE: "takes writes",
    RedisVerify.LAG: "has no replica that lags",
    RedisVerify.QUORUM: "can be replaced by enough Sentinels",
}


def describe(probe: RedisProbe) -> str:
    """The subject of the check, for messages, which name the server themselves."""
    if probe.place.kind is RedisKind.CLUSTER:
        return "Redis Cluster"
    return f"Redis {probe.place.master_name!r}" if probe.place.master_name else "Redis"


async def check_redis(probe: RedisProbe, *, connections: RedisConnections, timeout: timedelta) -> CheckResult:
    """Passes when the server answers and everything in `probe.verify` is true; warns about shortages.

    Raises:
        Refused: an address is not permitted.
        Invalid, Unavailable: a Secret cannot be used.
        NetworkFailure: no answer within `timeout`, of which name resolution may take at most half.
    """
    run = await Run.begin(connections, timeout)
    try:
        if probe.place.kind is RedisKind.CLUSTER:
            node, short = await look_at_cluster(probe, run)
        else:
            node, short = await _check_master(probe, run)
    except Verdict as verdict:
        return concluded(run, verdict.outcome, verdict.reason, f"{describe(probe)}: {verdict}")
    if short:
        words = "; ".join(words for _, words in short)
        return concluded(run, Outcome.WARN, short[0][0], f"{describe(probe)}: {words}")
    verified = "".join(f", {words}" for verify, words in _VERIFIED.items() if verify in probe.verify)
    return concluded(run, Outcome.PASS, "Answered", f"{describe(probe)}: {node} answers{verified}")


def concluded(run: Run, outcome: Outcome, reason: str, message: str) -> CheckResult:
    """A result with the measurements of the run."""
    return CheckResult(outcome, reason, message, run.seconds, reconnected=run.reconnected)


async def _check_master(probe: RedisProbe, run: Run) -> tuple[Node, list[Shortage]]:
    master, short = await find_master(probe.place, run, quorum=RedisVerify.QUORUM in probe.verify)
    if probe.master_service is None:
        _, more = await look(master, probe, run)
        return master, short + more
    replies, more = await look(master, probe, run, INFO_SERVER)
    await _check_service(probe.place, probe.master_service, master, _run_id(replies, master), run)
    return master, short + more


async def _check_service(where: RedisPlace, address: tuple[str, int], master: Node, run_id: str, run: Run) -> None:
    """Raises Verdict when the Service leads to another server than the master, or to one that is not a master."""
    service = node_of(where, *address)
    # A kept connection would show where the Service led before.
    answer = await run.ask(service, PING, ROLE, INFO_SERVER, keep=False)
    service_run_id = _run_id(answer.replies, service)
    try:
        require_master(answer.replies, node="what it leads to")
    except Verdict as verdict:
        if verdict.outcome is not Outcome.FAIL:
            raise
        raise Verdict("ServiceLeadsElsewhere", f"masterService {service} leads elsewhere: {verdict}") from verdict
    if service_run_id != run_id:
        words = f"masterService {service} leads to another server than the master {master}"
        raise Verdict("ServiceLeadsElsewhere", words)


def _run_id(replies: Mapping[Command, Reply], node: Node) -> str:
    """The identity of the server's process."""
    return lines(required(replies, INFO_SERVER, node=node)).get("run_id", "")
