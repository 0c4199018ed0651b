"""One open connection to a Redis server or a Sentinel.

The library speaks the protocol. This module opens the connection, because the library would resolve the name again, has
no name for TLS to verify, hides errno, and reads answers of any length. It must not retry and must not judge an answer.
A Lazy imports it, and nobody else.
"""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, InvalidResponse, MovedError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from resilience.adapters.checks.redis.answers import TOO_LONG, Command, LoginRefused, Reply, ServerError
from resilience.adapters.checks.redis.deadline import Deadline
from resilience.adapters.net.address import Address
from resilience.adapters.net.failures import NetworkFailure, from_os_error

# Bytes of all answers to one batch. A line counts as additional bytes, because it takes more time than its bytes do.
ANSWER_LIMIT: Final = 4 * 1024 * 1024
_LINE: Final = 128


class _Bounded(asyncio.StreamReader):
    """A stream reader that raises NetworkFailure when more than `left` bytes are read."""

    left = ANSWER_LIMIT

    async def readline(self) -> bytes:
        line = await super().readline()
        self._take(len(line) + _LINE)
        return line

    async def readexactly(self, n: int) -> bytes:
        self._take(n)
        return await super().readexactly(n)

    def _take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise NetworkFailure(f"the answer is longer than {ANSWER_LIMIT // 1024} KiB", reason=TOO_LONG)


class Link(AbstractConnection):
    """A connection to `address`. The owner closes it with `abort`, and must do so after any error raised here."""

    def __init__(
        self, address: Address, reader: _Bounded, writer: asyncio.StreamWriter, *, username: str, password: str
    ) -> None:
        super().__init__(
            username=username,
            password=password,
            protocol=2,
            driver_info=None,
            # The caller's deadline covers everything.
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        self.address = address
        self._reader = self._bounded = reader
        self._writer = writer
        self._transport = writer.transport

    @classmethod
    async def open(
        cls,
        addresses: Sequence[Address],
        *,
        tls: ssl.SSLContext | None,
        server_name: str,
        username: str,
        password: str,
        deadline: Deadline,
    ) -> "Link":
        """A connection to the first address that accepts one; user name and password are not presented yet.

        Raises:
            NetworkFailure: no address accepts one in time; Untrusted for a certificate.
        """
        failure: NetworkFailure | None = None
        for left in range(len(addresses), 0, -1):
            address = addresses[-left]
            try:
                # An address that drops packets silently must leave time for the next one.
                async with asyncio.timeout(deadline.left().total_seconds() / left):
                    reader, writer = await _streams(address, tls=tls, server_name=server_name)
            except TimeoutError:
                failure = deadline.over()
            except OSError as error:
                failure = _broken(error)
            else:
                return cls(address, reader, writer, username=username, password=password)
        assert failure is not None  # the guard returns at least one address
        raise failure

    async def login(self) -> None:
        """Presents user name and password, if there are any.

        Raises:
            LoginRefused: the server does not accept them.
            ServerError, NetworkFailure: the server gave another answer, or none.
        """
        try:
            with _translated_errors():
                await self.on_connect()
        except ServerError as error:
            if error.code == "NOPERM":
                raise LoginRefused("NOPERM", "NOPERM") from error
            raise

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to commands that are sent as one batch; errors are among them.

        Raises:
            LoginRefused: the server requires a user name and password.
            ServerError: an error that ends the connection.
            NetworkFailure: the connection broke, or what answers is no Redis.
        """
        self._bounded.left = ANSWER_LIMIT
        replies: list[Reply] = []
        try:
            with _translated_errors():
                await self.send_packed_command(self.pack_commands(commands), check_health=False)
                for _ in commands:
                    replies.append(await self._reply())
        except NetworkFailure:
            # A server that rejects a client sends the reason once and closes the connection.
            error = next((reply for reply in replies if isinstance(reply, ServerError)), None)
            if error is not None:
                raise error from None
            raise
        return replies

    async def say(self, command: Command) -> None:
        """Sends a command without waiting for a reply. Raises as `ask` does."""
        with _translated_errors():
            await self.send_packed_command(self.pack_commands([command]), check_health=False)

    async def hear(self) -> Reply:
        """The next message of the server, as subscriptions receive them. Raises as `ask` does."""
        self._bounded.left = ANSWER_LIMIT
        with _translated_errors():
            return await self._reply()

    async def quiet(self) -> bool:
        """The connection is open as far as is known, and no data arrived that no command requested."""
        return self.is_connected and not self._transport.is_closing() and not await self.can_read()

    def abort(self) -> None:
        """Closes the connection at once: a server that does not answer would not end a TLS session either."""
        self._transport.abort()
        self._reader = self._writer = None

    async def _reply(self) -> Reply:
        try:
            reply: Reply = await self.read_response()
        except ResponseError as error:
            return ServerError(*_parts(error))
        return reply

    async def _connect(self) -> None:
        raise RedisConnectionError("closed")

    def repr_pieces(self) -> list[tuple[str, str]]:
        """The details that the library shows in the repr."""
        return [("address", str(self.address))]

    def _host_error(self) -> str:
        return str(self.address)


async def _streams(
    address: Address, *, tls: ssl.SSLContext | None, server_name: str
) -> tuple[_Bounded, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = _Bounded()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.create_connection(
        lambda: protocol, address.ip, address.port, ssl=tls, server_hostname=server_name if tls else None
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turns the library's errors into ours. Leaves out the library's texts, because they quote the server."""
    try:
        yield
    except AuthenticationError as error:
        raise LoginRefused(*_parts(error)) from error
    except ResponseError as error:
        raise ServerError(*_parts(error)) from error
    except RedisTimeoutError as error:
        raise NetworkFailure("the connection timed out", reason="Timeout") from error
    except RedisConnectionError as error:
        if error.status_code is not None:
            raise ServerError(*_parts(error)) from error
        cause = error.__cause__ or error.__context__
        raise (_broken(cause) if isinstance(cause, OSError) else _closed()) from error
    except (InvalidResponse, ValueError, RecursionError) as error:
        raise NetworkFailure("the server that answers does not speak Redis' protocol", reason="NotRedis") from error


def _parts(error: RedisError) -> tuple[str, str, tuple[str, int] | None]:
    """Words, code and, of a cluster node, the place of the key."""
    words = str(error)
    moved = (error.host, error.port) if isinstance(error, MovedError) else None
    return words, error.status_code or words.partition(" ")[0], moved


def _broken(error: OSError) -> NetworkFailure:
    if isinstance(error, ConnectionResetError) and error.errno is None:
        # asyncio reports a connection that ended within the handshake in this way.
        return _closed()
    return from_os_error(error)


def _closed() -> NetworkFailure:
    return NetworkFailure("the connection was closed without an answer", reason="ConnectionClosed")
