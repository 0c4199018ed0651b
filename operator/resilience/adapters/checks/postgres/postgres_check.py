"""The postgres check: one read-only query in a kept session, then the server's use of connections and its lag.

From an answer, only numbers and the SQLSTATE get into messages: a server's own text may quote its data.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]

from resilience.adapters.checks.postgres import DESCRIPTION, query
from resilience.adapters.checks.postgres.connections import PostgresConnections, Session
from resilience.adapters.checks.postgres.tls import Place
from resilience.adapters.checks.postgres.wanted_server import UnwantedServer
from resilience.adapters.net.failures import NetworkFailure, from_os_error
from resilience.api.scalars import format_duration
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import PostgresProbe
from resilience.ports import PortError

# Sessions of other roles appear without their type unless the role may read all statistics.
_USE: Final = """\
SELECT current_setting('max_connections')::int AS most,
  count(*) FILTER (WHERE backend_type = 'client backend' OR backend_type IS NULL AND datid IS NOT NULL)::int AS used,
  count(*) FILTER (WHERE wait_event_type = 'Lock')::int AS waiting,
  count(*) FILTER (WHERE backend_type IS NULL)::int AS hidden
FROM pg_catalog.pg_stat_activity"""
# A standby that has replayed everything it received does not lag, however old the last transaction is.
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
_ENDED: Final = "the server ended the session; it is shutting down, or an administrator ended it"
# Errors that the server sends instead of opening or keeping a session.
_MEANINGS: Final = {
    "53300": ("TooManyConnections", "the server accepts no more connections"),
    "57P01": ("ShuttingDown", _ENDED),
    "57P02": ("ShuttingDown", _ENDED),
    "57P03": ("StartingUp", "the server accepts no connections: it is starting up, shutting down or recovering"),
    "3D000": ("NoSuchDatabase", "the server has no such database"),
    _CANCELED: ("Timeout", "the query was canceled; it took too long, or somebody ended it"),
}
_QUERY_WORDS: Final = {
    "25006": "; it writes, and checks are read-only",
    "42501": "; the role lacks a privilege",
    "42601": "; it has to be one statement in correct syntax",
    "42P01": "; there is no such table",
}
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")
_FIRST_WORD: Final = re.compile(r"[\s(]*([A-Za-z]+)")


@dataclass(slots=True)
class _Run:
    """One run of a check; `began`, `turn_at` and `deadline` are loop times. `session`: None until it is known."""

    probe: PostgresProbe
    connections: PostgresConnections
    timeout: timedelta
    began: float
    session: Session | None = None
    # The server has accepted the login.
    inside: bool = False
    reconnected: bool = False
    # Loop time at which the run got the session; from then on, the server uses up the time.
    turn_at: float | None = None

    @property
    def deadline(self) -> float:
        return self.began + self.timeout.total_seconds()

    def result(
        self,
        outcome: Outcome,
        reason: str,
        words: str,
        seconds: float | None = None,
        *,
        figure: float | None = None,
        lag: float | None = None,
    ) -> CheckResult:
        message, again = f"{DESCRIPTION}: {words}", self.reconnected
        return CheckResult(outcome, reason, message, seconds, reconnected=again, figure=figure, replication_lag=lag)


async def check_postgres(probe: PostgresProbe, *, connections: PostgresConnections, timeout: timedelta) -> CheckResult:
    """Passes when the query answers; warns when connections, locks or replicas are beyond what `probe` allows.

    With bounds for the value of the query, this value decides as well.

    Refused credentials are read afresh and, if they changed, tried once more.

    Raises:
        Refused: the address is not permitted. Invalid, Unavailable: as PostgresConnections.place.
        NetworkFailure: no answer within `timeout`, of which name resolution may take half. `own` when the operator
            itself used up the time: other checks had the connection, or the Secret was slow.
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
    except UnwantedServer as server:
        return run.result(Outcome.FAIL, server.reason, str(server))
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
            problem, figure = await query.ask(session.connection, run.probe)
        except asyncpg.PostgresError as error:
            if session.connection.is_closed():
                raise
            result = _query_failed(error, run)
        else:
            if problem:
                result = run.result(Outcome.FAIL, "QueryFailed", problem)
            else:
                result = await _judged(run, session, loop.time() - began, figure)
        with session.asking():
            await session.connection.execute("ROLLBACK")
        return result


