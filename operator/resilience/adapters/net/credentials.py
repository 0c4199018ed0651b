"""Values of Secrets for checks, read when they are needed and cached for a while, and the TLS contexts made of them.

A check reads a Secret afresh when its value is refused, so rotation needs no restart. Nothing here is ever logged.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Final

from resilience.core.model.probes import SecretRef, TlsTrust
from resilience.ports import Invalid, Refused, Secrets

KEPT: Final = timedelta(minutes=10)


@dataclass(slots=True)
class Credentials:
    """A cache of Secrets' values. `monotonic` returns the seconds of a clock that never goes back."""

    secrets: Secrets
    monotonic: Callable[[], float]
    _values: dict[SecretRef, tuple[float, str]] = field(default_factory=dict)

    async def value(self, ref: SecretRef | None, *, fresh: bool = False) -> str:
        """The value, at most ten minutes old, or read now if `fresh`; empty when there is no reference.

        Raises:
            Invalid, Unavailable: as ports.Secrets.read; a Secret that may not be read is Invalid too, because Refused
                means a refused address.
        """
        if ref is None:
            return ""
        now = self.monotonic()
        cached = self._values.get(ref)
        if cached is not None and not fresh and now < cached[0]:
            return cached[1]
        try:
            value = await self.secrets.read(namespace=ref.namespace, name=ref.name, key=ref.key)
        except Refused as refusal:
            raise Invalid(str(refusal)) from refusal
        # Expired values are removed, so that Secrets of deleted services are not kept.
        self._values = {key: entry for key, entry in self._values.items() if now < entry[0]}
        self._values[ref] = (now + KEPT.total_seconds(), value)
        return value

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
            words = f"key {trust.ca.key!r} of Secret {trust.ca.name!r} holds no PEM certificates"
            raise Invalid(words) from error


@lru_cache(maxsize=64)
def tls_context(authorities: str) -> ssl.SSLContext:
    """A context that verifies by these authorities (PEM), or by the system's if empty.

    Contexts are cached: reading the system's authorities blocks the event loop for tens of milliseconds.
    """
    return ssl.create_default_context(cadata=authorities or None)
