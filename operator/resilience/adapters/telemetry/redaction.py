"""Redacts secrets in log data: by the name of a key, and by patterns anywhere in a text.

A safety net under code that should not log secrets at all. It errs towards hiding too much, and its cost is bounded:
texts, depth and numbers of values are cut. This module must not import a logging library.
"""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

MASK: Final = "***"
# Container runtimes split lines at 16 KiB.
TEXT_LIMIT: Final = 8192
_SCAN_LIMIT: Final = 32768
_DEPTH: Final = 6
_VALUES: Final = 400

_WORDS: Final = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]*")
_SECRET_PARTS: Final = (
    "password", "passwd", "passphrase", "token", "authorization", "secret", "cookie", "header", "apikey", "privatekey",
    "credential", "hmac", "routingkey", "signature",
)  # fmt: skip
_SECRET_WORDS: Final = frozenset({"dsn", "pwd", "auth"})

_KEYS: Final = r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|private[_-]?key|dsn)"
_VALUE: Final = r"""(?:\\?"[^"]*(?:"|\Z)|\\?'[^']*(?:'|\Z)|[^\s,;&"']+)"""
# Every pattern is linear, or bounded in what it scans from one start.
_PATTERNS: Final = (
    (
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)", re.S
        ),
        MASK,
    ),
    (re.compile(r"""(://[^\s/@:"']{0,256}):[^\s"']{1,512}@"""), rf"\1:{MASK}@"),
    (
        re.compile(r"""(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token)["']?\s{0,3}:[^\r\n]+"""),
        rf"\1: {MASK}",
    ),
    (re.compile(r"(?i)\b(bearer)\s{1,3}[^\s\"',;]+"), rf"\1 {MASK}"),
    (re.compile(r"\b([Bb]asic|BASIC)\s{1,3}(?=[a-z/+]{0,64}[A-Z0-9=])[A-Za-z0-9+/=_-]{6,}"), rf"\1 {MASK}"),
    (re.compile(r"(?<![\w-])eyJ[\w-]{4,}(?:\.[\w-]*){1,4}"), MASK),
    (re.compile(rf"""(?i)({_KEYS}(?:\\?["']\s{{0,3}}[:=]|\s{{0,3}}=)\s{{0,3}}){_VALUE}"""), rf"\1{MASK}"),
)


def is_secret_key(key: str) -> bool:
    """The key's name says that its value is a secret. A key that ends in `name` names a secret and holds none."""
    words = [word.lower() for word in _WORDS.findall(key[:256])]
    if not words or words[-1] in {"name", "names", "namespace"}:
        return False
    joined = "".join(words)
    return any(part in joined for part in _SECRET_PARTS) or not _SECRET_WORDS.isdisjoint(words)


def redact_text(text: str) -> str:
    """The text without anything that looks like a secret. The middle of a long text is left out after that."""
    shortened = _cut(text)
    for pattern, replacement in _PATTERNS:
        shortened = pattern.sub(replacement, shortened)
    if len(shortened) <= TEXT_LIMIT:
        return shortened
    half = TEXT_LIMIT // 2
    return f"{shortened[:half]} … ({len(text)} characters) … {shortened[-half:]}"


def _cut(text: str) -> str:
    """The part of the text to scan. Half a secret would not be recognised, so nothing of an unfinished word is kept."""
    if len(text) <= _SCAN_LIMIT:
        return text
    end = max(text.rfind(" ", 0, _SCAN_LIMIT), text.rfind("\n", 0, _SCAN_LIMIT))
    return f"{text[: max(end, 0)]} …"


@dataclass(slots=True)
class _Budget:
    """The number of values that one line may still hold."""

    left: int = _VALUES

    def spent(self) -> bool:
        self.left -= 1
        return self.left < 0


def redact_mapping(values: Mapping[str, object]) -> dict[str, object]:
    """A copy without secrets, made of JSON's types only: other objects become text, which is then redacted."""
    return _mapping(values, _DEPTH, _Budget())


def _mapping(values: Mapping[str, object], depth: int, budget: _Budget) -> dict[str, object]:
    copy: dict[str, object] = {}
    for key, value in values.items():
        if budget.spent():
            break
        copy[redact_text(str(key))] = _under(str(key), value, depth, budget)
    return copy


def _under(key: str, value: object, depth: int, budget: _Budget) -> object:
    # The absence of a value is useful to know, and no secret.
    if value is None or value == "" or isinstance(value, bool) or not is_secret_key(key):
        return _value(value, depth, budget)
    return MASK


def _value(value: object, depth: int, budget: _Budget) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return redact_text(value)
        case bytes() | bytearray():
            return f"({len(value)} bytes)"
        case Mapping() | Sequence() | Set() if depth == 0:
            return "…"
        case Mapping():
            return _mapping(value, depth - 1, budget)
        # A pair: a header or keyword, and its value.
        case (str() as key, second):
            return [redact_text(key), _under(key, second, depth - 1, budget)]
        case Sequence() | Set():
            return _items(value, depth - 1, budget)
        case _:
            return redact_text(str(value))


def _items(values: Sequence[object] | Set[object], depth: int, budget: _Budget) -> list[object]:
    copy: list[object] = []
    for value in values:
        if budget.spent():
            break
        copy.append(_value(value, depth, budget))
    return copy
