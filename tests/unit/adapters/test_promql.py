"""Queries are limited to one namespace, whatever they are: cases, and random ones with a second opinion on the text."""

import re

import promql_parser as promql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.adapters.checks.prometheus import promql as limiting
from resilience.adapters.checks.prometheus.promql import force_namespace
from resilience.adapters.checks.prometheus.refusal import QueryRefused

X, Y = '{__name__="x",namespace="shop"}', '{__name__="y",namespace="shop"}'
# Strings hold neither quotes nor backslashes but those of escapes, so this finds each of them.
STRING = re.compile(r'"[^"]*"')
SELECTOR = re.compile(r"\{[^{}]*\}")


def limited(query: str) -> str:
    return force_namespace(query, namespace="shop")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("x", X),
        ("x{}", X),
        ('{__name__="x"}', X),
        ('{"x"}', X),
        ('x{namespace="shop"}', X),
        ('x{namespace="shop",namespace=`shop`}', X),
        ('x{"namespace"="shop"}', X),
        ('{namespace="shop"}', '{namespace="shop"}'),
        ('{__name__=~".+"}', '{__name__=~".+",namespace="shop"}'),
        ('x{a!="1",b=~"2|3",c!~"4",d=""}', '{__name__="x",a!="1",b=~"2|3",c!~"4",d="",namespace="shop"}'),
        # Regular expressions are not compiled, however wrong or large, and each stays where it was.
        (
            'x{a=~\'0\',b!~`1`,c="2",d=~ # {\n "\\x61{9}"}',
            '{__name__="x",a=~"0",b!~"1",c="2",d=~"a{9}",namespace="shop"}',
        ),
        ('x{a=~"(",b=~"[\\\\w]{1000}"}', '{__name__="x",a=~"(",b=~"[\\u005cw]{1000}",namespace="shop"}'),
        ('x{a=~"b"} - y{c!~"d"}', '{__name__="x",a=~"b",namespace="shop"} - {__name__="y",c!~"d",namespace="shop"}'),
        ('{"my.metric","a.b"="c"}', '{__name__="my.metric","a.b"="c",namespace="shop"}'),
        # Values cannot get out of their quotes.
        (r'x{a="\"} or y{b=\""}', r'{__name__="x",a="\u0022} or y{b=\u0022",namespace="shop"}'),
        (r"x{a='\'\\',b=`}`}", r"""{__name__="x",a="'\u005c",b="}",namespace="shop"}"""),
        ('x{a="\\u007b\\n\\x41é😀"}', '{__name__="x",a="{\\u000aA\\u00e9\\U0001f600",namespace="shop"}'),
        ('{"a=\\"b\\",namespace!"="x",b="1"}', '{"a=\\u0022b\\u0022,namespace!"="x",b="1",namespace="shop"}'),
        ('x{a="#"} # {namespace="other"}\n - y', f'{{__name__="x",a="#",namespace="shop"}} - {Y}'),
        # Ranges, subqueries, offsets.
        ("rate(x[5m])", f"rate({X}[300s])"),
        ("rate(x[90s500ms] offset -1d)", f"rate({X}[90s500ms] offset -86400s)"),
        ("x offset 1y7ms", f"{X} offset 31536000s7ms"),
        ("x @ end() offset 5m", f"{X} @ end() offset 300s"),
        ("max_over_time(x[5m:1m] @ start())", f"max_over_time({X}[300s:60s] @ start())"),
        ("max_over_time(sum(x)[5m:] offset 1ms)", f"max_over_time(sum({X})[300s:] offset 1ms)"),
        ("(-x)[5m:]", f"(-{X})[300s:]"),
        # Functions and aggregations.
        ("topk by (a) (scalar(x), y)", f"topk by (a) (scalar({X}), {Y})"),
        ("sum(x) without ()", f"sum without () ({X})"),
        ('count_values("a\\"b", x)', f'count_values("a\\u0022b", {X})'),
        ('label_replace(x, "namespace", "other", "", "")', f'label_replace({X}, "namespace", "other", "", "")'),
        ("clamp(x, -1, Inf)", f"clamp({X}, -1.0, inf)"),
        ("absent(x) or vector(0)", f"absent({X}) or vector(0.0)"),
        ("x and hour() > 9", f"{X} and (hour() > 9.0)"),
        # Binary expressions keep their structure.
        ("x + y * 2", f"{X} + ({Y} * 2.0)"),
        ("(x + y) * 2", f"({X} + {Y}) * 2.0"),
        ("x ^ y ^ 2", f"{X} ^ ({Y} ^ 2.0)"),
        ("x - y - 2", f"({X} - {Y}) - 2.0"),
        ("-x ^ 2", f"-({X} ^ 2.0)"),
        ("x ^ -1e-9", f"{X} ^ (-1e-09)"),
        ("x or y unless x", f"{X} or ({Y} unless {X})"),
        ("x == bool on (a, b) group_left (c) y", f"{X} == bool on (a, b) group_left (c) {Y}"),
        ("x / ignoring (a) group_right y", f"{X} / ignoring (a) group_right () {Y}"),
        ("x * on () y", f"{X} * on () {Y}"),
        ("x atan2 y % 3", f"({X} atan2 {Y}) % 3.0"),
    ],
)
def test_every_selector_gets_the_namespace(query: str, expected: str) -> None:
    assert limited(query) == expected


