"""Keys for log-ins by SCRAM. asyncpg computes them in the event loop, in as many rounds as the server asks for.

A log-in that asks for many is given up here, its key is computed in a thread, and the log-in is repeated with the key.
The server keeps salt and rounds with the password, so the key holds for later log-ins, too.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]

from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.threads import SharedThreads

# PostgreSQL's default, about a millisecond.
MOST_IN_LOOP: Final = 4096
# Tens of milliseconds. Other drivers have the same limit since CVE-2026-42198.
MOST_ROUNDS: Final = 100_000
# Servers of one DSN with different salts.
_MOST_KEYS: Final = 16


@dataclass(frozen=True, slots=True)
class Challenge:
    """Everything that a key follows from."""

    hash: str
    password: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    rounds: int

    def key(self) -> bytes:
        """The salted password of RFC 5802."""
        return hashlib.pbkdf2_hmac(self.hash, self.password, self.salt, self.rounds)


Keys = dict[Challenge, bytes]
# asyncpg calls from a callback of the connection, which runs in the context of the task that connects.
_KEYS: Final[ContextVar[Mapping[Challenge, bytes]]] = ContextVar("keys", default=MappingProxyType({}))


class _KeyMissing(Exception):
    def __init__(self, challenge: Challenge) -> None:
        super().__init__("the key of a log-in is not computed yet")
        self.challenge = challenge


class _Hashes:
    """hashlib for asyncpg; computes no key of many rounds."""

    def __getattr__(self, name: str) -> Any:
        return getattr(hashlib, name)

    @staticmethod
    def pbkdf2_hmac(name: str, password: bytes, salt: bytes, rounds: int) -> bytes:
        challenge = Challenge(name, password, salt, rounds)
        if rounds <= MOST_IN_LOOP:
            return challenge.key()
        key = _KEYS.get().get(challenge)
        if key is None:
            raise _KeyMissing(challenge)
        return key


asyncpg.protocol.protocol.hashlib = _Hashes()


async def log_in(
    connect: Callable[[], Awaitable[Any]], *, keys: Keys, threads: SharedThreads, timeout: timedelta
) -> Any:
    """The connection that `connect` makes by asyncpg. It is called once more if a key is missing, which `keys` gets.

    Raises:
        NetworkFailure: the server asks for too many rounds; or (`own`) the key took longer than `timeout`.
    """
    token = _KEYS.set(keys)
    try:
        try:
            return await connect()
        except asyncpg.InternalClientError as error:
            if not isinstance(error.__cause__, _KeyMissing):
                raise
            challenge = error.__cause__.challenge
        await _compute(challenge, keys, threads, timeout)
        return await connect()
    finally:
        _KEYS.reset(token)


async def _compute(challenge: Challenge, keys: Keys, threads: SharedThreads, timeout: timedelta) -> None:
    if challenge.rounds > MOST_ROUNDS:
        words = f"the server requests a login with more than {MOST_ROUNDS} rounds of hashing"
        raise NetworkFailure(words, reason="LoginUnknown")

    def work() -> None:
        # Even if nobody waits any more: the next log-in needs it.
        key = challenge.key()
        if len(keys) >= _MOST_KEYS:
            keys.clear()
        keys[challenge] = key

    try:
        async with asyncio.timeout(timeout.total_seconds()):
            await threads.run((challenge, id(keys)), work)
    except TimeoutError as error:
        words = "the operator could not compute the key of the login in time"
        raise NetworkFailure(words, reason="OwnPreparationLate", own=True) from error
