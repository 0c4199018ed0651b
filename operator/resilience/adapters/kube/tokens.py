"""Verifies ServiceAccount tokens by TokenReview, with a cache of one minute by the token's hash.

Fail-static: while the API server does not answer, a token that was valid stays valid until it expires.
"""

import asyncio
import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.transport import Transport
from resilience.ports import PortError, Unavailable

AUDIENCE: Final = "resilience.dev"
PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_GOOD_SECONDS: Final = 60.0
_BAD_SECONDS: Final = 10.0
_MOST: Final = 4096
# Clients with invented tokens must not overload the API server.
_AT_ONCE: Final = 16
# Longer than any token that Kubernetes issues.
_LONGEST: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Known:
    account: str | None
    until: float
    # Seconds since the epoch; zero when the token has no expiry.
    expires: float


class KubeTokens:
    """Implements `web.flags.Tokens`. `monotonic` returns seconds, `wall` seconds since the epoch."""

    def __init__(self, *, transport: Transport, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._transport = transport
        self._monotonic = monotonic
        self._wall = wall
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._pending: dict[bytes, asyncio.Task[_Known]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def account(self, token: str) -> str | None:
        """The user name of a token, or None; see `web.flags.Tokens`."""
        if len(token) > _LONGEST:
            return None
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is not None and self._monotonic() < known.until:
            return known.account
        task = self._pending.get(key)
        if task is None:
            task = self._pending[key] = asyncio.create_task(self._review(token))
            task.add_done_callback(lambda _: self._pending.pop(key, None))
        try:
            # Other requests may wait for the same review: one that is cancelled must not cancel it for them.
            review = await asyncio.shield(task)
        except PortError as error:
            if known is not None and known.account is not None and self._wall() < known.expires:
                return known.account
            raise Unavailable(str(error)) from error
        self._remember(key, review)
        return review.account

    def _remember(self, key: bytes, review: _Known) -> None:
        self._known[key] = review
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    async def _review(self, token: str) -> _Known:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        async with self._slots:
            status: Json = (await self._transport.post(PATH, body)).get("status") or {}
        is_valid = bool(status.get("authenticated")) and AUDIENCE in (status.get("audiences") or ())
        account = str((status.get("user") or {}).get("username") or "") if is_valid else ""
        seconds = _GOOD_SECONDS if account else _BAD_SECONDS
        return _Known(account or None, self._monotonic() + seconds, _expiry(token) if account else 0.0)


def _expiry(token: str) -> float:
    """Expiry of a verified token, in seconds since the epoch; zero when the token has none."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return 0.0
