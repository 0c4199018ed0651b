"""Leadership by a `coordination.k8s.io` Lease: one process writes, the others wait.

The client library's own election module has no request time-outs, no hand-over and cannot say until when it may
write, which is what keeps two leaders apart; hence these lines. Rules as in client-go's leaderelection: the holder
stops writing at its renewal deadline, others take over only after the lease's whole duration without a change they saw.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from resilience.adapters.kube import parse
from resilience.adapters.kube.api_outage import ApiCalm
from resilience.adapters.kube.paths import collection, named
from resilience.adapters.kube.transport import Json, Transport
from resilience.api.status_base import format_micro_time
from resilience.ports import PortError

DURATION: Final = 15.0
RENEW_DEADLINE: Final = 10.0
RETRY: Final = 2.0

log = structlog.get_logger(__name__)


class KubeLease:
    """One Lease. `identity` must be unique to the process; `monotonic` gives seconds."""

    def __init__(
        self,
        *,
        transport: Transport,
        namespace: str,
        name: str,
        identity: str,
        monotonic: Callable[[], float],
        calm: ApiCalm,
    ) -> None:
        # Several attempts must fit before the renewal deadline, even when one of them hangs.
        self._transport = transport.within(seconds=RETRY)
        self._namespace, self._name, self._identity = namespace, name, identity
        self._monotonic = monotonic
        self._calm = calm
        self._renewed_at: float | None = None
        self._seen: tuple[str, float] = ("", 0.0)

    def held(self) -> bool:
        """True until the renewal deadline: after it nothing may be written."""
        return self._renewed_at is not None and self._monotonic() < self._renewed_at + RENEW_DEADLINE

    def followed(self) -> bool:
        """Whether somebody leads: this process, or one that was seen to renew within the lease's duration."""
        return self.held() or (bool(self._seen[0]) and self._monotonic() < self._seen[1] + DURATION)

    async def acquire(self) -> None:
        """Waits until the Lease is ours."""
        taken = await self._try()
        while not taken:
            await asyncio.sleep(RETRY)
            taken = await self._try()
        log.info("leading", lease=f"{self._namespace}/{self._name}", identity=self._identity)

    async def keep(self) -> None:
        """Renews until that fails for longer than the renewal deadline; returns when leadership is lost."""
        while self.held():
            await asyncio.sleep(RETRY)
            await self._try()
        log.error("leadership lost", lease=f"{self._namespace}/{self._name}")

    async def give_up(self) -> None:
        """Hands over at once, so that the next leader need not wait for the duration."""
        if not self.held():
            return
        try:
            lease = await self._transport.get(named("leases", self._namespace, self._name))
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._transport.put(named("leases", self._namespace, self._name), lease)
        except PortError as error:
            log.warning("the lease could not be handed over", error=str(error))
        self._renewed_at = None

    async def _try(self) -> bool:
        """One attempt to take or renew; a failure of the API is no answer."""
        began = self._monotonic()
        try:
            done = await self._take_or_renew(began)
        except PortError as error:
            log.warning("the lease could not be renewed", error=str(error))
            return False
        if done:
            self._renewed_at = began
        return done

    async def _take_or_renew(self, now: float) -> bool:
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
        self._learn(spec)
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity) and not self._expired(lease, now):
            return False
        lease["spec"] = self._spec(spec)
        await self._transport.put(named("leases", self._namespace, self._name), lease)
        return True

    def _learn(self, spec: Json) -> None:
        """On the first look: nobody could renew it for so long, maybe because the API server was away."""
        renewed = parse.time(spec.get("renewTime"))
        if not self._seen[0] and self._renewed_at is None and renewed is not None and spec.get("holderIdentity"):
            silence = (datetime.now(UTC) - renewed).total_seconds()
            if silence > RENEW_DEADLINE:
                self._calm.was_away(silence)

    def _expired(self, lease: Json, now: float) -> bool:
        """Whether the holder has not renewed for its whole duration by our own clock: theirs is not trusted."""
        version = str(lease["metadata"]["resourceVersion"])
        if self._seen[0] != version:
            self._seen = (version, now)
        duration = float((lease.get("spec") or {}).get("leaseDurationSeconds") or DURATION)
        return now - self._seen[1] > duration

    def _spec(self, before: Json) -> Json:
        now = format_micro_time(datetime.now(UTC))
        same = before.get("holderIdentity") == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION),
            "renewTime": now,
            "acquireTime": before.get("acquireTime") or now if same else now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if same else 1),
        }