@pytest.mark.parametrize(
    "matcher",
    [
        'namespace="other"',
        'namespace=""',
        'namespace!="shop"',
        'namespace=~"shop"',
        'namespace!~"other"',
        'namespace=~".*"',
        'namespace="shop",namespace="other"',
        '"namespace"="other"',
        "'\\u006eamespace'='other'",
        "`namespace`!=`x`",
    ],
)
@pytest.mark.parametrize("around", ["x{%s}", '{__name__="x",%s}', "sum(rate(x{%s}[5m]))", "max_over_time(x{%s}[5m:])"])
def test_another_namespace_is_refused(matcher: str, around: str) -> None:
    with pytest.raises(QueryRefused, match="namespace shop only; remove the matcher of namespace"):
        limited(around % matcher)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "cannot be read"),
        ("x +", "cannot be read"),
        ("{}", "at least one non-empty matcher"),
        ('x{a="b"', "cannot be read"),
        ('x{a="b" or c="d"}', "cannot use `or` between matchers"),
        ('{namespace="shop" or __name__="x"}', "cannot use `or` between matchers"),
        ("info(x)", "cannot use the function info"),
        ('info(x, {namespace="shop"})', "cannot use the function info"),
        ("rate(info(x)[5m:])", "cannot use the function info"),
        ("nonsense(x)", "unknown function"),
        ("x + fill(0) y", "cannot use fill"),
        ("x @ 1700000000", "cannot query a fixed time"),
        # Reading that time, or parsing that number, makes the library panic.
        ("x @ -5", "cannot query a fixed time"),
        ("x[1e30]", "out of range"),
        ("x offset 1e30", "out of range"),
        ("x[1e14]", "out of range"),
        ("x[0.0001]", "finer than a millisecond"),
        ("vector(1)", "selects no series"),
        ("time() > bool 5", "selects no series"),
        ('"text"', "selects no series"),
        ("x" * 2049, "longer than 2048"),
        ("(" * 100 + "x" + ")" * 100, "nested more than 64 deep"),
        ("-" * 100 + "x", "nested more than 64 deep"),
        ("x" + "+x" * 100, "nested more than 64 deep"),
        ("(" * 1000 + "x" + ")" * 1000, "more than 128 operators and parentheses"),
        ("-" * 2000 + "x", "more than 128 operators and parentheses"),
        ("x" + "+x" * 1000, "more than 128 operators and parentheses"),
        ("x" + " > x" * 400, "more than 128 operators and parentheses"),
        ("x" + " == x" * 400, "more than 128 operators and parentheses"),
        ("x" + " Or x" * 400, "more than 128 operators and parentheses"),
        ('x{a=~"\\z"}', "cannot be read"),
        ('x{a=~"b\nc"}', "cannot be read"),
    ],
)
def test_what_cannot_be_limited_is_refused(query: str, words: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        limited(query)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (X, True),
        (f"rate({X}[5m]) + sum({Y})", True),
        ("x", False),
        ('x{namespace="other"}', False),
        ('x{namespace="shop",namespace="shop"}', False),
        ('x{namespace=~"shop"}', False),
        (f"{X} + y", False),
        (f"topk(scalar(y), {X})", False),
        ("rate(y[5m])", False),
        ("max_over_time(y[5m:])", False),
        ('{namespace="shop" or a="b"}', False),
    ],
)
def test_the_proof_finds_what_the_rewriting_would_have_missed(query: str, expected: bool) -> None:
    assert limiting._is_limited(promql.parse(query), "shop") is expected


