"""Parses what providers and frameworks give as the address of a PostgreSQL: URIs, `key=value`, and the JSON of RDS.

Only the server, the login, TLS and the wanted role of the server are read. Options that change nothing for a check are
ignored, the others are named: anything that would lead to a file, a socket or a setting of the operator's process is
refused. No message quotes the DSN, and of an option only a name that cannot be part of a password.
"""

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import unquote

from resilience.ports import Invalid

_Choice = TypeVar("_Choice")

DEFAULT_PORT: Final = 5432
MOST_HOSTS: Final = 16
_FORM: Final = "it is not of the form postgres://user:password@host:5432/database, with other special characters as %XX"

# SQLAlchemy names a driver, Django's extension a PostGIS. A later @ ends a password that holds an unescaped slash,
# question mark or hash: everything before it is secret.
_URI: Final = re.compile(
    r"(?P<jdbc>jdbc:)?post(?:gres|gresql|gis)(?:\+[a-z0-9_]+)?://"
    r"(?P<authority>[^/?#]*)(?:/(?P<database>[^/?#@]*))?(?:\?(?P<options>[^#@]*))?"
)
# As libpq has it: quotes where a value has blanks, backslashes before quotes and backslashes.
_WORD: Final = re.compile(
    r"\s*(?P<name>\w+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<bare>(?!')(?:[^\s\\]|\\.)*))(?=\s|$)", re.S
)
_ENTRY: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]{1,5}))?")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_OPTION: Final = re.compile(r"[A-Za-z_]{1,40}")

# In lower case, of libpq; Prisma and Supabase; SQLAlchemy, Django, Rails, node-postgres and pgx; JDBC. They are pools,
# timeouts and names, which the check has itself, and schemas, which a query of its own can name.
_WITHOUT_EFFECT: Final = """
application_name fallback_application_name connect_timeout keepalives keepalives_idle keepalives_interval
keepalives_count tcp_user_timeout client_encoding channel_binding gssencmode sslcompression sslsni sslnegotiation
load_balance_hosts require_auth ssl_min_protocol_version ssl_max_protocol_version
schema connection_limit pool_timeout pgbouncer socket_timeout statement_cache_size supa workaround
prepared_statement_cache_size async_fallback conn_max_age conn_health_checks pool prepared_statements encoding
checkout_timeout reaping_frequency idle_timeout uselibpqcompat binary_parameters statement_cache_capacity
description_cache_capacity default_query_exec_mode pool_max_conns pool_min_conns pool_max_conn_lifetime
pool_max_conn_idle_time pool_health_check_period search_path timezone statement_timeout lock_timeout
idle_in_transaction_session_timeout
applicationname currentschema rewritebatchedinserts preparethreshold logintimeout sockettimeout connecttimeout
tcpkeepalive stringtype loadbalancehosts
"""
_IGNORED: Final = frozenset(_WITHOUT_EFFECT.split())
# Refused ones that may be named although they stand where a part of a password might.
_KNOWN: Final = re.compile(
    r"dbname|host|hostaddr|options|passfile|password|port|replication|service|servicefile|sslcert|sslcrl|sslcrldir|sslkey|sslpassword|user"
)
# Neon's way to name the server for clients without SNI; checks have it.
_NEON: Final = ("endpoint=", "project=")
# What images and manuals call the authorities of the system.
_SYSTEM: Final = frozenset(
    {
        "system",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    }
)


class SslMode(StrEnum):
    """libpq's names for the ways to use TLS."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class SessionAttrs(StrEnum):
    """libpq's names for the servers that will do."""

    ANY = "any"
    READ_WRITE = "read-write"
    READ_ONLY = "read-only"
    PRIMARY = "primary"
    STANDBY = "standby"
    PREFER_STANDBY = "prefer-standby"


# node-postgres
_MODES: Final = {mode.value: mode for mode in SslMode} | {"no-verify": SslMode.REQUIRE}
# asyncpg, JDBC, node-postgres: ssl.
_SSL: Final = _MODES | {
    **dict.fromkeys(("true", "1", ""), SslMode.VERIFY_FULL),
    **dict.fromkeys(("false", "0"), SslMode.DISABLE),
}
# JDBC: targetServerType.
_SERVER_TYPES: Final = {
    **dict.fromkeys(("any", "preferprimary"), SessionAttrs.ANY),
    **dict.fromkeys(("primary", "master"), SessionAttrs.PRIMARY),
    **dict.fromkeys(("secondary", "slave"), SessionAttrs.STANDBY),
    **dict.fromkeys(("prefersecondary", "preferslave"), SessionAttrs.PREFER_STANDBY),
}


