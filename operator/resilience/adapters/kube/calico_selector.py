"""Selectors of Calico's policies: `app == 'web' && !has(legacy)`, and the label keys that they depend on.

The grammar is Calico's own (libcalico-go, lib/selector): `all()`, `global()`, `has(k)`, `==`, `!=`, `in`, `not in`,
`contains`, `starts with`, `ends with`, `!`, `&&`, `||` and brackets.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'[^']*'|\"[^\"]*\")|(?P<sign>&&|\|\||==|!=|[!(){},])|(?P<word>[A-Za-z0-9_./-]+))"
)
_DEEPEST: Final = 50
# Each key of a selector costs an evaluation of all of it, so a long one is taken to depend on every key that it names.
_LONGEST: Final = 2048

Labels = Mapping[str, str]
_Test = Callable[[Labels], bool]


@dataclass(frozen=True, slots=True)
class Expression:
    """A selector that was read. `keys`: the label keys that it names."""

    matches: _Test
    keys: frozenset[str]

    def used(self, labels: Labels) -> set[str]:
        """The keys whose change may change whether it selects these labels."""
        changed = dict(labels) | dict.fromkeys(self.keys, "")
        if self.matches(labels) or self.matches(changed):
            return set(self.keys)
        return {key for key in self.keys if self.matches(dict(labels) | {key: ""})}


def parse(text: str) -> Expression:
    """The expression. An empty one selects everything.

    Raises:
        ValueError: it is none.
    """
    reader = _Reader(_tokens(text))
    test = reader.either() if reader.tokens else lambda labels: True
    if reader.tokens:
        raise ValueError(f"unexpected {reader.tokens[0]!r}")
    return Expression(test if len(text) <= _LONGEST else lambda labels: True, frozenset(reader.keys))


def _tokens(text: str) -> deque[str]:
    tokens: deque[str] = deque()
    position, text = 0, text.strip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise ValueError(f"cannot be read from {text[position:][:20]!r}")
        tokens.append(found.group().strip())
        position = found.end()
    return tokens


class _Reader:
    """Reads tokens from the left; each method returns the test of what it has read."""

    def __init__(self, tokens: deque[str]) -> None:
        self.tokens = tokens
        self.keys: set[str] = set()
        self._depth = 0

    def either(self) -> _Test:
        """Terms with `||` between them."""
        tests = [self._both()]
        while self._skip("||"):
            tests.append(self._both())
        return lambda labels: any(test(labels) for test in tests)

    def _both(self) -> _Test:
        tests = [self._term()]
        while self._skip("&&"):
            tests.append(self._term())
        return lambda labels: all(test(labels) for test in tests)

    def _term(self) -> _Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deeply")
        try:
            if self._skip("!"):
                test = self._term()
                return lambda labels: not test(labels)
            if self._skip("("):
                inner = self.either()
                self._expect(")")
                return inner
            return self._comparison(self._next())
        finally:
            self._depth -= 1

    def _comparison(self, word: str) -> _Test:
        if word in ("all", "global") and self._skip("("):
            self._expect(")")
            return lambda labels: True
        if word == "has" and self._skip("("):
            key = self._key(self._next())
            self._expect(")")
            return lambda labels: key in labels
        key, sign = self._key(word), self._next()
        match sign:
            case "==":
                value = self._text()
                return lambda labels: labels.get(key) == value
            case "!=":
                value = self._text()
                return lambda labels: labels.get(key) != value
            case "in":
                values = self._set()
                return lambda labels: labels.get(key) in values
            case "not":
                self._expect("in")
                values = self._set()
                return lambda labels: labels.get(key) not in values
            case "contains":
                value = self._text()
                return lambda labels: key in labels and value in labels[key]
            case "starts":
                self._expect("with")
                value = self._text()
                return lambda labels: key in labels and labels[key].startswith(value)
            case "ends":
                self._expect("with")
                value = self._text()
                return lambda labels: key in labels and labels[key].endswith(value)
            case _:
                raise ValueError(f"unexpected {sign!r}")

    def _set(self) -> frozenset[str]:
        self._expect("{")
        values: set[str] = set()
        while not self._skip("}"):
            values.add(self._text())
            self._skip(",")
        return frozenset(values)

    def _key(self, word: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_./-]+", word):
            raise ValueError(f"unexpected {word!r}")
        self.keys.add(word)
        return word

    def _text(self) -> str:
        token = self._next()
        if token[0] not in "'\"":
            raise ValueError(f"unexpected {token!r}")
        return token[1:-1]

    def _next(self) -> str:
        if not self.tokens:
            raise ValueError("ends too soon")
        return self.tokens.popleft()

    def _skip(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.popleft()
            return True
        return False

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise ValueError(f"{token!r} is missing")