def test_every_permitted_function_exists() -> None:
    for name in limiting._FUNCTIONS:
        try:
            promql.parse(f"{name}()")
        except ValueError as error:
            assert "unknown function" not in str(error), name


# Random queries, wicked values included.

VALUES = st.text(st.sampled_from("ab{}()[]\"'`\\#,=~! \n\x00é😀|.*+") | st.characters(codec="utf-8"), max_size=12)
NAMES = st.sampled_from(["x", "y:z", "sum", "by", "namespace", "on", "up"])
LABELS = st.sampled_from(["a", "b", "le", "by", "namespace", "__name__", '"a.b"', '"namespace"'])
OFFSETS = st.sampled_from(["", " offset 5m", " offset -1h", " @ end()", " @ start() offset 1ms", " # {\n"])


def _literal(value: str) -> str:
    plain = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\x00", "\\x00")
    return '"' + plain.replace('"', '\\"') + '"'


MATCHERS = st.builds(
    lambda label, operator, value: f"{label}{operator}{value}",
    LABELS,
    st.sampled_from(["=", "!=", "=", "!=", "=~", "!~"]),
    st.one_of(VALUES.map(_literal), st.just('"shop"'), st.sampled_from(["'other'", "`a`", '".+"'])),
)
SELECTORS = st.builds(
    lambda name, matchers, offset: f"{name}{{{','.join(matchers)}}}{offset}",
    st.one_of(NAMES, st.just("")),
    st.lists(MATCHERS, max_size=3),
    OFFSETS,
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "/", "^", "and", "or on (a)", "unless", "> bool", "* on (a) group_left (b)"])
    forms = ["rate(%s[5m])", "sum(%s)", "sum by (a) (%s)", "-%s", "(%s)", "max_over_time((%s)[5m:1m])", "topk(3, %s)"]
    forms += ["absent(%s)", "count_values('v', %s)", "histogram_quantile(0.9, %s)", "%s > 0.5", "1 - %s"]
    return st.one_of(
        st.builds(lambda form, text: form % text, st.sampled_from(forms), inner),
        st.builds(lambda left, operator, right: f"{left} {operator} {right}", inner, operators, inner),
    )


QUERIES = st.recursive(SELECTORS, _grown, max_leaves=6)


def second_opinion(written: str) -> None:
    """Looks at the text only: outside of strings, everything in braces ends with the namespace, and no name is bare."""
    assert written.isascii() and written.isprintable()
    assert '"shop"' in STRING.findall(written)
    bare = STRING.sub('""', written.replace('namespace="shop"', "namespace=OURS"))
    selectors = SELECTOR.findall(bare)
    assert selectors and all(re.search(r"[{,]namespace=OURS\}$", each) for each in selectors)
    assert all(each.count("OURS") == 1 and "namespace=" not in each[:-16] for each in selectors)
    rest = re.sub(r"\[(\d+s)?(\d+ms)?(:[\dms]*)?\]", "", SELECTOR.sub("", bare))
    assert not set("{}#'`\\") & set(rest)
    words = set(re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r"\d[\w.+-]*", "", rest)))
    assert words <= {
        *("rate", "sum", "by", "max_over_time", "topk", "absent", "count_values", "histogram_quantile"),
        *("offset", "end", "start", "and", "or", "unless", "on", "bool", "group_left", "a", "b"),
    }


@given(QUERIES)
def test_random_queries_are_limited_or_refused(query: str) -> None:
    try:
        written = limited(query)
    except QueryRefused:
        return
    second_opinion(written)
    # What is limited stays as it is.
    assert limited(written) == written
    with pytest.raises(QueryRefused):
        force_namespace(written, namespace="other")


@given(st.one_of(st.text(max_size=40), st.text("x{}()[]\"'`\\=~!,@:+- 5msoffset\n#", max_size=60)))
def test_random_text_never_does_harm(text: str) -> None:
    try:
        written = limited(text)
    except QueryRefused:
        return
    assert limiting._is_limited(promql.parse(limiting._without_regexes(written)[0]), "shop")
