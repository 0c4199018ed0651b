"""Values of Secrets for checks, read when they are needed and kept for a while, and the TLS contexts made of them.

A check reads afresh when what it has is refused, so rotation needs no restart. Nothing here is ever logged.
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
    """`monotonic`: seconds of a clock that never goes back."""

    secrets: Secrets
    monotonic: Callable[[], float]
    _values: dict[SecretRef, tuple[float, str]] = field(default_factory=dict)

    async def value(self, ref: SecretRef | None, *, fresh: bool = False) -> str:
        """The value, at most ten minutes old, or read now if `fresh`; empty for no reference.

        Raises:
            Invalid, Unavailable: as ports.Secrets.read; a Secret that may not be read is Invalid too, for Refused is
                what an address is.
        """
        if ref is None:
            return ""
        now = self.monotonic()
        kept = self._values.get(ref)
        if kept is not None and not fresh and now < kept[0]:
            return kept[1]
        try:
            found = await self.secrets.read(namespace=ref.namespace, name=ref.name, key=ref.key)
        except Refused as refusal:
            raise Invalid(str(refusal)) from refusal
        # Whoever is not asked for any more goes, so that Secrets of services that are gone are not kept.
        self._values = {key: each for key, each in self._values.items() if now < each[0]}
        self._values[ref] = (now + KEPT.total_seconds(), found)
        return found

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
    """Reading the system's authorities takes tens of milliseconds, in which the loop stands still."""
    return ssl.create_default_context(cadata=authorities or None)
