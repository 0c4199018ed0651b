"""Connections to PostgreSQL servers: one for each DSN, however many checks use it.

Every parameter of a connection comes from the Secret and the resource: asyncpg would fill gaps from PG* variables and
from password, service and key files of the process, so this module leaves no gap. It must not judge an answer; that is
the task of the check.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]

from resilience.adapters.checks.postgres.answer_limit import BoundedConnection
from resilience.adapters.checks.postgres.dsn import SslMode, parse_dsn
from resilience.adapters.checks.postgres.scram import Keys, log_in
from resilience.adapters.checks.postgres.tls import Place, contexts
from resilience.adapters.checks.postgres.wanted_server import UnwantedServer, require_wanted
from resilience.adapters.net.address import Address, AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.threads import SharedThreads
from resilience.core.model.probes import PostgresProbe, TlsTrust
from resilience.ports import Invalid

MOST_SESSIONS: Final = 200
KEPT_UNUSED: Final = timedelta(minutes=2)
APPLICATION_NAME: Final = "resilience-operator"


@dataclass(slots=True, eq=False)
class Session:
    """The one connection of a place, and its queue. Use it within PostgresConnections.turn() only."""

    place: Place
    connection: Any = None
    address: Address | None = None
    # Loop time since which the server owes an answer that should be immediate; None when it owes none. It outlives the
    # connection, so that waiting checks can distinguish a silent server from a busy one.
    asked_at: float | None = None
    # The previous connection was lost.
    lost: bool = False
    # Checks that use it or wait for it.
    users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    # They go with the session, as the password does.
    keys: Keys = field(default_factory=dict)
    expiry: asyncio.TimerHandle | None = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Marks a request that any server answers at once: any end but a cancellation (our timeout) is an answer."""
        if self.asked_at is None:
            self.asked_at = asyncio.get_running_loop().time()
        try:
            yield
        except Exception:
            self.asked_at = None
            raise
        self.asked_at = None

    def drop(self, *, lost: bool = True) -> None:
        """Closes the connection at once, whatever it is doing. Does nothing when there is none."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self.lost = lost
            connection.terminate()


class PostgresConnections:
    """Keeps at most one connection for each place, and closes it when it is unused for two minutes."""

    def __init__(self, *, credentials: Credentials, guard: AddressGuard) -> None:
        self._credentials = credentials
        self._guard = guard
        self._sessions: dict[Place, Session] = {}
        # Few, for what they compute takes a processor; of a namespace one, for it can have them compute all the time.
        self._hashing = SharedThreads("scram", total=2, share=1)

    async def place(self, probe: PostgresProbe, *, fresh: bool = False) -> Place:
        """The place that the Secrets describe. `fresh`: read them now.

        Raises:
            Invalid: the DSN cannot be read or requires what checks do not do; or as Credentials.value and tls.
            Unavailable: as those.
        """
        credentials, trust = self._credentials, probe.trust
        value = await credentials.value(probe.dsn, fresh=fresh)
        ca = await credentials.value(trust.ca if trust else None, fresh=fresh)
        try:
            # A resource that gives authorities wants them to be used.
            unstated = SslMode.VERIFY_FULL if trust else SslMode.PREFER
            dsn = parse_dsn(value, unstated=unstated, has_authorities=trust is not None)
        except Invalid as invalid:
            words = f"{probe.dsn.place} holds no usable DSN: {invalid}"
            raise Invalid(words) from None
        if trust is not None and dsn.sslmode is SslMode.REQUIRE:
            # libpq does the same where there are authorities.
            dsn = replace(dsn, sslmode=SslMode.VERIFY_CA)
        verifies = dsn.sslmode in (SslMode.VERIFY_CA, SslMode.VERIFY_FULL)
        context = await credentials.tls(trust or TlsTrust()) if verifies else None
        return Place(dsn=dsn, server_name=trust.server_name if trust else "", ca=ca, context=context)

    async def targets(self, place: Place, *, timeout: timedelta) -> list[tuple[str, Address]]:
        """Each host with its permitted addresses, in the order to try them. `timeout` applies to each host.

        Raises:
            Refused: a host is not permitted. NetworkFailure: no host has an address.
        """
        targets: list[tuple[str, Address]] = []
        failure: NetworkFailure | None = None
        for host, port in place.dsn.hosts:
            try:
                targets += [(host, address) for address in await self._guard.addresses(host, port, timeout=timeout)]
            except NetworkFailure as error:
                failure = error
        if failure is not None and not targets:
            raise failure
        return targets

    def session(self, place: Place) -> Session:
        """The session of a place, new if there was none. Raises NetworkFailure (own) when too many are in use."""
        session = self._sessions.pop(place, None)
        if session is None:
            if len(self._sessions) >= MOST_SESSIONS:
                self._make_room()
            session = Session(place)
        # The dictionary is in the order of last use.
        self._sessions[place] = session
        return session

    @asynccontextmanager
    async def turn(self, session: Session) -> AsyncIterator[None]:
        """Waits until the session is free and reserves it; an error inside closes the connection. Sets no deadline."""
        session.users += 1
        if session.expiry is not None:
            session.expiry.cancel()
        try:
            async with session.lock:
                try:
                    yield
                except BaseException:
                    session.drop()
                    raise
                if session.connection is not None and session.connection.is_worn():
                    session.drop(lost=False)
        finally:
            session.users -= 1
            if not session.users:
                after = KEPT_UNUSED.total_seconds()
                session.expiry = asyncio.get_running_loop().call_later(after, self._forget, session)

    async def begin(self, session: Session, targets: Sequence[tuple[str, Address]], *, deadline: float) -> bool:
        """Begins a read-only transaction, on a new connection if necessary. True if that one replaces a lost one.

        Call it within the session's turn, and end the transaction with ROLLBACK. `deadline` is a loop time. No
        statement runs longer, and each of several targets gets its share of the time. Raises UnwantedServer when none
        that answers is what the DSN asks for, and what asyncpg and the network raise.
        """
        current = session.connection
        # If the name leads to other addresses now, the connection follows it, as every new client does.
        if (
            current is not None
            and not current.is_closed()
            and any(session.address == address for _, address in targets)
        ):
            current.renew()
            try:
                await _begin(session, deadline)
                await _require_wanted(session)
                return False
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                # It died since its last use, which says nothing about the server that answers now.
                pass
            except UnwantedServer:
                # It was promoted or demoted; another one may have its role now.
                pass
        session.drop()
        await self._open(session, targets, deadline)
        reconnected, session.lost = session.lost, False
        await _begin(session, deadline)
        return reconnected

    async def close(self) -> None:
        """Closes all connections."""
        for session in list(self._sessions.values()):
            self._forget(session)

    def _forget(self, session: Session) -> None:
        if session.expiry is not None:
            session.expiry.cancel()
        session.drop()
        if self._sessions.get(session.place) is session:
            del self._sessions[session.place]

    def _make_room(self) -> None:
        for session in self._sessions.values():
            if not session.users:
                self._forget(session)
                return
        words = f"the operator has {MOST_SESSIONS} connections to PostgreSQL servers in use and makes no more"
        raise NetworkFailure(words, reason="OwnConnectionsExhausted", own=True)

    async def _open(self, session: Session, targets: Sequence[tuple[str, Address]], deadline: float) -> None:
        loop = asyncio.get_running_loop()
        failure: Exception | None = None
        for left in range(len(targets), 0, -1):
            host, address = targets[-left]
            try:
                # An address that drops packets silently must leave time for the next one.
                async with asyncio.timeout((deadline - loop.time()) / left):
                    with session.asking():
                        session.connection = await log_in(
                            lambda: _connect(session.place, host, address),  # noqa: B023 - called before the next turn
                            keys=session.keys,
                            threads=self._hashing,
                            timeout=timedelta(seconds=max(deadline - loop.time(), 0) / left / 2),
                        )
                    await _require_wanted(session)
                session.address = address
                return
            except UnwantedServer as error:
                session.drop(lost=session.lost)
                failure = error
            except (OSError, asyncpg.CannotConnectNowError) as error:
                failure = error
        assert failure is not None  # there is at least one target
        raise failure


async def _connect(place: Place, host: str, address: Address) -> Any:
    dsn = place.dsn
    failure: Exception | None = None
    for context in contexts(place, host):
        try:
            return await asyncpg.connect(
                host=address.ip,
                port=address.port,
                user=dsn.user,
                password=dsn.password,
                database=dsn.database,
                ssl=context or False,
                direct_tls=False,
                # The caller's deadline covers everything.
                timeout=None,
                # Prepared statements with names do not work through pgbouncer.
                statement_cache_size=0,
                server_settings={"application_name": APPLICATION_NAME},
                # Explicit, because these would otherwise come from the environment.
                target_session_attrs="any",
                krbsrvname="postgres",
                gsslib="gssapi",
                connection_class=BoundedConnection,
            )
        except asyncpg.InvalidPasswordError:
            # The password must not be sent again without TLS.
            raise
        except (ssl.SSLError, ConnectionError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            failure = error
    assert failure is not None  # there is at least one way
    raise failure


async def _require_wanted(session: Session) -> None:
    with session.asking():
        await require_wanted(session.connection, session.place.dsn.session)


async def _begin(session: Session, deadline: float) -> None:
    left = max(1, int((deadline - asyncio.get_running_loop().time()) * 1000))
    with session.asking():
        await session.connection.execute(
            f"BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = {left}"
        )
