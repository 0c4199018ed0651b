"""Parses a PostgreSQL DSN: only the parts of libpq's connection URI that name the server and the user.

Anything that would lead to a file, a socket or a setting of the operator's process is refused. No message quotes the
DSN.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from resilience.ports import Invalid

DEFAULT_PORT: Final = 5432
MOST_HOSTS: Final = 16

# A later @ ends a password that holds an unescaped slash, question mark or hash: everything before it is secret.
_DSN: Final = re.compile(
    r"postgres(?:ql)?://(?P<authority>[^/?#]*)(?:/(?P<database>[^/?#@]*))?(?:\?(?P<options>[^#@]*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*)(?::(?P<port>[0-9]{1,5}))?")
# Options without effect: the check has a name and a timeout of its own.
_IGNORED: Final = frozenset({"application_name", "connect_timeout"})
# Option names that may be quoted, because they are not part of a password.
_KNOWN: Final = re.compile(
    r"dbname|host|hostaddr|options|passfile|password|port|service|servicefile|sslcert|sslcrl|sslkey|sslpassword|sslrootcert|target_session_attrs|user"
)


class SslMode(StrEnum):
    """libpq's names for the ways to use TLS."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class Dsn:
    """The servers and the login. `hosts` are tried in order; each is a name or an IP address, and a port."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(repr=False)
    database: str
    sslmode: SslMode


def parse_dsn(text: str, *, unstated: SslMode) -> Dsn:
    """Parses `postgres://user:password@host:5432/database?sslmode=verify-full`; `unstated` is the default sslmode.

    Raises:
        Invalid: the DSN cannot be read, or requires what checks do not do.
    """
    parsed = _DSN.fullmatch(text.strip())
    if parsed is None:
        raise Invalid(
            "it is not of the form postgres://user:password@host:5432/database, with other special characters as %XX"
        )
    login, _, host_list = parsed["authority"].rpartition("@")
    user, _, password = login.partition(":")
    if not user:
        raise Invalid("it names no user")
    user = _plain(user)
    return Dsn(
        hosts=_hosts(host_list),
        user=user,
        password=_plain(password),
        database=_plain(parsed["database"] or "") or user,
        sslmode=_sslmode(parsed["options"] or "", unstated=unstated),
    )


def _plain(text: str) -> str:
    """The text with its percent-encoding decoded."""
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("its %XX are not UTF-8") from None
    # A NUL would end the value early, and the rest would count as settings of the session.
    if "\0" in plain:
        raise Invalid("it holds a NUL")
    return plain


def _hosts(host_list: str) -> tuple[tuple[str, int], ...]:
    entries = host_list.split(",")
    if len(entries) > MOST_HOSTS:
        raise Invalid(f"it names more than {MOST_HOSTS} hosts")
    matches = [_HOST.fullmatch(entry) for entry in entries]
    hosts = tuple((host["host"].strip("[]"), int(host["port"] or DEFAULT_PORT)) for host in matches if host is not None)
    if len(hosts) < len(entries):
        raise Invalid("it needs a host, as name:port or address:port; sockets are not supported")
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