async def _judged(run: _Run, session: Session, seconds: float, figure: float | None) -> CheckResult:
    """The result after the query has answered: a warning when there is a shortage, else a pass, unless its value fails.

    `figure` is that value, as far as it has bounds.
    """
    probe, short, behind = run.probe, [], None
    first_word = _FIRST_WORD.match(probe.query)
    facts = [f"{first_word[1].upper() if first_word else 'the query'} answered"]
    if probe.levels is not None:
        outcome, reason, words = query.verdict(probe.levels, figure)
        if outcome not in (Outcome.PASS, Outcome.WARN):
            return run.result(outcome, reason, words, seconds, figure=figure)
        if outcome is Outcome.WARN:
            short.append((reason, words))
        facts.append(words)
    use = await _row(session, _USE)
    if use is None:
        facts.append(f"connections cannot be seen: {_GRANT}")
    else:
        used, most, waiting = use["used"], use["most"], use["waiting"]
        facts.append(f"{used} of {most} connections, {waiting} waiting")
        if used > probe.max_connection_use * most:
            share = f"{probe.max_connection_use * 100:g}%"
            short.append(("ConnectionsShort", f"{used} of {most} connections are in use, above {share}"))
        if waiting > probe.max_waiting:
            short.append(("SessionsWait", f"sessions waiting for a lock: {waiting}, above {probe.max_waiting}"))
        if use["hidden"]:
            facts.append(f"waiting sessions of other roles cannot be seen: {_GRANT}")
    if probe.max_lag is not None:
        is_lagging, words, behind = await _lag(session, probe.max_lag)
        if is_lagging:
            short.append(("ReplicaLags", words))
        elif words:
            facts.append(words)
    if short:
        outcome, reason, words = Outcome.WARN, short[0][0], "; ".join(words for _, words in short)
    else:
        outcome, reason, words = Outcome.PASS, "Answered", "; ".join(facts)
    return run.result(outcome, reason, words, seconds, figure=figure, lag=behind)


async def _lag(session: Session, most: timedelta) -> tuple[bool, str, float | None]:
    """True if replication is too far behind, a message about it, and the lag in seconds, None if it is not known."""
    row = await _row(session, _LAG)
    if row is not None and row["seconds"] is not None and row["seconds"] > most.total_seconds():
        subject = "this standby" if row["standby"] else "a replica"
        behind = timedelta(seconds=round(row["seconds"], 1))
        return True, f"{subject} is {format_duration(behind)} behind, above {format_duration(most)}", row["seconds"]
    if row is None or row["hidden"]:
        return False, f"replication lag cannot be seen: {_GRANT}", None
    if not row["standby"] and not row["replicas"]:
        return False, "no replica is connected", None
    # A replica that has caught up reports no lag.
    return False, "", row["seconds"] or 0.0


async def _row(session: Session, query: str) -> Any:
    """The one row of a query about the server itself; None when the server refuses the query."""
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
    """The result for an error that the server sent instead of opening or keeping the session."""
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        match error.__cause__:
            case asyncpg.PostgresError() as reply:
                return _refused(reply, run)
            case OSError() as cause:
                raise from_os_error(cause) from error
        raise _closed() from error
    code = _sqlstate(error)
    if code in _AUTHENTICATION:
        dsn = run.probe.dsn
        words = f"user or password in {dsn.place} are refused (SQLSTATE {code})"
        return run.result(Outcome.FAIL, "AuthenticationFailed", words)
    reason, words = _MEANINGS.get(code, ("SessionRefused", "the server refuses the session"))
    return run.result(Outcome.FAIL, reason, f"{words} (SQLSTATE {code})")


def _strange(error: Exception, run: _Run) -> NetworkFailure:
    """The failure for an unexpected error of the library: a peer other than PostgreSQL can cause nearly any error."""
    if run.inside and isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        # The server's closing message came between two commands.
        return _closed()
    if isinstance(error, asyncpg.InterfaceError):
        words = "the server requests a login method that the operator does not support"
        return NetworkFailure(words, reason="LoginUnknown")
    return NetworkFailure("the server that answers is not PostgreSQL", reason="NotPostgres")


def _closed() -> NetworkFailure:
    return NetworkFailure("the connection was closed without an answer", reason="ConnectionClosed")


def _network_failure(error: OSError, run: _Run) -> NetworkFailure:
    match error:
        case TimeoutError(errno=None):
            return _late(run)
        case ConnectionError(errno=None):
            return NetworkFailure("the server refuses TLS, or is not PostgreSQL", reason="TlsRefused")
        case _:
            return from_os_error(error)


def _late(run: _Run) -> NetworkFailure:
    """The failure at the timeout: the server's if it was silent for half of the time, else that of our own queue."""
    if run.session is None:
        words = "the operator could not read the Secret and find the hosts in time"
        return NetworkFailure(words, reason="OwnPreparationLate", own=True)
    now = asyncio.get_running_loop().time()
    silent = now - min(moment for moment in (run.turn_at, run.session.asked_at, now) if moment is not None)
    if silent >= run.timeout.total_seconds() / 2:
        return NetworkFailure(f"no answer within {format_duration(run.timeout)}", reason="Timeout")
    words = "other checks had the operator's one connection to the server for too long"
    return NetworkFailure(words, reason="OwnConnectionBusy", own=True)


def _sqlstate(error: Any) -> str:
    """The code, or `unknown` if it is not a SQLSTATE: the server could send anything."""
    code = str(error.sqlstate)
    return code if _SQLSTATE.fullmatch(code) else "unknown"