@dataclass(frozen=True, slots=True)
class Dsn:
    """The servers, the login, and which servers will do. `hosts` are tried in order: a name or IP address, a port."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(repr=False)
    database: str
    sslmode: SslMode
    session: SessionAttrs = SessionAttrs.ANY


@dataclass(frozen=True, slots=True)
class _Given:
    """Parts of a DSN, decoded. `hosts`: with their ports as text. `nameable`: names of options hold no secret."""

    hosts: list[tuple[str, str]]
    user: str
    password: str = field(repr=False)
    database: str
    options: list[tuple[str, str]] = field(repr=False)
    nameable: bool = False


def parse_dsn(text: str, *, unstated: SslMode, has_authorities: bool = False) -> Dsn:
    """Parses a URI, libpq's `key=value`, or the JSON of RDS. `unstated` is the default sslmode.

    `has_authorities`: the check has authorities of its own, so that a file with some has no effect.

    Raises:
        Invalid: the DSN cannot be read, or requires what checks do not do.
    """
    text = text.strip()
    if text.startswith("{"):
        given = _of_json(text)
    elif "://" in text.partition("=")[0].partition("@")[0]:
        given = _of_uri(text)
    else:
        given = _of_words(text)
    if not given.user:
        raise Invalid("it names no user")
    if given.password == "[YOUR-PASSWORD]":
        raise Invalid("its password is the provider's placeholder")
    # A NUL would end the value early, and the rest would count as settings of the session.
    if any("\0" in value for value in (given.user, given.password, given.database)):
        raise Invalid("it holds a NUL")
    mode, session = _options(given, unstated=unstated, has_authorities=has_authorities)
    return Dsn(_hosts(given.hosts), given.user, given.password, given.database or given.user, mode, session)


def _of_uri(text: str) -> _Given:
    parsed = _URI.fullmatch(text)
    if parsed is None:
        raise Invalid(_FORM)
    login, _, host_list = parsed["authority"].rpartition("@")
    user, _, password = login.partition(":")
    pairs = [option.partition("=")[::2] for option in filter(None, (parsed["options"] or "").split("&"))]
    options = [(name, _plain(value)) for name, value in pairs]
    if parsed["jdbc"] and not login:
        user, password = _taken(options, "user"), _taken(options, "password")
    else:
        user, password = _plain(user), _plain(password)
    entries = [_ENTRY.fullmatch(entry) for entry in host_list.split(",")]
    hosts = [(entry["host"], entry["port"] or "") if entry is not None else ("", "") for entry in entries]
    return _Given(hosts, user, password, _plain(parsed["database"] or ""), options, nameable=not parsed["jdbc"])


def _of_words(text: str) -> _Given:
    options: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        word = _WORD.match(text, position)
        if word is None:
            raise Invalid(_FORM)
        value = word["bare"] if word["quoted"] is None else word["quoted"]
        options.append((word["name"], re.sub(r"\\(.)", r"\1", value, flags=re.S)))
        position = word.end()
    if not options:
        raise Invalid(_FORM)
    user, password, database = (_taken(options, name) for name in ("user", "password", "dbname"))
    names, ports = _taken(options, "host").split(","), _taken(options, "port").split(",")
    if len(ports) not in (1, len(names)):
        raise Invalid("it has another number of ports than of hosts")
    return _Given(list(zip(names, ports * (len(names) // len(ports)), strict=True)), user, password, database, options)


def _of_json(text: str) -> _Given:
    """Parts of the secret of an RDS database; its other fields name the database for AWS."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(_FORM) from None
    if not isinstance(fields, dict) or "postgres" not in str(fields.get("engine", "postgres")):
        raise Invalid("it is the secret of another kind of database")
    values = {name: str(value) for name, value in fields.items() if isinstance(value, str | int)}
    host, port, database = values.get("host", ""), values.get("port", ""), values.get("dbname", "postgres")
    return _Given([(host, port)], values.get("username", ""), values.get("password", ""), database, [])


def _taken(options: list[tuple[str, str]], name: str) -> str:
    """The value of this option, which is removed; empty when there is none. Of several the last counts."""
    values = [value for each, value in options if each == name]
    options[:] = [option for option in options if option[0] != name]
    return values[-1] if values else ""


def _plain(text: str) -> str:
    """The text with its percent-encoding decoded."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("its %XX are not UTF-8") from None


def _hosts(entries: Sequence[tuple[str, str]]) -> tuple[tuple[str, int], ...]:
    if len(entries) > MOST_HOSTS:
        raise Invalid(f"it names more than {MOST_HOSTS} hosts")
    return tuple(_host(name, port or str(DEFAULT_PORT)) for name, port in entries)


def _host(name: str, port: str) -> tuple[str, int]:
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    is_port = len(port) <= 5 and port.isascii() and port.isdecimal() and 0 < int(port) < 65536
    if not is_port or not (_NAME.fullmatch(bare) or _is_address(bare)):
        raise Invalid("it needs a host, as name:port or address:port; sockets are not supported")
    return bare, int(port)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    # A zone belongs to a node's interfaces.
    return "%" not in text


def _options(given: _Given, *, unstated: SslMode, has_authorities: bool) -> tuple[SslMode, SessionAttrs]:
    mode, session = None, SessionAttrs.ANY
    for name, value in given.options:
        match name.lower():
            case "sslmode":
                mode = _chosen("sslmode", value, _MODES, SslMode)
            case "ssl":
                mode = mode or _chosen("ssl", value, _SSL, SslMode)
            case "sslaccept" if value == "accept_invalid_certs":
                pass
            case "sslaccept":
                unstated, mode = SslMode.VERIFY_FULL, SslMode.VERIFY_FULL if mode is SslMode.REQUIRE else mode
            case "sslrootcert" if value in _SYSTEM:
                unstated = SslMode.VERIFY_FULL
            case "sslrootcert" if has_authorities:
                pass
            case "sslrootcert":
                raise Invalid("it has the option sslrootcert, a file that checks do not read: use tls.caFrom")
            case "target_session_attrs":
                session = _chosen(
                    "target_session_attrs", value, {each.value: each for each in SessionAttrs}, SessionAttrs
                )
            case "targetservertype":
                session = _chosen("targetServerType", value.lower(), _SERVER_TYPES, _SERVER_TYPES)
            case "options" if value.startswith(_NEON):
                pass
            case other if other not in _IGNORED:
                is_public = _KNOWN.fullmatch(name) or (given.nameable and _OPTION.fullmatch(name))
                which = f"the option {name}" if is_public else "an option"
                raise Invalid(f"it has {which}, and only what changes nothing for a check is allowed there")
    return mode or unstated, session


def _chosen(option: str, value: str, choices: Mapping[str, _Choice], shown: Iterable[str]) -> _Choice:
    if value not in choices:
        raise Invalid(f"{option} has to be one of {', '.join(shown)}")
    return choices[value]
