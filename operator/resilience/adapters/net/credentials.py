"""Values of Secrets for checks, read when they are needed and cached for a while, and the TLS contexts made of them.

A check reads a Secret afresh when its value is refused, so rotation needs no restart. A server that always refuses, or
a Secret that is not there, must not cost a request in every run: such reads have an interval. Nothing here is ever
logged.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Final

from resilience.adapters.net.single_flight import SingleFlight
from resilience.api.checks import Scheme
from resilience.core.model.probes import HttpTarget, SecretRef, TlsTrust
from resilience.ports import Invalid, Refused, Secrets

KEPT: Final = timedelta(minutes=10)
# Between two reads of a value that was refused, or could not be read.
AGAIN: Final = timedelta(seconds=10)
_NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class _Known:
    """The result of a read: a value, or the reason that there is none. `fresh_at`: the last read that was `fresh`."""

    value: str
    problem: str
    read_at: float
    fresh_at: float

    def serves(self, now: float, *, fresh: bool) -> bool:
        """Another read is not due."""
        if fresh:
            return now < self.fresh_at + AGAIN.total_seconds()
        return now < self.read_at + (AGAIN if self.problem else KEPT).total_seconds()


@dataclass(slots=True)
class Credentials:
    """A cache of Secrets' values. `monotonic` returns the seconds of a clock that never goes back."""

    secrets: Secrets
    monotonic: Callable[[], float]
    _known: dict[SecretRef, _Known] = field(default_factory=dict)
    _reads: SingleFlight[SecretRef, _Known] = field(default_factory=SingleFlight)

    async def value(self, ref: SecretRef | None, *, fresh: bool = False) -> str:
        """The value, at most ten minutes old, or ten seconds if `fresh`; empty when there is no reference.

        Raises:
            Invalid, Unavailable: as ports.Secrets.read; a Secret that may not be read is Invalid too, because Refused
                means a refused address.
        """
        if ref is None:
            return ""
        known = self._known.get(ref)
        if known is None or not known.serves(self.monotonic(), fresh=fresh):
            known = await self._reads.run(ref, lambda: self._read(ref, fresh=fresh))
        if known.problem:
            raise Invalid(known.problem)
        return known.value

    async def _read(self, ref: SecretRef, *, fresh: bool) -> _Known:
        value, problem, now = "", "", self.monotonic()
        try:
            value = await self.secrets.read(namespace=ref.namespace, name=ref.name, key=ref.key)
        except (Refused, Invalid) as error:
            problem = str(error)
        before = self._known.get(ref)
        fresh_at = now if fresh else before.fresh_at if before is not None else _NEVER
        # Expired values are removed, so that Secrets of deleted services are not kept.
        self._known = {key: known for key, known in self._known.items() if known.serves(now, fresh=False)}
        self._known[ref] = known = _Known(value, problem, now, fresh_at)
        return known

    async def tls(self, trust: TlsTrust | None, *, fresh: bool = False) -> ssl.SSLContext | None:
        """A context that verifies certificates and names; None for no TLS.

        Raises:
            Invalid: the Secret holds no certificates. Unavailable: as ports.Secrets.read.
        """
        if trust is None:
            return None
        if trust.ca is None:
            return tls_context("")
        try:
            return tls_context(await self.value(trust.ca, fresh=fresh))
        except (ssl.SSLError, ValueError) as error:
            raise Invalid(f"{trust.ca.place} holds no PEM certificates") from error


def verified(target: HttpTarget, tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """The context for this address: that of the system's authorities where https has none of its own."""
    return tls_context("") if target.scheme is Scheme.HTTPS and tls is None else tls


@lru_cache(maxsize=64)
def tls_context(authorities: str) -> ssl.SSLContext:
    """A context that verifies by these authorities (PEM), or by the system's if empty.

    Contexts are cached: reading the system's authorities blocks the event loop for tens of milliseconds.
    """
    return ssl.create_default_context(cadata=authorities or None)
