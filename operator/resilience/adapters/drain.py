"""Sends drain signals to pods that are about to terminate, and requests that measure what clients observe meanwhile.

An unexpected answer never counts as "no connections" or "success": the caller then waits as long as it may.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.json_body import at_path, parse_json
from resilience.core.model.destinations import ConnectionsTarget
from resilience.core.model.probes import HttpTarget
from resilience.ports import Refused, Unavailable

_DRAIN_TIMEOUT: Final = timedelta(seconds=2)
_REQUEST_TIMEOUT: Final = timedelta(seconds=5)
_TOO_MANY_REQUESTS: Final = 429


class HttpDrainer:
    """Implements ports.Drainer."""

    def __init__(self, *, client: HttpClient) -> None:
        self._client = client

    async def signal(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """POSTs the drain signal once.

        Raises:
            Refused: the pod rejects it (3xx, 4xx), or its address is not permitted.
            Unavailable: no answer within 2 s, or 5xx or 429.
        """
        await self._send("POST", target, headers)

    async def take_back(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """DELETEs the drain signal once. Raises as `signal` does."""
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
        """The number of connections that the pod still has; None without a valid answer within 2 s."""
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
        """Sends one GET on a new connection. Returns the seconds until the answer was complete.

        Raises:
            Unavailable: any status but 2xx and 3xx, or no complete answer within 5 s; the message says which.
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
    # JSON's true is an int in Python.
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
