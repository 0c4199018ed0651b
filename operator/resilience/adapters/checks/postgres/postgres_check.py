"""The postgres check: one read-only query in a kept session, then how full the server is and how far it lags.

Nothing of an answer gets into a message but numbers and the SQLSTATE: a server's own words may quote its data.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]

from resilience.adapters.checks.postgres.connections import PostgresConnections, Session
from resilience.adapters.checks.postgres.tls import Place
from resilience.adapters.net.failures import NetworkFailure, from_os_error
from resilience.api.scalars import format_duration
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import PostgresProbe
from resilience.ports import PortError

# Sessions of other roles are seen without their type unless the role may read all statistics.
_USE: Final = """\
SELECT current_setting('max_connections')::int AS most,
  count(*) FILTER (WHERE backend_type = 'client backend' OR backend_type IS NULL AND datid IS NOT NULL)::int AS used,
  count(*) FILTER (WHERE wait_event_type = 'Lock')::int AS waiting,
  count(*) FILTER (WHERE backend_type IS NULL)::int AS hidden
FROM pg_catalog.pg_stat_activity"""
# A standby that has replayed all it received does not lag, however old the last transaction is.
_LAG: Final = """\
SELECT pg_is_in_recovery() AS standby, count(*)::int AS replicas, count(*) FILTER (WHERE state IS NULL)::int AS hidden,
  extract(epoch FROM CASE WHEN NOT pg_is_in_recovery() THEN max(replay_lag)
    WHEN pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()
    THEN clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())
  END)::float8 AS seconds
