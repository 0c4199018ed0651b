"""Addresses of PostgreSQL as providers, frameworks and drivers give them. Each row of the table in
docs/concepts/dependencies.md is a case.
"""

from pathlib import Path
from typing import Final

import pytest

from resilience.adapters.checks.postgres.dsn import Dsn, SessionAttrs, SslMode, parse_dsn
from resilience.ports import Invalid

PAGE: Final = Path(__file__).parents[2] / "docs" / "concepts" / "dependencies.md"
PREFER, REQUIRE, FULL = SslMode.PREFER, SslMode.REQUIRE, SslMode.VERIFY_FULL


def dsn(
    host: str,
    *,
    port: int = 5432,
    user: str = "app",
    password: str = "pw",
    database: str = "shop",
    mode: SslMode = PREFER,
) -> Dsn:
    return Dsn(((host, port),), user, password, database, mode)


MEANT: Final = {
    "Neon": dsn("ep-cool-1-pooler.eu-central-1.aws.neon.tech", mode=REQUIRE),
    "Neon, without SNI": dsn("ep-cool-1.eu-central-1.aws.neon.tech"),
    "Supabase": dsn(
        "aws-0-eu-central-1.pooler.supabase.com", port=6543, user="postgres.abcd", database="postgres", mode=PREFER
    ),
    "Amazon RDS, Secrets Manager": dsn("shop.abc.rds.amazonaws.com"),
    "CloudNativePG": dsn("shop-rw.shop"),
    "Prisma": dsn("db.shop"),
    "SQLAlchemy": dsn("db.shop", mode=REQUIRE),
    "Django, GeoDjango": dsn("db.shop"),
    "JDBC, Spring": Dsn((("db-1.shop", 5432), ("db-2.shop", 5432)), "app", "pw", "shop", PREFER, SessionAttrs.PRIMARY),
    "node-postgres": dsn("db.shop", mode=REQUIRE),
    "pgx": dsn("db.shop"),
    "libpq, several hosts": Dsn(
        (("db-1.shop", 5432), ("db-2.shop", 5433)), "app", "pw", "shop", PREFER, SessionAttrs.READ_WRITE
    ),
    "libpq, `key=value`": dsn("db.shop", password="p w", mode=FULL),
}


def rows() -> dict[str, str]:
    """The DSNs of the page's table, by where they are from."""
    table = PAGE.read_text().partition("| from | looks like |")[2].partition("\n\n")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {name: text.strip("`") for name, text in cells}


def parsed(text: str) -> Dsn:
    return parse_dsn(text, unstated=PREFER)


def test_each_row_of_the_table_means_what_its_provider_means() -> None:
    assert {name: parsed(text) for name, text in rows().items()} == MEANT


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ("sslmode=require&sslaccept=strict", FULL),
        ("sslaccept=strict", FULL),
        ("sslmode=require&sslaccept=accept_invalid_certs", REQUIRE),
        ("ssl=true", FULL),
        ("ssl=false", SslMode.DISABLE),
        ("ssl=true&sslmode=require", REQUIRE),
        ("sslmode=require&ssl=true", REQUIRE),
        ("sslrootcert=system", FULL),
        ("sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt", FULL),
    ],
)
def test_ways_to_ask_for_tls(options: str, mode: SslMode) -> None:
    assert parsed(f"postgres://app:pw@db.shop/shop?{options}").sslmode is mode


def test_a_file_with_authorities_has_no_effect_where_the_check_has_some() -> None:
    text = "postgres://app:pw@db.shop/shop?sslmode=verify-full&sslrootcert=/certs/global-bundle.pem"
    assert parse_dsn(text, unstated=FULL, has_authorities=True).sslmode is FULL
    with pytest.raises(Invalid, match=r"sslrootcert, .*: use tls\.caFrom"):
        parsed(text)


@pytest.mark.parametrize("attrs", list(SessionAttrs))
def test_the_wanted_server_is_read_in_every_form(attrs: SessionAttrs) -> None:
    assert parsed(f"postgres://app@db.shop/shop?target_session_attrs={attrs}").session is attrs
    assert parsed(f"host=db.shop user=app target_session_attrs = {attrs}").session is attrs


@pytest.mark.parametrize(
    ("text", "password"),
    [
        (r"host=db.shop user=app password='it\'s \\ 1'", r"it's \ 1"),
        (r"host=db.shop user=app password=a\ b", "a b"),
        ("host=db.shop user=app password=a'b", "a'b"),
        ("host=db.shop user=app password=''", ""),
        ("host = db.shop  user = app\n password = x=y", "x=y"),
        ("user=app password=postgres://x host=db.shop", "postgres://x"),
        ("postgres://app:p%40w%2F@db.shop/shop", "p@w/"),
        ("jdbc:postgresql://db.shop/shop?user=app&password=p%26w", "p&w"),
        ('{"username": "app", "password": "p\\"w\\\\/", "host": "db.shop"}', 'p"w\\/'),
    ],
)
def test_passwords_are_what_their_form_says(text: str, password: str) -> None:
    assert (parsed(text).password, parsed(text).user) == (password, "app")
    assert len(password) < 2 or password not in repr(parsed(text))


def test_ports_of_several_hosts() -> None:
    assert parsed("host=a,b user=app port=5433").hosts == (("a", 5433), ("b", 5433))
    assert parsed("host=a,b user=app port=5433,5434").hosts == (("a", 5433), ("b", 5434))
    assert parsed("host=::1 user=app").hosts == (("::1", 5432),)
