"""Speaks to pods that are about to go, and sends the requests that measure what clients see meanwhile.

An odd answer is never taken for "quiet" or "fine": the caller then waits as long as it may.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.json_body import at_path, parse_json
from resilience.core.model.probes import ConnectionsTarget, HttpTarget
from resilience.ports import Refused, Unavailable

_DRAIN_TIMEOUT: Final = timedelta(seconds=2)
_REQUEST_TIMEOUT: Final = timedelta(seconds=5)
_TOO_MANY_REQUESTS: Final = 429


class HttpDrainer:
    """Implements ports.Drainer."""

    def __init__(self, *, client: HttpClient) -> None:
        self._client = client

    async def signal(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """POSTs the drain signal, once.

        Raises:
            Refused: the pod will not have it (3xx, 4xx), or its address may not be spoken to.
            Unavailable: no answer within 2 s, or 5xx or 429.
        """
        await self._send("POST", target, headers)

    async def take_back(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """DELETEs the drain signal, once; raises as `signal` does."""
        await self._send("DELETE", target, headers)

    async def _send(self, method: str, target: HttpTarget, headers: Sequence[tuple[str, str]]) -> None:
        answer = await self._client.request(method, target, timeout=_DRAIN_TIMEOUT, headers=headers)
        if 200 <= answer.status < 300:
            return
        message = f"the drain signal was answered with {answer.status}"
        if answer.status >= 500 or answer.status == _TOO_MANY_REQUESTS:
            raise Unavailable(message)
        raise Refused(message)

    async def connections(self, target: ConnectionsTarget) -> int | None:
        """Connections that the pod still has; None when it did not say within 2 s, or anything is odd."""
        try:
            answer = await self._client.request("GET", target.target, timeout=_DRAIN_TIMEOUT)
        except (NetworkFailure, Refused):
            return None
        if answer.cut or not 200 <= answer.status < 300:
            return None
        return _count(answer.body, target.field)


class HttpProber:
    """Implements ports.Prober."""

    def __init__(self, *, client: HttpClient) -> None:
        self._client = client

    async def request(self, target: HttpTarget) -> float:
        """Sends one GET on a new connection; seconds until the whole answer was there.

        Raises:
            Unavailable: it failed, in a few words: any status but 2xx and 3xx, or no complete answer within 5 s.
        """
        try:
            answer = await self._client.request("GET", target, timeout=_REQUEST_TIMEOUT)
        except Refused as refusal:
            raise Unavailable(str(refusal)) from refusal
        if not 200 <= answer.status < 400:
            raise Unavailable(f"answered {answer.status}")
        return answer.seconds


def _count(body: bytes, field: str) -> int | None:
    try:
        value = at_path(parse_json(body), field)
    except ValueError:
        return None
    # JSON's true is an int to Python.
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
