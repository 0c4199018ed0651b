"""Reading of a PostgreSQL DSN: the little of libpq's connection URI that says where a server is and who asks.

Whatever would lead to a file, a socket or a setting of the operator's process is refused. No message quotes the DSN.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from resilience.ports import Invalid

DEFAULT_PORT: Final = 5432
MOST_HOSTS: Final = 16

# An @ further on is the end of a password that holds a bare slash, question mark or hash: all before it is secret.
_DSN: Final = re.compile(
    r"postgres(?:ql)?://(?P<authority>[^/?#]*)(?:/(?P<database>[^/?#@]*))?(?:\?(?P<options>[^#@]*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*)(?::(?P<port>[0-9]{1,5}))?")
# Of no effect: the check has a name and a time-out of its own.
_IGNORED: Final = frozenset({"application_name", "connect_timeout"})
# What may be quoted, for it is no part of anybody's password.
_KNOWN: Final = re.compile(
    r"dbname|host|hostaddr|options|passfile|password|port|service|servicefile|sslcert|sslcrl|sslkey|sslpassword|sslrootcert|target_session_attrs|user"
)


class SslMode(StrEnum):
    """How libpq names the ways to use TLS."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where a server is and who asks; `hosts` are tried in order, each a name or an IP address, and a port."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(repr=False)
    database: str
    sslmode: SslMode


def parse_dsn(text: str, *, unstated: SslMode) -> Dsn:
    """Reads `postgres://user:password@host:5432/database?sslmode=verify-full`; `unstated`: where it has no sslmode.

    Raises:
        Invalid: it cannot be read, or asks for what checks do not do.
    """
    found = _DSN.fullmatch(text.strip())
    if found is None:
        raise Invalid(
            "it is not of the form postgres://user:password@host:5432/database, with other special characters as %XX"
        )
    who, _, where = found["authority"].rpartition("@")
    user, _, password = who.partition(":")
    if not user:
        raise Invalid("it names no user")
    user = _plain(user)
    return Dsn(
        hosts=_hosts(where),
        user=user,
        password=_plain(password),
        database=_plain(found["database"] or "") or user,
        sslmode=_sslmode(found["options"] or "", unstated=unstated),
    )


def _plain(text: str) -> str:
    """The text without percent-encoding."""
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("its %XX are not UTF-8") from None
    # A NUL would end the value early and let the rest pass for settings of the session.
    if "\0" in plain:
        raise Invalid("it holds a NUL")
    return plain


def _hosts(where: str) -> tuple[tuple[str, int], ...]:
    each = where.split(",")
    if len(each) > MOST_HOSTS:
        raise Invalid(f"it names more than {MOST_HOSTS} hosts")
    matches = [_HOST.fullmatch(one) for one in each]
    hosts = tuple((one["host"].strip("[]"), int(one["port"] or DEFAULT_PORT)) for one in matches if one is not None)
    if len(hosts) < len(each):
        raise Invalid("it needs a host, as name:port or address:port; sockets are not spoken to")
    return hosts


def _sslmode(options: str, *, unstated: SslMode) -> SslMode:
    mode = unstated
    for option in filter(None, options.split("&")):
        name, _, value = option.partition("=")
        if name == "sslmode":
            try:
                mode = SslMode(value)
            except ValueError:
                raise Invalid(f"sslmode has to be one of {', '.join(SslMode)}") from None
        elif name not in _IGNORED:
            which = f"the option {name}" if _KNOWN.fullmatch(name) else "an option"
            raise Invalid(f"it has {which}, and only sslmode, application_name and connect_timeout are allowed")
    return mode
