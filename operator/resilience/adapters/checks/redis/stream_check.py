"""The redisStream check: how long a stream is, and how far its group is behind.

Only commands are used whose cost does not grow with the stream. An id begins with the time of its entry, in
milliseconds, unless whoever added it chose the id; then the age is not known, and says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from resilience.adapters.checks.redis.answers import (
    Command,
    Reply,
    Shortage,
    Verdict,
    fields,
    items,
    number,
    required,
    text,
    unreadable,
)
from resilience.adapters.checks.redis.connections import Node, RedisConnections
from resilience.adapters.checks.redis.link import TOO_LONG, Deadline
from resilience.adapters.checks.redis.master import Run, find_master
from resilience.adapters.checks.redis.redis_check import concluded
from resilience.adapters.net.failures import NetworkFailure
from resilience.api.scalars import format_duration
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import RedisStreamProbe

_TIME: Final[Command] = ("TIME",)
# Before streams existed, in seconds: 2015.
_EARLIEST: Final = 1_420_070_400
_CLOCKS: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class _Group:
    """How far the group is. `oldest` is the age in seconds of what waits longest; None when nothing waits.

    `undelivered` is None where the server does not count.
    """

    pending: int
    undelivered: int | None
    oldest: float | None
    # Whether ids are no times.
    ageless: bool


def describe(probe: RedisStreamProbe) -> str:
    """What is asked, for messages."""
    return f"Redis stream {probe.stream!r}" + (f", group {probe.group!r}" if probe.group else "")


async def check_redis_stream(
    probe: RedisStreamProbe, *, connections: RedisConnections, timeout: timedelta
) -> CheckResult:
    """Fails when the group is behind by more than may be; warns when stream or pending entries are too many.

    Raises:
        Refused: an address may not be spoken to.
        Invalid, Unavailable: a Secret cannot be used.
        NetworkFailure: no answer within `timeout`; half of it at most is for the name service.
    """
    run = Run(connections, Deadline.after(timeout))
    letters: int | None = None
    try:
        outcome, reason, words = await _look(probe, run)
        if probe.dead_letter:
            letters = await _dead_letters(probe, run)
    except Verdict as verdict:
        outcome, reason, words = verdict.outcome, verdict.reason, str(verdict)
    except NetworkFailure as failure:
        if failure.reason != TOO_LONG:
            raise
        # An entry comes whole or not at all, and a big one is no fault of the queue.
        outcome, reason, words = Outcome.INCONCLUSIVE, TOO_LONG, str(failure)
    if letters and outcome is Outcome.PASS:
        outcome, reason, words = Outcome.WARN, "DeadLetters", f"{_about(letters)} dead letters; {words}"
    result = concluded(run, outcome, reason, f"{describe(probe)}: {words}")
    return replace(result, dead_letters=letters)


async def _look(probe: RedisStreamProbe, run: Run) -> tuple[Outcome, str, str]:
    node, _ = await find_master(probe.place, run)
    kind: Command = ("TYPE", probe.stream)
    count: Command = ("XLEN", probe.stream)
    groups: Command = ("XINFO", "GROUPS", probe.stream)
    pending: Command = ("XPENDING", probe.stream, probe.group)
    asked = [kind, count, *([_TIME, groups, pending] if probe.group else [])]
    answer = await run.ask(node, *asked)
    run.seconds, replies = answer.seconds, answer.replies
    _require_stream(text(required(replies, kind, node=node)), node)
    length = number(required(replies, count, node=node))
    if not probe.group:
        return _judged(probe, length, None)
    told = _find(required(replies, groups, node=node), probe.group)
    waiting = items(required(replies, pending, node=node))
    delivered = told.get("last-delivered-id", "0-0")
    # A server that counts knows when there is nothing to look for.
    first = await _after(delivered, probe, node, run) if told.get("lag") != "0" else []
    seconds, _ = items(required(replies, _TIME, node=node))
    ids = [*first, *(text(each) for each in waiting[1:2] if each is not None)]
    return _judged(probe, length, _group(told, waiting, ids, now=number(seconds)))


async def _dead_letters(probe: RedisStreamProbe, run: Run) -> int:
    """How many there are; a stream that is not there has none."""
    node, _ = await find_master(probe.place, run)
    count: Command = ("XLEN", probe.dead_letter)
    answer = await run.ask(node, count)
    return number(required(answer.replies, count, node=node))


def _require_stream(kind: str, node: Node) -> None:
    if kind == "none":
        raise Verdict("NoSuchStream", f"{node} has no such key")
    if kind != "stream":
        raise Verdict("NotAStream", f"the key exists on {node}, but is no stream")


def _find(reply: Reply, group: str) -> Mapping[str, str]:
    """What XINFO GROUPS says of the group."""
    for each in items(reply):
        told = fields(each)
        if told.get("name") == group:
            return told
    raise Verdict("NoSuchGroup", "the stream has no such group")


async def _after(delivered: str, probe: RedisStreamProbe, node: Node, run: Run) -> list[str]:
    """The id of the first entry that the group has not got, in a list; an empty one when it has got all."""
    # Servers before 6.2 cannot leave the first one out themselves.
    command: Command = ("XRANGE", probe.stream, delivered, "+", "COUNT", 2)
    answer = await run.ask(node, command)
    found = [text(items(entry)[0]) for entry in items(required(answer.replies, command, node=node)) if entry]
    return [each for each in found if each != delivered][:1]


def _group(told: Mapping[str, str], waiting: list[Reply], ids: list[str], *, now: int) -> _Group:
    if not waiting:
        raise unreadable()
    times = [number(each.partition("-")[0]) / 1000 for each in ids]
    sane = [each for each in times if _EARLIEST < each < now + _CLOCKS]
    return _Group(
        pending=number(waiting[0]),
        undelivered=number(told["lag"]) if "lag" in told else None,
        oldest=max(now - min(sane), 0) if sane else None,
        ageless=len(sane) < len(times),
    )


def _judged(probe: RedisStreamProbe, length: int, group: _Group | None) -> tuple[Outcome, str, str]:
    words = [f"{_about(length)} entries"]
    short: list[Shortage] = []
    if length > probe.max_length:
        short.append(("StreamTooLong", f"{_about(length)} entries, more than {probe.max_length}"))
    if group is not None:
        words += _in_words(group)
        if group.oldest is not None and group.oldest > probe.max_lag.total_seconds():
            limit = format_duration(probe.max_lag)
            return Outcome.FAIL, "GroupLags", f"behind by more than {limit}: {', '.join(_in_words(group))}"
        if group.pending > probe.max_pending:
            many = f"{_about(group.pending)} entries are not acknowledged, more than {probe.max_pending}"
            short.append(("TooManyPending", many))
    if short:
        return Outcome.WARN, short[0][0], "; ".join(each for _, each in short)
    return Outcome.PASS, "KeepsUp" if group else "Answered", ", ".join(words)


def _in_words(group: _Group) -> list[str]:
    said = [f"{_about(group.pending)} not acknowledged"]
    if group.undelivered is not None:
        said.append(f"{_about(group.undelivered)} not delivered")
    if group.oldest is not None:
        said.append(f"the oldest of these {_age(group.oldest)} old")
    if group.ageless:
        said.append("ids are no times, so that the age of some is not known")
    return said


def _about(count: int) -> str:
    """Two digits: enough for a person, and no reason to write status for every small change."""
    return str(count) if count < 100 else f"about {float(f'{count:.2g}'):.0f}"


def _age(seconds: float) -> str:
    if seconds < 10:
        return "less than 10s"
    unit = 10 if seconds < 60 else 60 if seconds < 3600 else 3600
    return f"about {format_duration(timedelta(seconds=seconds // unit * unit))}"
