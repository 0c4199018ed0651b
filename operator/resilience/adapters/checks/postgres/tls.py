"""TLS to PostgreSQL servers: libpq's sslmode, with the authorities and names that a resource gives.

This module knows nothing of sessions and must not connect.
"""

import ssl
from dataclasses import dataclass, field
from functools import lru_cache

from resilience.adapters.checks.postgres.dsn import Dsn, SslMode


@dataclass(frozen=True, slots=True)
class Place:
    """A server as one check uses it; equal ones share a connection. `ca`: PEM certificates, empty for the system's."""

    dsn: Dsn
    server_name: str
    ca: str = field(repr=False)
    # It verifies by `ca` and name; None where sslmode verifies nothing.
    context: ssl.SSLContext | None = field(compare=False)


def contexts(place: Place, host: str) -> list[ssl.SSLContext | None]:
    """The contexts to connect with that sslmode allows, in the order to try them; None is without TLS."""
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
    """Wraps a context to request and verify one name; asyncpg would use the IP address that it connects to."""

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
    """A context that verifies certificates but no names (verify-ca). Separate from the shared ones of Credentials."""
    context = ssl.create_default_context(cadata=authorities or None)
    context.check_hostname = False
    return context


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
