"""Connections to Redis that checks keep open: one for each server and login, however many checks use it.

The commands of a call are sent and answered as one batch, behind a lock. A connection with any error is closed: a late
reply must not be taken for the reply to the next command. This module must not judge replies.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from resilience.adapters.checks.redis.answers import Command, LoginRefused, Reply, ServerError, Verdict, verdict
from resilience.adapters.checks.redis.deadline import Deadline
from resilience.adapters.checks.redis.node import Node
from resilience.adapters.lazy import Lazy
from resilience.adapters.net.address import Address, AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure, Untrusted

if TYPE_CHECKING:
    from resilience.adapters.checks.redis.link import Link

# An unused connection is kept for this long.
KEPT: Final = timedelta(minutes=2)
MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """Replies by command, errors among them, and the seconds that they took."""

    replies: Mapping[Command, Reply]
    seconds: float
    # The connection existed before.
    kept: bool
    # The connection replaces one that was lost.
    reconnected: bool = False


@dataclass(frozen=True, slots=True)
class _Login:
    """Values of Secrets. They are part of the key of a connection, so a new password means a new connection."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    ca: str = field(repr=False)


_Key = tuple[str, int, int, str, _Login, bool]


@dataclass(slots=True, eq=False)
class _Slot:
    """The slot of one kept connection."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    link: "Link | None" = None
    # Calls that use it or wait for it.
    users: int = 0
    expiry: asyncio.TimerHandle | None = None
    # The previous connection was lost.
    lost: bool = False
    # Loop time of the last answer.
    answered: float = 0.0

    async def ask(
        self,
        commands: Sequence[Command],
        *,
        addresses: Sequence[Address],
        connect: "Callable[[], Awaitable[Link]]",
        anew: bool,
    ) -> Answer:
        """Sends commands on the kept connection, or on a new one if `anew` is true or the kept one is dead."""
        if anew:
            self.drop()
        if self.link is not None and (self.link.address not in addresses or not await self.link.quiet()):
            self._lose()
        if self.link is not None:
            try:
                return await self._exchange(self.link, commands, kept=True)
            except NetworkFailure:
                # It died since its last use, which says nothing about the server that answers now.
                pass
        self.link = await connect()
        reconnected, self.lost = self.lost, False
        return await self._exchange(self.link, commands, reconnected=reconnected)

    async def _exchange(
        self, link: "Link", commands: Sequence[Command], *, kept: bool = False, reconnected: bool = False
    ) -> Answer:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            replies = await link.ask(commands)
        except BaseException:
            self._lose()
            raise
        self.answered = loop.time()
        return Answer(dict(zip(commands, replies, strict=True)), self.answered - began, kept, reconnected)

    def drop(self) -> None:
        """Closes the connection, if there is one."""
        if self.link is not None:
            self.link.abort()
            self.link = None

    def _lose(self) -> None:
        self.drop()
        self.lost = True


class RedisConnections:
    """Sends commands to servers that `guard` permits.

    Keeps at most `most` connections, each for two minutes after its last use.
    """

    def __init__(self, *, guard: AddressGuard, credentials: Credentials, most: int = MOST) -> None:
        self._guard = guard
        self._credentials = credentials
        self._most = most
        self._library = Lazy(_library)
        # In the order of their last use.
        self._slots: dict[_Key, _Slot] = {}

    async def load(self) -> None:
        """Imports the library. Do it before a deadline begins, which is the server's."""
        await self._library.get()

    async def ask(
        self, node: Node, *commands: Command, deadline: Deadline, anew: bool = False, keep: bool = True
    ) -> Answer:
        """Sends commands once. If the login is refused, it is read afresh and, if it changed, tried once more.

        `anew`: use a new connection, and keep that one. `keep`: False for a connection that is closed afterwards.

        Raises:
            Verdict: the login is refused, or an error ended the connection.
            NetworkFailure: no answer; the message names the node.
            Refused: the address is not permitted.
            Invalid, Unavailable: a Secret cannot be used.
        """
        try:
            login = await self._login(node, deadline=deadline)
            try:
                return await self._ask(node, login, commands, deadline=deadline, anew=anew, keep=keep)
            except (LoginRefused, Untrusted):
                fresh = await self._login(node, deadline=deadline, fresh=True)
                if fresh == login:
                    raise
            return await self._ask(node, fresh, commands, deadline=deadline, anew=anew, keep=keep)
        except LoginRefused as error:
            raise Verdict("AuthenticationFailed", _refused(node)) from error
        except ServerError as error:
            raise verdict(error, commands[0], node=node) from error
        except NetworkFailure as failure:
            raise NetworkFailure(f"{node}: {failure}", reason=failure.reason, own=failure.own) from failure

    async def open(self, node: Node, *, deadline: Deadline, fresh: bool = False) -> "Link":
        """A new connection for the caller alone, logged in. Raises as `ask` does. The caller closes it with `abort`."""
        try:
            login = await self._login(node, deadline=deadline, fresh=fresh)
            addresses = await self._guard.addresses(node.host, node.port, timeout=deadline.left())
            async with asyncio.timeout_at(deadline.at):
                return await self._connected(node, login, addresses, deadline=deadline)
        except TimeoutError as error:
            raise deadline.over() from error
        except LoginRefused as error:
            raise Verdict("AuthenticationFailed", _refused(node)) from error

    async def close(self) -> None:
        """Closes all connections, including those in use."""
        slots, self._slots = self._slots, {}
        for slot in slots.values():
            if slot.expiry is not None:
                slot.expiry.cancel()
            slot.drop()
        # A transport closes in the next iteration of the loop.
        await asyncio.sleep(0)

    async def _login(self, node: Node, *, deadline: Deadline, fresh: bool = False) -> _Login:
        read, ca = self._credentials.value, node.trust.ca if node.trust else None
        try:
            async with asyncio.timeout_at(deadline.at):
                return _Login(
                    username=await read(node.username, fresh=fresh),
                    password=await read(node.password, fresh=fresh),
                    ca=await read(ca, fresh=fresh),
                )
        except TimeoutError as error:
            raise NetworkFailure("the Secrets could not be read in time", reason="SecretsUnread", own=True) from error

    async def _ask(
        self, node: Node, login: _Login, commands: Sequence[Command], *, deadline: Deadline, anew: bool, keep: bool
    ) -> Answer:
        addresses = await self._guard.addresses(node.host, node.port, timeout=min(deadline.whole / 2, deadline.left()))
        key = (node.host, node.port, node.database, node.server_name, login, node.trust is not None)
        slot = self._enter(key) if keep else _Slot()
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline.at), slot.lock:
                return await slot.ask(
                    commands,
                    addresses=addresses,
                    connect=lambda: self._connected(node, login, addresses, deadline=deadline),
                    anew=anew,
                )
        except TimeoutError as error:
            # Other checks got answers here meanwhile: they used up the time, not the server.
            raise deadline.over(own=slot.answered > began) from error
        finally:
            if keep:
                self._leave(key, slot)
            else:
                slot.drop()

    async def _connected(
        self, node: Node, login: _Login, addresses: Sequence[Address], *, deadline: Deadline
    ) -> "Link":
        library = await self._library.get()
        link = await library.open(
            addresses,
            tls=await self._credentials.tls(node.trust),
            server_name=node.server_name,
            username=login.username,
            password=login.password,
            deadline=deadline,
        )
        try:
            await link.login()
            if node.database:
                select: Command = ("SELECT", node.database)
                _require_database(node, select, *await link.ask([select]))
        except BaseException:
            link.abort()
            raise
        return link

    def _enter(self, key: _Key) -> _Slot:
        slot = self._slots.pop(key, None)
        if slot is None:
            self._make_room()
            slot = _Slot()
        self._slots[key] = slot
        slot.users += 1
        if slot.expiry is not None:
            slot.expiry.cancel()
        return slot

    def _leave(self, key: _Key, slot: _Slot) -> None:
        slot.users -= 1
        if self._slots.get(key) is not slot:
            # The slot was closed meanwhile.
            slot.drop()
        elif not slot.users:
            slot.expiry = asyncio.get_running_loop().call_later(KEPT.total_seconds(), self._expire, key)

    def _make_room(self) -> None:
        if len(self._slots) < self._most:
            return
        idle = next((key for key, slot in self._slots.items() if not slot.users), None)
        if idle is None:
            words = f"the operator has all its {self._most} connections to Redis in use"
            raise NetworkFailure(words, reason="OwnResourcesExhausted", own=True)
        self._expire(idle)

    def _expire(self, key: _Key) -> None:
        slot = self._slots.pop(key)
        if slot.expiry is not None:
            slot.expiry.cancel()
        slot.drop()


def _library() -> "type[Link]":
    from resilience.adapters.checks.redis.link import Link

    return Link


def _require_database(node: Node, select: Command, reply: Reply) -> None:
    if isinstance(reply, ServerError):
        if reply.code == "ERR":
            raise Verdict("NoSuchDatabase", f"{node} has no database {node.database}")
        raise verdict(reply, select, node=node)


def _refused(node: Node) -> str:
    """The message that names the Secrets whose values were refused. It never contains a value."""
    if node.password is None and node.username is None:
        return f"{node} requires a password, and the check names none"
    named = [
        f"the {what} in {ref.place}"
        for what, ref in (("user name", node.username), ("password", node.password))
        if ref is not None
    ]
    return f"{node} refused {' with '.join(named)}"