FROM pg_catalog.pg_stat_replication"""
_GRANT: Final = "grant pg_monitor to the role"
_AUTHENTICATION: Final = frozenset({"28P01", "28000"})
_CANCELED: Final = "57014"
_ENDED: Final = "the server ended the session; it is shutting down, or somebody told it to"
# What the server says instead of opening or keeping a session.
_MEANINGS: Final = {
    "53300": ("TooManyConnections", "the server takes no more connections"),
    "57P01": ("ShuttingDown", _ENDED),
    "57P02": ("ShuttingDown", _ENDED),
    "57P03": ("StartingUp", "the server takes no connections: it is starting up, shutting down or recovering"),
    "3D000": ("NoSuchDatabase", "the server has no such database"),
    _CANCELED: ("Timeout", "the query was canceled; it took too long, or somebody ended it"),
}
_QUERY_WORDS: Final = {
    "25006": "; it writes, and checks are read-only",
    "42501": "; the role lacks a right",
    "42601": "; it has to be one statement in correct syntax",
    "42P01": "; there is no such table",
}
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")
_FIRST_WORD: Final = re.compile(r"[\s(]*([A-Za-z]+)")


def describe(probe: PostgresProbe) -> str:
    """What is asked, for messages."""
    return "PostgreSQL"


@dataclass(slots=True)
class _Run:
    """One run of a check; `began`, `turn_at` and `deadline` are loop times. `session`: None until it is known."""

    probe: PostgresProbe
    connections: PostgresConnections
    timeout: timedelta
    began: float
    session: Session | None = None
    # Whether the server has let us in.
    inside: bool = False
    reconnected: bool = False
    # When the session was ours; from then on time is the server's.
    turn_at: float | None = None

    @property
    def deadline(self) -> float:
        return self.began + self.timeout.total_seconds()

    def result(
        self, outcome: Outcome, reason: str, words: str, seconds: float | None = None, lag: float | None = None
    ) -> CheckResult:
        message = f"{describe(self.probe)}: {words}"
        return CheckResult(outcome, reason, message, seconds, reconnected=self.reconnected, figure=lag)


async def check_postgres(probe: PostgresProbe, *, connections: PostgresConnections, timeout: timedelta) -> CheckResult:
    """Passes when the query answers; warns when connections, locks or replicas are beyond what `probe` allows.

    Credentials that are refused are read afresh and, if they changed, tried once more.

    Raises:
        Refused: the address may not be spoken to. Invalid, Unavailable: as PostgresConnections.place.
        NetworkFailure: no answer within `timeout`; half of it is for the name service. `own` when the operator itself
            let it pass: other checks had the connection, or the Secret was slow.
    """
    run = _Run(probe, connections, timeout, began=asyncio.get_running_loop().time())
    try:
        async with asyncio.timeout_at(run.deadline):
            return await _with_credentials(run)
    except PortError:
        raise
    except OSError as error:
        raise _network_failure(error, run) from error
    except asyncpg.PostgresError as error:
        return _refused(error, run)
    except Exception as error:
        raise _strange(error, run) from error


async def _with_credentials(run: _Run) -> CheckResult:
    place = await run.connections.place(run.probe)
    try:
        return await _in_session(run, place)
    except (asyncpg.InvalidAuthorizationSpecificationError, ssl.SSLCertVerificationError):
        run.session = run.turn_at = None
        fresh = await run.connections.place(run.probe, fresh=True)
        if fresh == place:
            raise
    return await _in_session(run, fresh)


async def _in_session(run: _Run, place: Place) -> CheckResult:
    targets = await run.connections.targets(place, timeout=run.timeout / 2)
    session = run.session = run.connections.session(place)
    async with run.connections.turn(session):
        loop = asyncio.get_running_loop()
        run.turn_at = loop.time()
        run.reconnected = await run.connections.begin(session, targets, deadline=run.deadline)
        run.inside = True
        began = loop.time()
        try:
            problem = await _ask(session.connection, run.probe.query)
        except asyncpg.PostgresError as error:
            if session.connection.is_closed():
                raise
            result = _query_failed(error, run)
        else:
            if problem:
                result = run.result(Outcome.FAIL, "QueryFailed", problem)
            else:
                result = await _judged(run, session, loop.time() - began)
        with session.asking():
            await session.connection.execute("ROLLBACK")
        return result


async def _ask(connection: Any, query: str) -> str:
    """Runs the query up to its first row; what is wrong with it, in words, if it was not run.

    The rows stay with the server: one alone may be a gigabyte.
    """
    statement = await connection.prepare(query, name="")
    if statement.get_parameters():
        return "the query has parameters, and a check has nothing to put there"
    if not statement.get_attributes():
        return "the query gives no columns, so it is not run; a check needs one SELECT"
    cursor = await statement.cursor()
    await cursor.forward(1)
    return ""


async def _judged(run: _Run, session: Session, seconds: float) -> CheckResult:
    """The query has answered: is anything short?"""
    probe, short, behind = run.probe, [], None
    first = _FIRST_WORD.match(probe.query)
    seen = [f"{first[1].upper() if first else 'the query'} answered"]
    use = await _row(session, _USE)
    if use is None:
        seen.append(f"connections cannot be seen: {_GRANT}")
    else:
        used, most, waiting = use["used"], use["most"], use["waiting"]
        seen.append(f"{used} of {most} connections, {waiting} waiting")
        if used > probe.max_connection_use * most:
            share = f"{probe.max_connection_use * 100:g}%"
            short.append(("ConnectionsShort", f"{used} of {most} connections are in use, above {share}"))
        if waiting > probe.max_waiting:
            short.append(("SessionsWait", f"sessions waiting for a lock: {waiting}, above {probe.max_waiting}"))
        if use["hidden"]:
            seen.append(f"waiting sessions of other roles cannot be seen: {_GRANT}")
    if probe.max_lag is not None:
        lagging, words, behind = await _lag(session, probe.max_lag)
        if lagging:
            short.append(("ReplicaLags", words))
        elif words:
            seen.append(words)
    if short:
        return run.result(Outcome.WARN, short[0][0], "; ".join(words for _, words in short), seconds, behind)
    return run.result(Outcome.PASS, "Answered", "; ".join(seen), seconds, behind)


async def _lag(session: Session, most: timedelta) -> tuple[bool, str, float | None]:
    """Whether replication is too far behind, what there is to say about it, and the lag in seconds, if it is known."""
    row = await _row(session, _LAG)
    if row is not None and row["seconds"] is not None and row["seconds"] > most.total_seconds():
        who = "this standby" if row["standby"] else "a replica"
        behind = timedelta(seconds=round(row["seconds"], 1))
        return True, f"{who} is {format_duration(behind)} behind, above {format_duration(most)}", row["seconds"]
    if row is None or row["hidden"]:
        return False, f"replication lag cannot be seen: {_GRANT}", None
    if not row["standby"] and not row["replicas"]:
        return False, "no replica is connected", None
    # One that has caught up says nothing of a lag.
    return False, "", row["seconds"] or 0.0


async def _row(session: Session, query: str) -> Any:
    """The one row of what the server knows of itself; None when it does not let us see that."""
    try:
        with session.asking():
            return await session.connection.fetchrow(query)
    except asyncpg.PostgresError as error:
        if session.connection.is_closed() or _sqlstate(error) == _CANCELED:
            raise
        return None


def _query_failed(error: Any, run: _Run) -> CheckResult:
    code = _sqlstate(error)
    if code == _CANCELED:
        return run.result(Outcome.FAIL, *_MEANINGS[code])
    return run.result(Outcome.FAIL, "QueryFailed", f"the query failed (SQLSTATE {code}){_QUERY_WORDS.get(code, '')}")


def _refused(error: Any, run: _Run) -> CheckResult:
    """What the server said instead of opening or keeping the session."""
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        match error.__cause__:
            case asyncpg.PostgresError() as said:
                return _refused(said, run)
            case OSError() as cause:
                raise from_os_error(cause) from error
        raise _closed() from error
    code = _sqlstate(error)
    if code in _AUTHENTICATION:
        dsn = run.probe.dsn
        words = f"user or password in key {dsn.key!r} of Secret {dsn.name!r} are refused (SQLSTATE {code})"
        return run.result(Outcome.FAIL, "AuthenticationFailed", words)
    reason, words = _MEANINGS.get(code, ("SessionRefused", "the server refuses the session"))
    return run.result(Outcome.FAIL, reason, f"{words} (SQLSTATE {code})")


def _strange(error: Exception, run: _Run) -> NetworkFailure:
    """What the library makes no sense of: whatever is no PostgreSQL server makes it raise nearly anything."""
    if run.inside and isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        # The server's farewell came between two commands.
        return _closed()
    if isinstance(error, asyncpg.InterfaceError):
        words = "the server asks for a way to log in that the operator does not know"
        return NetworkFailure(words, reason="LoginUnknown")
    return NetworkFailure("what answers is no PostgreSQL server", reason="NotPostgres")


def _closed() -> NetworkFailure:
    return NetworkFailure("the connection was closed without an answer", reason="ConnectionClosed")


def _network_failure(error: OSError, run: _Run) -> NetworkFailure:
    match error:
        case TimeoutError(errno=None):
            return _late(run)
        case ConnectionError(errno=None):
            return NetworkFailure("the server refuses TLS, or is no PostgreSQL server", reason="TlsRefused")
        case _:
            return from_os_error(error)


def _late(run: _Run) -> NetworkFailure:
    """Whose fault the end of the time-out is: the server's if it was silent for half of it, else our own queue's."""
    if run.session is None:
        words = "the operator could not read the Secret and find the hosts in time"
        return NetworkFailure(words, reason="OwnPreparationLate", own=True)
    now = asyncio.get_running_loop().time()
    silent = now - min(each for each in (run.turn_at, run.session.asked_at, now) if each is not None)
    if silent >= run.timeout.total_seconds() / 2:
        return NetworkFailure(f"no answer within {format_duration(run.timeout)}", reason="Timeout")
    words = "other checks had the operator's one connection to the server for too long"
    return NetworkFailure(words, reason="OwnConnectionBusy", own=True)


def _sqlstate(error: Any) -> str:
    """The code, if it is one: the server could send anything."""
    code = str(error.sqlstate)
    return code if _SQLSTATE.fullmatch(code) else "unknown"
