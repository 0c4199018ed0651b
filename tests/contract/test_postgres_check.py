"""The postgres check against a real PostgreSQL with a standby: queries, what is short, and servers that come and go."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest

from resilience.adapters.checks.postgres import connections
from resilience.core.health.thresholds import Outcome
from resilience.core.model.bounds import NO_LEVELS, Bounds, Levels
from resilience.core.model.probes import SecretRef
from tests.support import postgres
from tests.support.ports import server_port
from tests.support.postgres_checks import NAMES, SHORT, Operator, app, said, sessions

FAIL, PASS, WARN, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.WARN, Outcome.INCONCLUSIVE

pytestmark = pytest.mark.skipif(not postgres.available(), reason="needs PostgreSQL")


@asynccontextmanager
async def client(server: postgres.Postgres) -> AsyncIterator[Any]:
    """A session of somebody else."""
    connection = await asyncpg.connect(server.dsn() + "disable")
    try:
        yield connection
    finally:
        connection.terminate()


async def test_it_passes_and_keeps_the_connection(server: postgres.Postgres, operator: Operator) -> None:
    first = await operator.run(server.dsn() + "disable")
    assert said(first) == (PASS, "Answered"), first
    # Beside ours, the one that saw whether the server is up may not be quite gone.
    assert re.fullmatch(r"PostgreSQL: SELECT answered; [12] of 100 connections, 0 waiting", first.message)
    assert not first.reconnected and first.latency_seconds is not None and 0 < first.latency_seconds < 1
    second = await operator.run()
    assert (said(second), second.reconnected, operator.reads) == (said(first), False, 1)
    # The rights of a common role are enough; what it cannot see is said.
    plain = await operator.run(app(server))
    assert said(plain) == (PASS, "Answered")
    assert plain.message == (
        "PostgreSQL: SELECT answered; 2 of 100 connections, 0 waiting;"
        " waiting sessions of other roles cannot be seen: grant pg_monitor to the role"
    )


@pytest.mark.parametrize(
    ("query", "reason", "words"),
    [
        ("SELECT 1", "Answered", "SELECT answered"),
        ("  (SELECT 1)", "Answered", "SELECT answered"),
        ("-- note\nSELECT 1", "Answered", "the query answered"),
        ("SHOW server_version", "Answered", "SHOW answered"),
        ("VALUES (1), (2)", "Answered", "VALUES answered"),
        ("SELECT id FROM orders", "Answered", "SELECT answered"),
        ("SELECT 'fine'::mood, ARRAY['fine'::mood]", "Answered", "SELECT answered"),
        ("SELECT 1;", "Answered", "SELECT answered"),
        # A row of 50 MB, and one without end: they stay where they are.
        ("SELECT repeat('x', 50000000)", "Answered", "SELECT answered"),
        ("SELECT generate_series(1, 2000000000)", "Answered", "SELECT answered"),
        ("SELECT 1; SELECT 2", "QueryFailed", "(SQLSTATE 42601); it has to be one statement in correct syntax"),
        ("SELECT 1; DROP TABLE orders", "QueryFailed", "(SQLSTATE 42601)"),
        ("SELEC 1", "QueryFailed", "(SQLSTATE 42601)"),
        ("INSERT INTO orders VALUES (1) RETURNING id", "QueryFailed", "(SQLSTATE 25006); it writes"),
        ("SELECT setval(pg_get_serial_sequence('orders', 'id'), 1), nextval('x')", "QueryFailed", "42P01"),
        ("INSERT INTO orders VALUES (1)", "QueryFailed", "the query returns no columns, so it is not run"),
        ("COMMIT", "QueryFailed", "returns no columns"),
        ("COPY orders TO STDOUT", "QueryFailed", "returns no columns"),
        ("", "QueryFailed", "returns no columns"),
        ("SELECT $1", "QueryFailed", "the query has parameters"),
        ("SELECT id FROM s3cret", "QueryFailed", "the query failed (SQLSTATE 42P01); there is no such table"),
        ("SELECT pg_read_file('hidden')", "QueryFailed", "(SQLSTATE 42501); the role lacks a privilege"),
        ("SELECT 1/0", "QueryFailed", "the query failed (SQLSTATE 22012)"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "QueryFailed", "(SQLSTATE 25001)"),
    ],
)
async def test_queries(server: postgres.Postgres, operator: Operator, query: str, reason: str, words: str) -> None:
    result = await operator.run(app(server), query=query)
    assert said(result) == (PASS if reason == "Answered" else FAIL, reason), result
    assert words in result.message
    # Whatever it was, the session goes on, and is as it was.
    again = await operator.run(query="SELECT 1 / (current_setting('statement_timeout') <> '0')::int")
    assert (said(again), again.reconnected) == ((PASS, "Answered"), False), again


@pytest.mark.parametrize(
    ("query", "outcome", "reason", "words"),
    [
        ("SELECT 3", PASS, "Answered", "SELECT answered; the value is about 3"),
        ("SELECT 12::bigint", WARN, "OutOfBounds", "the value is about 12, above 10"),
        ("SELECT 123.456", FAIL, "OutOfBounds", "the value is about 120, above 100"),
        ("SELECT -0.5::float8, 'fine'::mood", WARN, "OutOfBounds", "the value is about -0.5, below 0"),
        ("SELECT '1e300'::numeric * '1e300'::numeric", FAIL, "OutOfBounds", "about inf, above 100"),
        ("SELECT count(*) FROM orders WHERE id > 1000", PASS, "Answered", "about 0"),
        # No number is no good news (lausser/check_mysql_health#21).
        ("SELECT max(id) FROM orders WHERE id > 1000", UNKNOWN, "NoData", "the query returned no row, or no number"),
        ("SELECT id FROM orders WHERE id > 1000", UNKNOWN, "NoData", "no row"),
        ("SELECT 'NaN'::float8", UNKNOWN, "NoData", "no number in it"),
        ("SELECT 'twelve'", FAIL, "QueryFailed", "the first column of the query is no number"),
        ("SELECT true", FAIL, "QueryFailed", "is no number"),
        ("SELECT 1/0", FAIL, "QueryFailed", "SQLSTATE 22012"),
    ],
)
async def test_the_value_of_a_query(
    server: postgres.Postgres, operator: Operator, query: str, outcome: Outcome, reason: str, words: str
) -> None:
    bounds = Levels(critical=Bounds(above=100), warning=Bounds(above=10, below=0))

    result = await operator.run(app(server), query=query, levels=bounds)

    assert said(result) == (outcome, reason), result
    assert words in result.message and result.replication_lag is None
    assert (result.figure is not None) == (reason in ("Answered", "OutOfBounds"))
    assert said(await operator.run(query="SELECT 1")) == (PASS, "Answered")


async def test_a_row_that_is_too_long_is_not_read(server: postgres.Postgres, operator: Operator) -> None:
    wide = "SELECT 1, repeat('x', 1000000)"

    result = await operator.run(app(server), query=wide, levels=NO_LEVELS)

    assert said(result) == (FAIL, "AnswerTooLong"), result
    assert said(await operator.run(query=wide)) == (PASS, "Answered")


async def test_what_a_query_sets_ends_with_it(server: postgres.Postgres, operator: Operator) -> None:
    assert said(await operator.run(app(server), query="SELECT set_config('work_mem', '77MB', false)"))[0] is PASS
    after = await operator.run(query="SELECT 1 / (current_setting('work_mem') <> '77MB')::int")
    assert (said(after), after.reconnected) == ((PASS, "Answered"), False)


async def test_what_is_short(server: postgres.Postgres, operator: Operator) -> None:
    dsn = server.dsn() + "disable"
    async with client(server) as one, client(server) as two:
        short = await operator.run(dsn, max_connection_use=0.02)
        assert said(short) == (WARN, "ConnectionsShort")
        assert short.message == "PostgreSQL: 3 of 100 connections are in use, above 2%"
        assert said(await operator.run(max_connection_use=0.03)) == (PASS, "Answered")
        await one.execute("BEGIN; LOCK TABLE orders")
        waiting = asyncio.create_task(two.execute("BEGIN; LOCK TABLE orders"))
        for _ in range(100):
            wait = await operator.run(max_waiting=0)
            if wait.outcome is not PASS:
                break
            await asyncio.sleep(0.02)
        assert said(wait) == (WARN, "SessionsWait") and "sessions waiting for a lock: 1, above 0" in wait.message
        assert said(await operator.run(max_waiting=1)) == (PASS, "Answered")
        both = await operator.run(max_connection_use=0.02, max_waiting=0)
        assert both.reason == "ConnectionsShort" and "waiting for a lock" in both.message
        # A query that has to wait is too slow, and that is the server's affair.
        assert said(await operator.run(query="SELECT id FROM orders", timeout=SHORT)) == (FAIL, "Timeout")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_replication(server: postgres.Postgres, standby: postgres.Postgres, operator: Operator) -> None:
    lag = {"max_lag": timedelta(seconds=1)}
    dsn = server.dsn() + "disable"
    near = await operator.run(dsn, **lag)
    assert said(near) == (PASS, "Answered") and near.message.endswith("0 waiting")
    hidden = await operator.run(app(server), **lag)
    assert said(hidden) == (PASS, "Answered")
    assert hidden.message.endswith("replication lag cannot be seen: grant pg_monitor to the role")
    follower = standby.dsn() + "disable"
    reading = await operator.run(follower, **lag)
    assert said(reading) == (PASS, "Answered"), reading
    standby.run("SELECT pg_wal_replay_pause()")
    server.run("CREATE TABLE more (id int)")
    for where, who in ((follower, "this standby"), (dsn, "a replica")):
        for _ in range(300):
            behind = await operator.run(where, **lag)
            if behind.outcome is not PASS:
                break
            await asyncio.sleep(0.02)
        assert said(behind) == (WARN, "ReplicaLags"), behind
        assert f"{who} is " in behind.message and "s behind, above 1s" in behind.message
        assert behind.replication_lag is not None and behind.replication_lag > 1 and behind.figure is None
    standby.run("SELECT pg_wal_replay_resume()")
    # Rights can be taken from everybody; what answers is well all the same.
    server.run("REVOKE SELECT ON pg_stat_activity, pg_stat_replication FROM PUBLIC")
    blind = await operator.run(app(server), **lag)
    server.run("GRANT SELECT ON pg_stat_activity, pg_stat_replication TO PUBLIC")
    assert said(blind) == (PASS, "Answered") and "connections cannot be seen: grant pg_monitor" in blind.message
    # On a standby a transaction is read-only anyway.
    assert said(await operator.run(follower)) == (PASS, "Answered")


async def test_without_replicas_it_says_so(operator: Operator) -> None:
    with postgres.running() as alone:
        result = await operator.run(alone.dsn() + "disable", max_lag=timedelta(seconds=1))
        assert said(result) == (PASS, "Answered") and result.message.endswith("; no replica is connected")
        # A smart shutdown: the kept session goes on, a new one is refused.
        alone.ask_to_stop()
        newcomer = Operator()
        while (result := await newcomer.run(alone.dsn() + "disable")).outcome is PASS:
            await newcomer.connections.close()
        assert said(result) == (FAIL, "StartingUp"), result
        assert said(await operator.run()) == (PASS, "Answered")
        alone.stop()
        gone = await operator.run()
        assert said(gone) == (FAIL, "ConnectionRefused"), gone
        alone.start()
        back = await operator.run()
        assert (said(back), back.reconnected) == ((PASS, "Answered"), True)
        # Somebody ends the session, idle and while it works.
        alone.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'resil%'")
        await asyncio.sleep(0.05)
        again = await operator.run()
        assert (said(again), again.reconnected) == ((PASS, "Answered"), True)
        ended = await operator.run(query="SELECT pg_terminate_backend(pg_backend_pid())")
        assert ended.outcome is FAIL and ended.reason in {"ShuttingDown", "ConnectionClosed"}, ended


async def test_a_server_that_stands_still(server: postgres.Postgres, operator: Operator) -> None:
    assert (await operator.run(app(server))).outcome is PASS
    server.signal(signal.SIGSTOP)
    try:
        for _ in range(2):
            hung = await asyncio.gather(*[operator.run(timeout=SHORT) for _ in range(20)])
            # Not one of those who wait takes it for the operator's own queue.
            assert {said(each) for each in hung} == {(FAIL, "Timeout")}
            assert hung[0].message == "PostgreSQL: no answer within 400ms"
    finally:
        server.signal(signal.SIGCONT)
    again = await operator.run()
    assert (said(again), again.reconnected) == ((PASS, "Answered"), True)


async def test_a_slow_query_is_its_own_fault_only(server: postgres.Postgres, operator: Operator) -> None:
    slow = asyncio.create_task(operator.run(app(server), query="SELECT pg_sleep(60)", timeout=timedelta(seconds=1)))
    await asyncio.sleep(0.1)
    queued = await operator.run(timeout=SHORT)
    assert said(queued) == (UNKNOWN, "OwnConnectionBusy"), queued
    assert said(await slow) == (FAIL, "Timeout")
    # The server has given it up too.
    await asyncio.sleep(0.1)
    assert server.run("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'MOVE%' AND state = 'active'") == "0"
    again = await operator.run()
    assert (said(again), again.reconnected) == ((PASS, "Answered"), True)
    slow = asyncio.create_task(operator.run(query="SELECT pg_sleep(60)"))
    await asyncio.sleep(0.1)
    server.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'resil%'")
    canceled = await slow
    assert said(canceled) == (FAIL, "Timeout") and "somebody ended it" in canceled.message


async def test_many_checks_hold_one_connection(server: postgres.Postgres, operator: Operator) -> None:
    # Of ten teams with a Secret each.
    refs = [SecretRef(f"team-{number % 10}", "db", "dsn") for number in range(200)]
    operator.secrets.update(dict.fromkeys(refs, app(server)))
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, await asyncio.to_thread(sessions, server))

    watching = asyncio.create_task(watch())
    patient = timedelta(seconds=30)
    queries = [f"SELECT {number}" for number in range(200)]
    results = await asyncio.gather(
        *[operator.run(dsn=ref, query=query, timeout=patient) for ref, query in zip(refs, queries, strict=True)]
    )
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert {each.outcome for each in results} == {PASS}
    assert not any(each.reconnected for each in results)
    assert max(most, sessions(server)) == 1


async def test_unused_connections_go(
    server: postgres.Postgres, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "KEPT_UNUSED", timedelta(milliseconds=300))
    for _ in range(3):
        assert (await operator.run(app(server))).outcome is PASS
        await asyncio.sleep(0.15)
    assert not (await operator.run()).reconnected
    await asyncio.sleep(0.5)
    assert sessions(server) == 0
    assert said(await operator.run()) == (PASS, "Answered")
    assert sessions(server) == 1
    await operator.connections.close()
    await asyncio.sleep(0.1)
    assert sessions(server) == 0


async def test_their_number_is_bounded(
    server: postgres.Postgres, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_SESSIONS", 1)
    slow = asyncio.create_task(operator.run(app(server), query="SELECT pg_sleep(0.3)"))
    await asyncio.sleep(0.1)
    full = await operator.run(server.dsn() + "disable")
    assert said(full) == (UNKNOWN, "OwnConnectionsExhausted")
    assert (await slow).outcome is PASS
    assert (await operator.run()).outcome is PASS
    await asyncio.sleep(0.1)
    assert sessions(server) == 1


async def test_several_hosts_and_names_that_move(server: postgres.Postgres, operator: Operator) -> None:
    dead = f"127.0.0.1:{server_port()}"
    both = app(server).replace("@127.0.0.1", f"@nowhere.shop,{dead},db.shop")
    assert said(await operator.run(both)) == (PASS, "Answered")
    assert said(await operator.run(app(server).replace("127.0.0.1", "two.shop"))) == (PASS, "Answered")
    named = app(server).replace("127.0.0.1", "db.shop")
    assert said(await operator.run(named)) == (PASS, "Answered")
    NAMES["db.shop"] = ["127.0.0.2"]
    try:
        moved = await operator.run()
        assert said(moved) == (FAIL, "ConnectionRefused")
    finally:
        NAMES["db.shop"] = ["127.0.0.1"]
    assert said(await operator.run(named.replace("db.shop", "nowhere.shop"))) == (FAIL, "NameNotFound")
    refused = await operator.run(named.replace("db.shop", "169.254.169.254"))
    assert said(refused) == (UNKNOWN, "Refused")
    refused = await operator.run(named.replace("db.shop", "db.shop:1,169.254.169.254"))
    assert said(refused) == (UNKNOWN, "Refused")
