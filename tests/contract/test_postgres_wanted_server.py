"""target_session_attrs against a real primary and its standby: a standby does not do for who has to write."""

import pytest

from resilience.core.health.thresholds import Outcome
from tests.support import postgres
from tests.support.postgres_checks import Operator, app, said

FAIL, PASS = Outcome.FAIL, Outcome.PASS

pytestmark = pytest.mark.skipif(not postgres.available(), reason="needs PostgreSQL")


@pytest.mark.parametrize(
    ("attrs", "primary", "follower"),
    [
        ("any", "Answered", "Answered"),
        ("prefer-standby", "Answered", "Answered"),
        ("read-write", "Answered", "NotPrimary"),
        ("primary", "Answered", "NotPrimary"),
        ("standby", "NotStandby", "Answered"),
        ("read-only", "NotStandby", "Answered"),
    ],
)
async def test_the_server_has_to_be_what_the_dsn_asks_for(
    server: postgres.Postgres,
    standby: postgres.Postgres,
    operator: Operator,
    attrs: str,
    primary: str,
    follower: str,
) -> None:
    for each, reason in ((server, primary), (standby, follower)):
        dsn = f"{app(each)}&target_session_attrs={attrs}"
        for _ in range(2):
            result = await operator.run(dsn)
            assert said(result) == (PASS if reason == "Answered" else FAIL, reason), result
        assert reason == "Answered" or f"target_session_attrs in the DSN is {attrs}" in result.message


async def test_the_host_that_fits_is_found_among_several(
    server: postgres.Postgres, standby: postgres.Postgres, operator: Operator
) -> None:
    both = app(server).replace("@127.0.0.1:", f"@127.0.0.1:{standby.port},127.0.0.1:")
    query = "SELECT 1 / (NOT pg_is_in_recovery())::int"
    assert said(await operator.run(f"{both}&target_session_attrs=read-write", query=query)) == (PASS, "Answered")
    again = await operator.run(query=query)
    assert (said(again), again.reconnected) == ((PASS, "Answered"), False)
    assert said(await operator.run(both, query=query)) == (FAIL, "QueryFailed")


async def test_a_kept_session_is_not_believed_when_its_server_takes_no_writes_any_more(
    server: postgres.Postgres, operator: Operator
) -> None:
    dsn = f"{app(server)}&target_session_attrs=read-write"
    assert said(await operator.run(dsn)) == (PASS, "Answered")
    server.configure(default_transaction_read_only="on")
    try:
        result = await operator.run()
        assert said(result) == (FAIL, "NotPrimary") and "the server is read-only" in result.message
        assert said(await operator.run(dsn.replace("read-write", "primary"))) == (PASS, "Answered")
    finally:
        server.run("SET default_transaction_read_only = off", "ALTER SYSTEM RESET default_transaction_read_only")
        server.reload()
    back = await operator.run(dsn)
    # The session to the server that did not do was given up.
    assert (said(back), back.reconnected) == ((PASS, "Answered"), True), back
