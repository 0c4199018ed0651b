"""Leadership by a `coordination.k8s.io` Lease: one process writes, the others wait.

This module exists because the election module of the client library has no request time-outs and no hand-over, and does
not report until when its process may write; that limit keeps two leaders apart. The rules are those of client-go's
leaderelection: the holder stops writing at its renewal deadline; another process takes over only after it observed no
change of the Lease for the Lease's whole duration.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from resilience.adapters.kube import parse
from resilience.adapters.kube.api_outage import KubeApiOutage
from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.paths import collection, named
from resilience.adapters.kube.transport import Transport
from resilience.api.status_base import format_micro_time
from resilience.ports import Conflict, PortError

DURATION: Final = 15.0
RENEW_DEADLINE: Final = 10.0
RETRY: Final = 2.0
_HAND_OVER_TRIES: Final = 3

log = structlog.get_logger(__name__)


class KubeLease:
    """One Lease. `identity` must be unique to the process; `monotonic` returns seconds."""

    def __init__(
        self,
        *,
        transport: Transport,
        namespace: str,
        name: str,
        identity: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        calm: KubeApiOutage,
    ) -> None:
        # Several attempts must fit before the renewal deadline, even when one of them hangs.
        self._transport = transport.within(seconds=RETRY)
        self._namespace, self._name, self._identity = namespace, name, identity
        self._now = now
        self._monotonic = monotonic
        self._calm = calm
        self._renewed_at: float | None = None
        self._last_try: float | None = None
        self._observed: tuple[str, float] = ("", 0.0)

    def held(self) -> bool:
        """This process leads, and its renewal deadline has not passed: after it nothing may be written."""
        return self._renewed_at is not None and self._monotonic() < self._renewed_at + RENEW_DEADLINE

    def followed(self) -> bool:
        """Some process leads: this one, or one whose renewal was observed within the lease's duration."""
        return self.held() or (bool(self._observed[0]) and self._monotonic() < self._observed[1] + DURATION)

    def untried(self) -> float:
        """Seconds since the Lease was last tried, to lead or to go on leading; 0 before the first time."""
        return 0.0 if self._last_try is None else self._monotonic() - self._last_try

    async def acquire(self) -> None:
        """Waits until the Lease is ours."""
        is_ours = await self._try()
        while not is_ours:
            await asyncio.sleep(RETRY)
            is_ours = await self._try()
        log.info("leading", lease=f"{self._namespace}/{self._name}", identity=self._identity)

    async def keep(self) -> None:
        """Renews until renewals have failed up to the renewal deadline; returns when leadership is lost."""
        while self.held():
            await asyncio.sleep(RETRY)
            await self._try()
        log.error("leadership lost", lease=f"{self._namespace}/{self._name}")

    async def give_up(self) -> None:
        """Releases the Lease at once, so that the next leader need not wait for its duration."""
        if not self.held():
            return
        for tries_left in reversed(range(_HAND_OVER_TRIES)):
            try:
                await self._release()
                break
            except PortError as error:
                # A conflict: the last renewal was cut off on this side only, and arrived in between.
                if not tries_left or not isinstance(error, Conflict):
                    log.warning("the lease could not be handed over", error=str(error))
                    break
        self._renewed_at = None

    async def _release(self) -> None:
        lease = await self._transport.get(named("leases", self._namespace, self._name))
        if lease["spec"].get("holderIdentity") == self._identity:
            lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
            await self._transport.put(named("leases", self._namespace, self._name), lease)

    async def _try(self) -> bool:
        """One attempt to take or renew the Lease succeeded; an error of the API counts as a failed attempt."""
        self._last_try = began = self._monotonic()
        try:
            is_ours = await self._take_or_renew(asked_at=began)
        except PortError as error:
            log.warning("the lease could not be renewed", error=str(error))
            return False
        if is_ours:
            self._renewed_at = began
        return is_ours

    async def _take_or_renew(self, *, asked_at: float) -> bool:
        lease = await self._transport.find(named("leases", self._namespace, self._name))
        if lease is None:
            body: Json = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": self._spec({}),
            }
            await self._transport.post(collection("leases", self._namespace), body)
            return True
        spec = lease.get("spec") or {}
        self._detect_outage(spec)
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity) and not self._expired(lease, asked_at):
            return False
        lease["spec"] = self._spec(spec)
        await self._transport.put(named("leases", self._namespace, self._name), lease)
        return True

    def _detect_outage(self, spec: Json) -> None:
        """On the first read, count a Lease that was not renewed for long as a possible outage of the API server."""
        renewed = parse.time(spec.get("renewTime"))
        if not self._observed[0] and self._renewed_at is None and renewed is not None and spec.get("holderIdentity"):
            silence = (self._now() - renewed).total_seconds()
            if silence > RENEW_DEADLINE:
                self._calm.was_away(silence)

    def _expired(self, lease: Json, asked_at: float) -> bool:
        """The holder has not renewed for its whole duration by our own clock; the holder's clock is not trusted.

        A renewal is seen when the answer is here, and is still the last one at the time of the request: both count
        against us, for the answer may have taken seconds.
        """
        version = str(lease["metadata"]["resourceVersion"])
        if self._observed[0] != version:
            self._observed = (version, self._monotonic())
        duration = float((lease.get("spec") or {}).get("leaseDurationSeconds") or DURATION)
        return asked_at - self._observed[1] > duration

    def _spec(self, before: Json) -> Json:
        now = format_micro_time(self._now())
        is_same_holder = before.get("holderIdentity") == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION),
            "renewTime": now,
            "acquireTime": before.get("acquireTime") or now if is_same_holder else now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if is_same_holder else 1),
        }
