"""Tells if a server is one that the DSN asks for by target_session_attrs: a standby is no use to who has to write.

asyncpg can ask so while it connects. A kept session has to be asked again, for its server may have been promoted, or
made read-only, meanwhile.
"""

from typing import Any, Final

from resilience.adapters.checks.postgres.dsn import SessionAttrs

# The default, for the check's own transactions are read-only.
_ROLE: Final = """\
SELECT pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only')::bool AS read_only"""
_ANY: Final = (SessionAttrs.ANY, SessionAttrs.PREFER_STANDBY)


class UnwantedServer(Exception):
    """The server answers, and is not what is asked for. `reason` and the text are those of the check."""

    def __init__(self, attrs: SessionAttrs, *, is_standby: bool) -> None:
        is_writer_wanted = attrs in (SessionAttrs.READ_WRITE, SessionAttrs.PRIMARY)
        self.reason = "NotPrimary" if is_writer_wanted else "NotStandby"
        role = "a standby" if is_standby else "read-only" if is_writer_wanted else "a primary that takes writes"
        super().__init__(f"the server is {role}, and target_session_attrs in the DSN is {attrs}")


async def require_wanted(connection: Any, attrs: SessionAttrs) -> None:
    """Asks the server for its role, if that matters.

    Raises:
        UnwantedServer: it is another one. Also what asyncpg and the network raise.
    """
    if attrs in _ANY:
        return
    row = await connection.fetchrow(_ROLE)
    is_standby, is_read_only = row["standby"], row["standby"] or row["read_only"]
    fits = {
        SessionAttrs.READ_WRITE: not is_read_only,
        SessionAttrs.READ_ONLY: is_read_only,
        SessionAttrs.PRIMARY: not is_standby,
        SessionAttrs.STANDBY: is_standby,
    }
    if not fits[attrs]:
        raise UnwantedServer(attrs, is_standby=is_standby)
