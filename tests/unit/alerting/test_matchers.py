"""Matchers: what they read, what they refuse, and that none can take long."""

import time
from collections.abc import Mapping

import pytest

from resilience.api import matchers
from resilience.api.matchers import parse

# As in Alertmanager's own tests: pkg/labels/parse_test.go and matcher/parse/parse_test.go. Some are read by the classic
# parser alone, some by the UTF-8 parser alone, some by both.
THEIRS = [
    ("{}", []),
    ("{foo=bar}", ["foo=bar"]),
    ("{foo='}", ["foo='"]),
    ("{foo=`}", ["foo=`"]),
    (r"{foo=\"}", ['foo="']),
    ('{foo="bar", baz!~".*quux", derp="wat"}', ["foo=bar", "baz!~.*quux", "derp=wat"]),
    ('{foo="bar,quux", job="job1"}', ["foo=bar,quux", "job=job1"]),
    ('{foo = "bar", dings != "bums", }', ["foo=bar", "dings!=bums"]),
    ("foo=bar,dings!=bums", ["foo=bar", "dings!=bums"]),
    (
        r"""{quote="She said: \"Hi, ladies! That's gender-neutral…\""}""",
        ['''quote=She said: "Hi, ladies! That's gender-neutral…"'''],
    ),
    ("tricky=~~~", ["tricky=~~~"]),
    (r"trickier==\\=\=\"", [r'trickier==\=\="']),
    (r'contains_quote != "\"" , contains_comma !~ "foo,bar" , ', ['contains_quote!="', "contains_comma!~foo,bar"]),
    ("{foo=bar}}", ["foo=bar}"]),
    ("{foo=,bar=}}", ["foo=", "bar=}"]),
    (r"{foo=bar\t}", [r"foo=bar\t"]),
    (r"{foo=bar\n}", ["foo=bar\n"]),
    ("{foo=bar\\}", ["foo=bar\\"]),
    (r"{foo=bar\\}", ["foo=bar\\"]),
    ("job=", ["job="]),
    ("{foo=}b", ["foo=}b"]),
    ("a==b", ["a==b"]),
    (r'service=~"pay\.api"', [r"service=~pay\.api"]),
    (r'service=~"pay\\.api"', [r"service=~pay\.api"]),
    # The UTF-8 parser alone.
    ("{foo=🙂,}", ["foo=🙂"]),
    ("foo🙂=bar", ["foo🙂=bar"]),
    ('"foo"="bar"', ["foo=bar"]),
    ('{"foo" =~ "[a-z]+",bar!=baz}', ["foo=~[a-z]+", "bar!=baz"]),
    (r'"foo"=~"\\d+"', [r"foo=~\d+"]),
    (r'"foo"="\xf0\x9f\x99\x82 \U0001f642 \u00e4 \303\244"', ["foo=🙂 🙂 ä ä"]),
    (r'"foo"="bar\t\"\a"', ['foo=bar\t"\a']),
    ("invalid-name=x", ["invalid-name=x"]),
]
NEITHERS = [
    *(
        "foo",
        "=x",
        ",",
        "{,}",
        "}x=",
        "foo=bar,,",
        'a=~"("',
        '"{foo="bar"}',
        'job="value',
        'job=value"',
        'a="b" extra',
    ),
    *('"foo="bar""', "{{foo=", '{"foo"="bar"', '"foo"="bar"}', '"foo"=:"bar"', r'"foo"="bar\w"', r'"foo"=~"\d+"'),
    *(
        r'"foo"=bar\n',
        r'"foo"="\xf0\x9f"',
        r'"foo"="\ud800"',
        r'"foo"="\777"',
        r'"foo"="\U00110000"',
        '"foo"="a\nb"',
        "a!b=c",
    ),
]
LABELS = {"severity": "critical", "check": "db", "service": "checkout"}


def matched(text: str, labels: Mapping[str, str]) -> bool:
    return all(matcher.matches(labels) for matcher in parse(text))


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ('severity="critical"', True),
        ("severity=critical", True),
        (' severity = "critical" ', True),
        ('severity!="critical"', False),
        ('severity=~"crit.*|warning"', True),
        ('severity=~"crit"', False),
        ('severity!~"crit"', True),
        ('absent=""', True),
        ('absent=~".*"', True),
        ('absent!=""', False),
        ('check=~"(?i)DB"', True),
        ('service="check\\"out"', False),
    ],
)
def test_they_compare_as_alertmanager_does(text: str, matches: bool) -> None:
    assert matched(text, LABELS) is matches


def test_escapes() -> None:
    (matcher,) = parse(r'check="a \"b\" \\ c\nd"')
    assert matcher.value == 'a "b" \\ c\nd'


@pytest.mark.parametrize(("text", "read"), THEIRS, ids=[text for text, _ in THEIRS])
def test_they_are_read_as_alertmanager_reads_them(text: str, read: list[str]) -> None:
    assert [f"{each.label}{each.operator}{each.value}" for each in parse(text)] == read


@pytest.mark.parametrize("text", NEITHERS)
def test_what_cannot_be_read_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse(text)


def test_no_expression_takes_long() -> None:
    began = time.perf_counter()
    assert not matched('service=~"(a+)+b"', {"service": "a" * 100_000})
    assert time.perf_counter() - began < 1
    with pytest.raises(ValueError, match="regular expression"):
        parse(f'service=~"{"(a{1000}){1000}" * 3}"')
    assert matchers.parse.cache_info().maxsize is not None
