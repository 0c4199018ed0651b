"""Texts that tenants write, made up by Hypothesis: each is read, or refused with the error that is documented."""

import re
from typing import Any, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from resilience.adapters.checks.components import LONGEST_MESSAGE, LONGEST_NAME, MOST_COMPONENTS, read_components
from resilience.adapters.checks.postgres.dsn import MOST_HOSTS, SslMode, parse_dsn
from resilience.adapters.checks.prometheus.promql import LABEL, force_namespace
from resilience.adapters.checks.prometheus.refusal import QueryRefused
from resilience.adapters.kube import calico_selector
from resilience.adapters.net.json_body import at_path, parse_json
from resilience.api import matchers
from resilience.api.scalars import format_duration, parse_duration
from resilience.api.schedule import Window
from resilience.ports import Invalid
from tests.support.counts import count

EXAMPLES: Final = settings(max_examples=count(100, proof=20_000))
LABELS: Final = {"app": "web", "tier": "front"}


def sentences(*words: str, most: int = 40) -> st.SearchStrategy[str]:
    """Texts of a grammar's own words in any order, with other text between them."""
    part = st.sampled_from(words) | st.text(max_size=5)
    return st.lists(part, max_size=most).map(" ".join) | st.lists(part, max_size=most).map("".join)


@EXAMPLES
@given(sentences("app", "'web'", '"x"', "==", "!=", "&&", "||", "!", "(", ")", "has(", "in", "not in", "{", "}", ","))
@example("!" * 10_000 + "all()")
@example("(" * 10_000)
@example("has(a)" + " && has(a)" * 20_000)
def test_a_selector_of_calico_is_read_or_refused(text: str) -> None:
    try:
        expression = calico_selector.parse(text)
    except ValueError:
        return
    assert expression.used(LABELS) <= expression.keys


def test_a_long_selector_is_taken_to_depend_on_each_of_its_keys() -> None:
    keys = [f"key{number}" for number in range(5000)]

    expression = calico_selector.parse(" && ".join(f"{key} == 'x'" for key in keys))

    assert expression.used(LABELS) == set(keys)


@EXAMPLES
@given(
    sentences(
        *("severity", "=", "=~", "!~", "!=", '"', "\\", "{", "}", ",", "(a+)+$", ".*", "[", "{1000}", "\n", "|"),
        most=12,
    )
)
@example('a=~"' + "(" * 5000 + '"')
@example('a=~"(a{1,1000}){1,1000}"')
@example('a=~"' + "(x+x+)+y" * 200 + '"')
@example('"a"=b,' * 5000)
@example('{a="' + "\\" * 5000)
@example('"' + "\\u00e4" * 5000 + '"=x')
def test_a_matcher_is_read_or_refused(text: str) -> None:
    try:
        read = matchers.parse(text)
    except ValueError as error:
        assert len(str(error)) < 20_000
        return
    for matcher in read:
        assert matcher.matches({}) in (True, False)
        assert matcher.matches({matcher.label: "x" * 5000}) in (True, False)


@EXAMPLES
@given(
    sentences(
        "sum", "rate", "(", ")", "{", "}", "[5m]", "x", "up", 'namespace="other"', 'namespace=~".*"', ",", "by", "or",
        "offset", "@", "1e30", "+", "-", "==", "bool", "unless", "on", "group_left", "absent", "label_replace", '"a"',
        "vector(1)", "time()", "{__name__=~'.+'}", "#", ":", "[1h:]",
        most=14,
    )
)  # fmt: skip
@example("x[1e30]")
@example("(" * 400 + "x" + ")" * 400)
@example('x{namespace="other"} or x')
def test_a_query_reads_its_own_namespace_or_is_refused(query: str) -> None:
    try:
        written = force_namespace(query, namespace="mine")
    except QueryRefused:
        return
    # Quoted text is no selector.
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '"…"', written.replace(f'{LABEL}="mine"', "MINE"))
    assert "MINE" in bare
    assert f"{LABEL}=" not in bare and f"{LABEL}!" not in bare


@EXAMPLES
@given(
    sentences(
        "postgres://", "postgresql://", "user", ":", "@", "host", "/", "?", "sslmode=", "require", "%2F", "%00", "&",
        "[::1]", ",", "5432", "options=", "host=/tmp", "passfile=/etc/passwd", "\n", "#",
        most=14,
    )
)  # fmt: skip
@example("postgres://u:p@" + ",".join(["h"] * 10_000) + "/db")
@example("postgres://u:p@h/db?" + "a=b&" * 10_000)
def test_a_dsn_is_read_or_refused(text: str) -> None:
    try:
        dsn = parse_dsn(text, unstated=SslMode.PREFER)
    except Invalid:
        return
    assert 1 <= len(dsn.hosts) <= MOST_HOSTS
    assert all(host and "/" not in host and 0 < port < 65536 for host, port in dsn.hosts)
    assert dsn.password not in repr(dsn) or len(dsn.password) < 3


@EXAMPLES
@given(sentences("1", "0", "999999", ".", "h", "m", "s", "ms", "-", "e", "∞", "١", most=8))
def test_a_duration_is_read_or_refused(text: str) -> None:
    try:
        length = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(format_duration(length)) is not None


@EXAMPLES
@given(
    st.lists(st.sampled_from(["*", "*/5", "0", "31", "2", "L", "5#5", "1-5", "JAN", "mon", "99", "*/0", "1,2"]))
    .map(lambda parts: " ".join(parts[:6]))
    .filter(bool),
    st.sampled_from(["UTC", "Europe/London", "../../etc/passwd", "Mars/Olympus", "", "A" * 64, "UTC\0"]),
)
@example("0 0 30 2 *", "UTC")
@example("0 0 29 2 mon#5", "UTC")
def test_a_schedule_is_read_or_refused(schedule: str, zone: str) -> None:
    try:
        Window.model_validate({"schedule": schedule, "duration": "1h", "timeZone": zone})
    except ValidationError:
        return


JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["components", "checks", "status", "message", "details", "error", "name", "db", "entries"])
            | st.text(max_size=80),
            inner,
            max_size=6,
        )
    ),
    max_leaves=60,
)


@EXAMPLES
@given(JSON)
def test_components_are_bounded_whatever_the_body_is(body: object) -> None:
    found = read_components(body)

    assert len(found) <= MOST_COMPONENTS
    assert all(len(component.name) <= LONGEST_NAME and component.name.isprintable() for component in found)
    assert all(len(component.message) <= LONGEST_MESSAGE and "\n" not in component.message for component in found)


@EXAMPLES
@given(JSON, sentences("components", "0", "-1", ".", "٣", "99999999999999999999", most=6))
def test_a_path_leads_to_a_value_or_to_none(body: object, path: str) -> None:
    at_path(body, path)


@EXAMPLES
@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"9" * 100_000)
@example(b'"\\ud800"')
@example(b"\xff\xfe\x00")
def test_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        parse_json(body)
    except ValueError:
        return
