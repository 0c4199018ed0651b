"""Matchers: what they read, what they refuse, and that none can take long."""

import time

import pytest

from resilience.api import matchers
from resilience.api.matchers import parse

LABELS = {"severity": "critical", "check": "db", "service": "checkout"}


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
    assert parse(text).matches(LABELS) is matches


def test_escapes() -> None:
    assert parse(r'check="a \"b\" \\ c\nd"').value == 'a "b" \\ c\nd'


@pytest.mark.parametrize(
    "text",
    ["", "severity", "=x", '"severity"="x"', 'severity="', "severity=a b", "1a=b", 'a="b" extra', 'a=~"("', "a==b"],
)
def test_what_cannot_be_read_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse(text)


def test_no_expression_takes_long() -> None:
    wicked = parse('service=~"(a+)+b"')
    began = time.perf_counter()
    assert not wicked.matches({"service": "a" * 100_000})
    assert time.perf_counter() - began < 1
    with pytest.raises(ValueError, match="regular expression"):
        parse(f'service=~"{"(a{1000}){1000}" * 3}"')
    assert matchers.parse.cache_info().maxsize is not None
