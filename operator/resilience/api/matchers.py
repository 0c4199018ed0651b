"""Matchers of alert routes, in Alertmanager's syntax: `severity="critical"`, `service=~"check.*"`.

The syntax is what Alertmanager's classic and UTF-8 parsers read alike, so that a list can be moved from one to the
other: https://prometheus.io/docs/alerting/latest/configuration/#matcher. Regular expressions are RE2's, as there: they
are anchored, and none can take long, whoever wrote it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final

import re2
from pydantic import AfterValidator, Field

from resilience.api.base import rule, rules

_LABEL: Final = r"[a-zA-Z_][a-zA-Z0-9_]*"
# Bare, or quoted. \\, \" and \n are escapes; before anything else a backslash stands for itself, as in `pay\.api`.
_BARE: Final = r"(?:[^\s{}!=~,\\\"'`]|\\\S)+"
_QUOTED: Final = r'"(?:[^"\\]|\\[\s\S])*"'
_FORM: Final = rf"^\s*({_LABEL})\s*(=~|!~|!=|=)\s*({_QUOTED}|{_BARE})\s*$"
# The API server's twin only requires a label and an operator; the rest is checked here.
_SHAPE: Final = rf"^\s*{_LABEL}\s*(=~|!~|!=|=)[\s\S]*$"
_ESCAPED: Final = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


class Operator(StrEnum):
    """Comparison of a matcher."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    MATCHES_NOT = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One comparison; a label that is not there counts as the empty text, as in Alertmanager."""

    label: str
    operator: Operator
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """These labels satisfy the matcher."""
        have = labels.get(self.label, "")
        match self.operator:
            case Operator.EQUAL:
                return have == self.value
            case Operator.NOT_EQUAL:
                return have != self.value
            case Operator.MATCHES:
                return _full_match(self.value, have)
            case Operator.MATCHES_NOT:
                return not _full_match(self.value, have)


@lru_cache(maxsize=4096)
def parse(text: str) -> Matcher:
    """The matcher that a text stands for.

    Raises:
        ValueError: the text is no matcher, or its regular expression is none; the message says what is wrong.
    """
    match = re.match(_FORM, text)
    if match is None:
        raise ValueError(f'{text!r} is not a matcher; write it as severity="critical" or service=~"check.*"')
    label, operator, raw = match.groups()
    text_only = raw[1:-1] if raw.startswith('"') else raw
    value = re.sub(r'\\["\\n]', lambda escape: _ESCAPED[escape.group()], text_only)
    matcher = Matcher(label, Operator(operator), value)
    if matcher.operator in (Operator.MATCHES, Operator.MATCHES_NOT):
        _compiled(value)
    return matcher


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> "re2._Regexp":
    options = re2.Options()
    # Errors are shown in status, not on the standard error output.
    options.log_errors = False
    # Bounds the memory of one pattern; the default of 8 MiB times a few thousand patterns would be too much.
    options.max_mem = 1 << 18
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression that RE2 reads: {_words(error)}") from error


def _words(error: re2.error) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def _full_match(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


def _readable(text: str) -> str:
    parse(text)
    return text


MatcherText = Annotated[
    str,
    AfterValidator(_readable),
    Field(
        min_length=2,
        max_length=512,
        pattern=_SHAPE,
        json_schema_extra=rules(
            rule(f"self.matches(r'{_SHAPE}')", 'write a matcher as severity="critical" or service=~"check.*"')
        ),
    ),
]
