"""Matchers of alert routes, in Alertmanager's syntax: `severity="critical"`, `service=~"check.*"`.

A text is read as Alertmanager reads it by default: by the classic parser, or by the UTF-8 parser where the classic one
refuses it. Where both read it and disagree, Alertmanager takes the classic reading, too:
https://prometheus.io/docs/alerting/latest/configuration/#matcher. Regular expressions are RE2's, as there: they are
anchored, and none can take long, whoever wrote it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from resilience.api.base import rule, rules

if TYPE_CHECKING:
    import re2

# White space to Go: `\s` in its regular expressions, and everywhere else.
_BLANK: Final = r"[\t\n\f\r ]*"
_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_CLASSIC: Final = re.compile(rf"{_BLANK}([a-zA-Z_:][a-zA-Z0-9_:]*){_BLANK}(=~|=|!=|!~){_BLANK}(.*?){_BLANK}", re.DOTALL)
# Before anything else a backslash stands for itself, as in `pay\.api`.
_CLASSIC_ESCAPES: Final = {"n": "\n", '"': '"', "\\": "\\"}
_TOKEN: Final = re.compile(
    rf"""[{_SPACE}]*([{{}},]|!=|!~|=~|=|"(?:[^"\\]|\\.)*"|[^{_SPACE}{{}}!=~,\\"'`]+)[{_SPACE}]*""", re.DOTALL
)
_PUNCTUATION: Final = frozenset("{},")
# The escapes of Go's strconv.Unquote between double quotes.
_UTF8_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))"
)
_UTF8_ESCAPES: Final = dict(zip('abfnrtv\\"', b'\a\b\f\n\r\t\v\\"', strict=True))
# The API server's twin only requires an operator; the rest is checked here.
_SHAPE: Final = r"=|!~"


class Operator(StrEnum):
    """Comparison of a matcher."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    MATCHES_NOT = "!~"


_OPERATORS: Final = frozenset(str(operator) for operator in Operator)


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
def parse(text: str) -> tuple[Matcher, ...]:
    """The matchers that a text stands for: one, or several in a list, with or without braces; all have to match.

    Raises:
        ValueError: the text is no matcher, or its regular expression is none; the message says what is wrong.
    """
    try:
        return tuple(_classic(text))
    except ValueError as error:
        try:
            return tuple(_utf8(text))
        except ValueError:
            raise error from None


def all_match(texts: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Every matcher of these texts matches the labels. Raises ValueError as `parse`."""
    return all(matcher.matches(labels) for text in texts for matcher in parse(text))


def _matcher(label: str, operator: str, value: str) -> Matcher:
    matcher = Matcher(label, Operator(operator), value)
    if matcher.operator in (Operator.MATCHES, Operator.MATCHES_NOT):
        _compiled(value)
    return matcher


def _wrong(text: str) -> ValueError:
    return ValueError(f'{text!r} is not a matcher; write it as severity="critical" or service=~"check.*"')


def _classic(text: str) -> Iterator[Matcher]:
    """The matchers as Alertmanager's package pkg/labels reads them."""
    items = _items(text.removeprefix("{").removesuffix("}"))
    for item in items:
        match = _CLASSIC.fullmatch(item)
        if match is None:
            raise _wrong(text)
        label, operator, raw = match.groups()
        yield _matcher(label, operator, _classic_value(raw, text))


def _items(text: str) -> list[str]:
    """The items of a list: commas between quotes separate nothing, and one at the end is allowed."""
    items, start, is_quoted, is_escaped = [], 0, False, False
    for index, letter in enumerate(text):
        if letter == "," and not is_quoted:
            items.append(text[start:index])
            start = index + 1
        elif letter == '"' and not is_escaped:
            is_quoted = not is_quoted
        is_escaped = letter == "\\" and not is_escaped
    last = text[start:].strip(_SPACE)
    return [*items, last] if last else items


def _classic_value(raw: str, text: str) -> str:
    is_quoted = raw.startswith('"')
    inner, value, is_escaped = raw[1:] if is_quoted else raw, "", False
    for index, letter in enumerate(inner):
        is_last = index == len(inner) - 1
        if is_escaped:
            value += _CLASSIC_ESCAPES.get(letter, "\\" + letter)
            is_escaped = False
        elif letter == "\\" and not is_last:
            is_escaped = True
        elif letter == '"' and not (is_quoted and is_last):
            raise _wrong(text)
        elif letter == '"':
            is_quoted = False
        else:
            value += letter
    if is_quoted:
        raise _wrong(text)
    return value


def _utf8(text: str) -> Iterator[Matcher]:
    """The matchers as Alertmanager's package matcher/parse reads them."""
    tokens = _tokens(text)
    if tokens[:1] == ["{"]:
        if tokens[-1] != "}":
            raise _wrong(text)
        tokens = tokens[1:-1]
    for start in range(0, len(tokens), 4):
        item = tokens[start : start + 4]
        if len(item) < 3 or (len(item) == 4 and item[3] != ","):
            raise _wrong(text)
        label, operator, value = item[:3]
        if operator not in _OPERATORS or not {label, value}.isdisjoint(_OPERATORS | _PUNCTUATION):
            raise _wrong(text)
        yield _matcher(_utf8_value(label, text), operator, _utf8_value(value, text))


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _wrong(text)
        tokens.append(match[1])
        position = match.end()
    return tokens


def _utf8_value(token: str, text: str) -> str:
    """The text that a token stands for: itself, or what is between its quotes, without escapes."""
    if not token.startswith('"'):
        return token
    inner, value, position = token[1:-1], b"", 0
    while position < len(inner):
        escape = _UTF8_ESCAPE.match(inner, position)
        if escape is None and inner[position] in "\\\n":
            raise _wrong(text)
        value += inner[position].encode() if escape is None else _unescaped(escape)
        position = position + 1 if escape is None else escape.end()
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _wrong(text) from None


def _unescaped(escape: "re.Match[str]") -> bytes:
    """The bytes that an escape stands for.

    Raises:
        ValueError: there is no such byte or code point.
    """
    letter, octal, byte, short, long = escape.groups()
    if letter is not None:
        return bytes([_UTF8_ESCAPES[letter]])
    if octal is not None or byte is not None:
        return bytes([int(octal, 8) if octal is not None else int(byte, 16)])
    return chr(int(short or long, 16)).encode()


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> "re2._Regexp":
    # Few clusters have such matchers; a validator cannot wait for a thread, and this takes less than 10 ms.
    import re2

    options = re2.Options()
    # Errors are shown in status, not on the standard error output.
    options.log_errors = False
    # Bounds the memory of one pattern; the default of 8 MiB times a few thousand patterns would be too much.
    options.max_mem = 1 << 18
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression that RE2 reads: {_words(error.args)}") from error


def _words(arguments: tuple[object, ...]) -> str:
    reason = arguments[0] if arguments else ""
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
