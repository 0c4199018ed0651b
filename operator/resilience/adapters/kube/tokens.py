"""Whose ServiceAccount token it is: TokenReview, remembered for a minute by the token's hash.

Fail-static: while the API server does not answer, a token that was good stays so until it expires.
"""

import asyncio
import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from resilience.adapters.kube.transport import Json, Transport
from resilience.ports import PortError, Unavailable

AUDIENCE: Final = "resilience.dev"
PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_GOOD_SECONDS: Final = 60.0
_BAD_SECONDS: Final = 10.0
_MOST: Final = 4096
# Whoever shows made-up tokens must not keep the API server busy.
_AT_ONCE: Final = 16
# Longer than any that Kubernetes makes.
_LONGEST: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Known:
    account: str | None
    until: float
    # Seconds since the epoch; zero when the token does not say.
    expires: float


class KubeTokens:
    """`web.flags.Tokens`. `monotonic` gives seconds, `wall` seconds since the epoch."""

    def __init__(self, *, transport: Transport, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._transport = transport
        self._monotonic = monotonic
        self._wall = wall
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Known]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def account(self, token: str) -> str | None:
        """The user name behind a token, or None; see `web.flags.Tokens`."""
        if len(token) > _LONGEST:
            return None
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is not None and self._monotonic() < known.until:
            return known.account
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(token))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        try:
            # Others may wait for the same answer: one that gives up must not end it for them.
            found = await asyncio.shield(task)
        except PortError as error:
            if known is not None and known.account is not None and self._wall() < known.expires:
                return known.account
            raise Unavailable(str(error)) from error
        self._remember(key, found)
        return found.account

    def _remember(self, key: bytes, found: _Known) -> None:
        self._known[key] = found
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    async def _ask(self, token: str) -> _Known:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        async with self._slots:
            status: Json = (await self._transport.post(PATH, body)).get("status") or {}
        good = bool(status.get("authenticated")) and AUDIENCE in (status.get("audiences") or ())
        account = str((status.get("user") or {}).get("username") or "") if good else ""
        seconds = _GOOD_SECONDS if account else _BAD_SECONDS
        return _Known(account or None, self._monotonic() + seconds, _expiry(token) if account else 0.0)


def _expiry(token: str) -> float:
    """When a verified token says that it expires; zero when it does not."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return 0.0
