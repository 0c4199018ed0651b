"""TLS to PostgreSQL servers: what libpq means by sslmode, with the authorities and names that a resource gives.

It knows nothing of sessions and must not connect.
"""

import ssl
from dataclasses import dataclass, field
from functools import lru_cache

from resilience.adapters.checks.postgres.dsn import Dsn, SslMode


@dataclass(frozen=True, slots=True)
class Place:
    """A server as one check sees it: equal ones share a connection. `ca`: PEM certificates, empty for the system's."""

    dsn: Dsn
    server_name: str
    ca: str = field(repr=False)
    # What verifies by `ca` and name; None where sslmode verifies nothing.
    context: ssl.SSLContext | None = field(compare=False)


def contexts(place: Place, host: str) -> list[ssl.SSLContext | None]:
    """The ways to connect that sslmode allows, in the order to try them; None is without TLS."""
    mode, name = place.dsn.sslmode, place.server_name or host
    if mode is SslMode.DISABLE:
        return [None]
    if place.context is None:
        encrypted = _named(_unverified(), name)
        return [encrypted, None] if mode is SslMode.PREFER else [encrypted]
    if mode is SslMode.VERIFY_FULL or place.server_name:
        return [_named(place.context, name)]
    return [_named(_of_any_name(place.ca), name)]


class _Named(ssl.SSLContext):
    """Another context that asks for and verifies one name; asyncpg would ask for the IP address it connects to."""

    inner: ssl.SSLContext
    name: str

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self.inner.wrap_bio(incoming, outgoing, server_side, self.name, session)


def _named(inner: ssl.SSLContext, name: str) -> ssl.SSLContext:
    named = _Named(ssl.PROTOCOL_TLS_CLIENT)
    named.inner, named.name = inner, name
    return named


@lru_cache(maxsize=64)
def _of_any_name(authorities: str) -> ssl.SSLContext:
    """Verifies certificates and no names: verify-ca. Apart from those of Credentials, which are shared."""
    context = ssl.create_default_context(cadata=authorities or None)
    context.check_hostname = False
    return context


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
