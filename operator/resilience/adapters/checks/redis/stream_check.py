"""The redisStream check: the length of a stream, and how far its consumer group is behind.

The check uses only commands whose cost does not grow with the stream. An id begins with the time of its entry, in
milliseconds, unless the producer chose the id; then the age is not known and does not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from resilience.adapters.checks.redis.answers import (
    TOO_LONG,
    Command,
    Reply,
    Verdict,
    fields,
    items,
    number,
    required,
    text,
    unreadable,
)
from resilience.adapters.checks.redis.connections import RedisConnections
from resilience.adapters.checks.redis.master import Run, find_master
from resilience.adapters.checks.redis.node import Node
from resilience.adapters.checks.redis.redis_check import concluded
from resilience.adapters.net.failures import NetworkFailure
from resilience.api.scalars import format_duration
from resilience.core.health.bounds import judge
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import Levels
from resilience.core.model.probes import RedisStreamProbe

_TIME: Final[Command] = ("TIME",)
# Unix time in seconds before streams existed: 2015.
_EARLIEST: Final = 1_420_070_400
_CLOCKS: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class _Group:
    """The state of the group. `oldest` is the age in seconds of the entry that waits longest.

    `oldest` is None when no entry waits or no age is known. `undelivered` is None where the server does not count.
    """

    pending: int
    undelivered: int | None
    oldest: float | None
    # Some ids do not begin with a time.
    ageless: bool


def describe(probe: RedisStreamProbe) -> str:
    """The subject of the check, for messages."""
    return f"Redis stream {probe.stream!r}" + (f", group {probe.group!r}" if probe.group else "")


async def check_redis_stream(
    probe: RedisStreamProbe, *, connections: RedisConnections, timeout: timedelta
) -> CheckResult:
    """Fails or warns when the stream is too long, its group is behind, or too many entries are pending; see `probe`.

    Raises:
        Refused: an address is not permitted.
        Invalid, Unavailable: a Secret cannot be used.
        NetworkFailure: no answer within `timeout`, of which name resolution may take at most half.
    """
    run = await Run.begin(connections, timeout)
    letters: int | None = None
    try:
        outcome, reason, words = await _inspect(probe, run)
        if probe.dead_letter:
            letters = await _dead_letters(probe, run)
    except Verdict as verdict:
        outcome, reason, words = verdict.outcome, verdict.reason, str(verdict)
    except NetworkFailure as failure:
        if failure.reason != TOO_LONG:
            raise
        # An entry is read whole or not at all, and a big entry is no fault of the queue.
        outcome, reason, words = Outcome.INCONCLUSIVE, TOO_LONG, str(failure)
    if letters and outcome is Outcome.PASS:
        outcome, reason, words = Outcome.WARN, "DeadLetters", f"{_about(letters)} dead letters; {words}"
    result = concluded(run, outcome, reason, f"{describe(probe)}: {words}")
    return replace(result, dead_letters=letters)


async def _inspect(probe: RedisStreamProbe, run: Run) -> tuple[Outcome, str, str]:
    node, _ = await find_master(probe.place, run)
    kind: Command = ("TYPE", probe.stream)
    count: Command = ("XLEN", probe.stream)
    groups: Command = ("XINFO", "GROUPS", probe.stream)
    pending: Command = ("XPENDING", probe.stream, probe.group)
    commands = [kind, count, *([_TIME, groups, pending] if probe.group else [])]
    answer = await run.ask(node, *commands)
    run.seconds, replies = answer.seconds, answer.replies
    _require_stream(text(required(replies, kind, node=node)), node)
    length = number(required(replies, count, node=node))
    if not probe.group:
        return _judged(probe, length, None)
    info = _find_group(required(replies, groups, node=node), probe.group)
    waiting = items(required(replies, pending, node=node))
    delivered = info.get("last-delivered-id", "0-0")
    # A server that counts says when no entry is left to deliver.
    first = await _after(delivered, probe, node, run) if info.get("lag") != "0" else []
    seconds, _ = items(required(replies, _TIME, node=node))
    ids = [*first, *(text(entry_id) for entry_id in waiting[1:2] if entry_id is not None)]
    return _judged(probe, length, _group(info, waiting, ids, now=number(seconds)))


async def _dead_letters(probe: RedisStreamProbe, run: Run) -> int:
    """The number of dead letters; 0 when their stream does not exist."""
    node, _ = await find_master(probe.place, run)
    count: Command = ("XLEN", probe.dead_letter)
    answer = await run.ask(node, count)
    return number(required(answer.replies, count, node=node))


def _require_stream(kind: str, node: Node) -> None:
    if kind == "none":
        raise Verdict("NoSuchStream", f"{node} has no such key")
    if kind != "stream":
        raise Verdict("NotAStream", f"the key exists on {node}, but is not a stream")


def _find_group(reply: Reply, group: str) -> Mapping[str, str]:
    """The fields of the group in a reply to XINFO GROUPS. Raises Verdict when the group is not there."""
    for entry in items(reply):
        info = fields(entry)
        if info.get("name") == group:
            return info
    raise Verdict("NoSuchGroup", "the stream has no such group")


async def _after(delivered: str, probe: RedisStreamProbe, node: Node, run: Run) -> list[str]:
    """The id of the first entry that was not delivered to the group, in a list; an empty list when all were."""
    # Servers before 6.2 cannot leave out the first entry themselves.
    command: Command = ("XRANGE", probe.stream, delivered, "+", "COUNT", 2)
    answer = await run.ask(node, command)
    ids = [text(items(entry)[0]) for entry in items(required(answer.replies, command, node=node)) if entry]
    return [entry_id for entry_id in ids if entry_id != delivered][:1]


def _group(info: Mapping[str, str], waiting: list[Reply], ids: list[str], *, now: int) -> _Group:
    if not waiting:
        raise unreadable()
    times = [number(entry_id.partition("-")[0]) / 1000 for entry_id in ids]
    plausible = [seconds for seconds in times if _EARLIEST < seconds < now + _CLOCKS]
    return _Group(
        pending=number(waiting[0]),
        undelivered=number(info["lag"]) if "lag" in info else None,
        oldest=max(now - min(plausible), 0) if plausible else None,
        ageless=len(plausible) < len(times),
    )


def _judged(probe: RedisStreamProbe, length: int, group: _Group | None) -> tuple[Outcome, str, str]:
    found: list[tuple[Outcome, str, str]] = []
    if group is not None and group.oldest is not None:
        outcome, most = _beyond(probe.lag, group.oldest)
        limit = format_duration(timedelta(seconds=most))
        found.append((outcome, "GroupLags", f"behind by more than {limit}: {', '.join(_in_words(group))}"))
    outcome, most = _beyond(probe.length, length)
    found.append((outcome, "StreamTooLong", f"{_about(length)} entries, more than {most:.0f}"))
    if group is not None:
        outcome, most = _beyond(probe.pending, group.pending)
        many = f"{_about(group.pending)} entries are not acknowledged, more than {most:.0f}"
        found.append((outcome, "TooManyPending", many))
    for worst in (Outcome.FAIL, Outcome.WARN):
        if named := [(reason, words) for outcome, reason, words in found if outcome is worst]:
            return worst, named[0][0], "; ".join(words for _, words in named)
    words = [f"{_about(length)} entries", *(_in_words(group) if group is not None else ())]
    return Outcome.PASS, "KeepsUp" if group else "Answered", ", ".join(words)


def _beyond(levels: Levels, value: float) -> tuple[Outcome, float]:
    """The outcome, and the bound that the value is above; 0 when it is above none."""
    outcome, bounds = judge(levels, value)
    return outcome, bounds.above or 0.0


def _in_words(group: _Group) -> list[str]:
    parts = [f"{_about(group.pending)} not acknowledged"]
    if group.undelivered is not None:
        parts.append(f"{_about(group.undelivered)} not delivered")
    if group.oldest is not None:
        parts.append(f"the oldest of these {_age(group.oldest)} old")
    if group.ageless:
        parts.append("ids are not times, so that the age of some is not known")
    return parts


def _about(count: int) -> str:
    """The count with two digits: enough for a person, and a small change does not cause a write of status."""
    return str(count) if count < 100 else f"about {float(f'{count:.2g}'):.0f}"


def _age(seconds: float) -> str:
    if seconds < 10:
        return "less than 10s"
    unit = 10 if seconds < 60 else 60 if seconds < 3600 else 3600
    return f"about {format_duration(timedelta(seconds=seconds // unit * unit))}"
