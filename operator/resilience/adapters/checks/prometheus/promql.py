"""Limits a PromQL query to one namespace, so that a tenant's checks cannot read another tenant's series.

The query is parsed and written anew from its syntax tree, so that nothing else of its text (a comment, an escape)
reaches the server. The result is parsed again, to prove the limit. Unknown syntax is refused. This module must not
connect to anything, and must not use the library's own formatter, which does not escape values.

The library holds the interpreter's lock while it parses, so no thread helps against a query that takes it long. It
never gets to see a regular expression, which it would compile (1 KB of them takes ten seconds); whether one is correct,
the server says. Of operators, which it takes quadratic time for, it gets a limited number.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import promql_parser as promql

from resilience.adapters.checks.prometheus.refusal import QueryRefused

LABEL: Final = "namespace"
# The CRD allows no longer query. The parser recurses, and a far longer query would end the process.
LONGEST: Final = 2048
_DEEPEST: Final = 64
_MOST_OPERATORS: Final = 128
_SHOWN: Final = 200
_STRING: Final = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)"""
_COMMENT: Final = re.compile(rf"(?P<string>{_STRING})|#[^\n]*", re.DOTALL)
_REGEX: Final = re.compile(rf"(?P<operator>[=!]~\s*)?(?P<string>{_STRING})", re.DOTALL)
_OPERATOR: Final = re.compile(r"[-+*/%^(<>]|[=!]=|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_IDENTIFIER: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_MILLISECOND: Final = timedelta(milliseconds=1)
_OPERATORS: Final = (
    (promql.MatchOp.Equal, "="),
    (promql.MatchOp.NotEqual, "!="),
    (promql.MatchOp.Re, "=~"),
    (promql.MatchOp.NotRe, "!~"),
)
# Functions that read nothing but their arguments. `info` is not among them: it reads series that no selector names.
_FUNCTIONS: Final = frozenset((
    "abs", "absent", "absent_over_time", "acos", "acosh", "asin", "asinh", "atan", "atanh", "avg_over_time",
    "ceil", "changes", "clamp", "clamp_max", "clamp_min", "cos", "cosh", "count_over_time", "day_of_month",
    "day_of_week", "day_of_year", "days_in_month", "deg", "delta", "deriv", "double_exponential_smoothing",
    "exp", "first_over_time", "floor", "histogram_avg", "histogram_count", "histogram_fraction",
    "histogram_quantile", "histogram_stddev", "histogram_stdvar", "histogram_sum", "hour", "idelta", "increase",
    "irate", "label_join", "label_replace", "last_over_time", "ln", "log10", "log2", "mad_over_time",
    "max_over_time", "min_over_time", "minute", "month", "pi", "predict_linear", "present_over_time",
    "quantile_over_time", "rad", "rate", "resets", "round", "scalar", "sgn", "sin", "sinh", "sort",
    "sort_by_label", "sort_by_label_desc", "sort_desc", "sqrt", "stddev_over_time", "stdvar_over_time",
    "sum_over_time", "tan", "tanh", "time", "timestamp", "vector", "year",
))  # fmt: skip


def force_namespace(query: str, *, namespace: str) -> str:
    """The query with `namespace="<namespace>"` in each of its selectors.

    Raises:
        QueryRefused: the query cannot be parsed, is too long or deep, selects nothing, asks for another namespace, or
            has a part that might read more series than its selectors name.
    """
    if len(query) > LONGEST:
        raise QueryRefused(f"the query is longer than {LONGEST} characters")
    try:
        plain, regexes = _without_regexes(query)
        writer = _Writer(namespace, regexes)
        written = writer.expression(promql.parse(plain))
        plain, regexes = _without_regexes(written)
        again = promql.parse(plain)
        proven = _is_limited(again, namespace) and _Writer(namespace, regexes).expression(again) == written
    except ValueError as error:
        raise QueryRefused(f"the query cannot be read: {str(error)[:_SHOWN]}") from error
    except OverflowError as error:
        raise QueryRefused("the query cannot be read: a duration is out of range") from error
    except BaseException as error:
        # Panics of the library (`x[1e30]`) are not an Exception, so they end a process that does not expect them.
        if type(error).__name__ != "PanicException":
            raise
        raise QueryRefused("the query cannot be read: a number in it is out of range") from error
    if not writer.selectors:
        raise QueryRefused("the query selects no series, so its value would mean nothing")
    if not proven:
        raise QueryRefused("the query cannot be limited to its namespace; write it in a simpler way")
    return written


def _without_regexes(query: str) -> tuple[str, list[str]]:
    """The query without comments and with a number in place of each regular expression, and the expressions.

    A text that the parser takes apart in another way costs time or is refused; it cannot pass for something else,
    because only the syntax tree decides what is written.
    """
    regexes: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        if match["operator"] is None:
            return match["string"]
        literal = promql.parse(match["string"])
        assert isinstance(literal, promql.StringLiteral)  # nothing else is a text in quotes
        regexes.append(literal.val)
        return f'{match["operator"]}"{len(regexes) - 1}"'

    plain = _REGEX.sub(numbered, _COMMENT.sub(lambda match: match["string"] or " ", query))
    if len(_OPERATOR.findall(_REGEX.sub("", plain))) > _MOST_OPERATORS:
        raise QueryRefused(f"the query has more than {_MOST_OPERATORS} operators and parentheses")
    return plain, regexes


def _is_limited(query: promql.Expr, namespace: str) -> bool:
    """Every selector has exactly one matcher of the label, and that one equals the namespace."""

    def has_limit(node: promql.Expr) -> bool:
        if not isinstance(node, promql.VectorSelector):
            return True
        own = [matcher for matcher in node.matchers.matchers if matcher.name == LABEL]
        is_exact = len(own) == 1 and own[0].op == promql.MatchOp.Equal and own[0].value == namespace
        return is_exact and not node.matchers.or_matchers

    return promql.walk(query, pre_visit=has_limit)


class _Writer:
    """Writes an expression as text in the plainest form, with its regular expressions, and limits every selector."""

    def __init__(self, namespace: str, regexes: Sequence[str]) -> None:
        self.selectors = 0
        self._regexes = regexes
        self._namespace = namespace
        self._depth = 0

    def expression(self, node: promql.Expr) -> str:
        if self._depth == _DEEPEST:
            raise QueryRefused(f"the query is nested more than {_DEEPEST} deep")
        self._depth += 1
        text = self._node(node)
        self._depth -= 1
        return text

    def _node(self, node: promql.Expr) -> str:
        match node:
            case promql.VectorSelector():
                return f"{self._selector(node)}{_modifiers(node)}"
            case promql.MatrixSelector():
                selector = node.vector_selector
                return f"{self._selector(selector)}[{_duration(node.range)}]{_modifiers(selector)}"
            case promql.SubqueryExpr(expr=inner, range=length, step=step):
                span = f"{_duration(length)}:{_duration(step)}"
                return f"{self._operand(inner)}[{span}]{_modifiers(node)}"
            case promql.AggregateExpr():
                return self._aggregation(node)
            case promql.BinaryExpr(lhs=left, rhs=right):
                return f"{self._operand(left)} {node.op}{_matching(node.modifier)} {self._operand(right)}"
            case promql.Call(func=function, args=arguments):
                if function.name not in _FUNCTIONS:
                    raise QueryRefused(f"a check cannot use the function {function.name}; rewrite the query")
                return f"{function.name}({', '.join(self.expression(argument) for argument in arguments)})"
            case promql.ParenExpr(expr=inner):
                return f"({self.expression(inner)})"
            case promql.UnaryExpr(expr=inner):
                return f"-{self._operand(inner)}"
            case promql.NumberLiteral(val=number):
                return repr(number)
            case promql.StringLiteral(val=text):
                return _quoted(text)
            case _:
                raise QueryRefused(f"a check cannot use {type(node).__name__}")

    def _operand(self, node: promql.Expr) -> str:
        text = self.expression(node)
        bare = isinstance(node, promql.BinaryExpr | promql.UnaryExpr) or text.startswith("-")
        return f"({text})" if bare else text

    def _selector(self, node: promql.VectorSelector) -> str:
        self.selectors += 1
        if node.matchers.or_matchers:
            raise QueryRefused("a check cannot use `or` between matchers; use it between selectors")
        named = [] if node.name is None else [promql.Matcher(promql.MatchOp.Equal, "__name__", node.name)]
        ours = promql.Matcher(promql.MatchOp.Equal, LABEL, self._namespace)
        others = []
        for matcher in node.matchers.matchers:
            if matcher.name != LABEL:
                others.append(matcher)
            elif matcher.op != ours.op or matcher.value != ours.value:
                raise QueryRefused(
                    f"a check sees the series of namespace {self._namespace} only; remove the matcher of {LABEL}"
                )
        return f"{{{','.join(self._matcher(matcher) for matcher in (*named, *others, ours))}}}"

    def _matcher(self, matcher: promql.Matcher) -> str:
        operator, value = next(text for kind, text in _OPERATORS if kind == matcher.op), matcher.value
        if "~" in operator:
            if not value.isdecimal() or int(value) >= len(self._regexes):
                raise QueryRefused("the query cannot be read: a regular expression in it is not one string on one line")
            value = self._regexes[int(value)]
        return f"{_label(matcher.name)}{operator}{_quoted(value)}"

    def _aggregation(self, node: promql.AggregateExpr) -> str:
        grouping, modifier = "", node.modifier
        if modifier is not None:
            word = "by" if modifier.type == promql.AggModifierType.By else "without"
            grouping = f" {word} {_labels(modifier.labels)} "
        parts = [node.expr] if node.param is None else [node.param, node.expr]
        return f"{node.op}{grouping}({', '.join(self.expression(part) for part in parts)})"


def _matching(modifier: promql.BinModifier | None) -> str:
    if modifier is None:
        return ""
    if modifier.fill_values.lhs is not None or modifier.fill_values.rhs is not None:
        raise QueryRefused("a check cannot use fill; use `or` instead")
    text = " bool" if modifier.return_bool else ""
    if modifier.matching is not None:
        word = "on" if modifier.matching.type == promql.LabelModifierType.Include else "ignoring"
        text += f" {word} {_labels(modifier.matching.labels)}"
    for card, word in (
        (promql.VectorMatchCardinality.ManyToOne, "group_left"),
        (promql.VectorMatchCardinality.OneToMany, "group_right"),
    ):
        if modifier.card == card:
            text += f" {word} {_labels(modifier.group_labels or [])}"
    return text


def _modifiers(node: promql.VectorSelector | promql.SubqueryExpr) -> str:
    offset = "" if node.offset is None else f" offset {_duration(node.offset)}"
    if node.at is None:
        return offset
    # The library cannot even return a time before 1970, and a check is about the present anyway.
    if node.at.type == promql.AtModifierType.At:
        raise QueryRefused("a check cannot query a fixed time; use offset")
    return f" @ {'start' if node.at.type == promql.AtModifierType.Start else 'end'}(){offset}"


def _duration(length: timedelta | None) -> str:
    """Seconds and milliseconds, e.g. `300s`; empty for None, which is a subquery's default step."""
    if length is None:
        return ""
    whole, rest = divmod(abs(length), _MILLISECOND)
    if rest:
        raise QueryRefused("a duration in the query is finer than a millisecond")
    seconds, milliseconds = divmod(whole, 1000)
    text = (f"{seconds}s" if seconds else "") + (f"{milliseconds}ms" if milliseconds else "")
    return f"-{text}" if length < timedelta() else text


def _labels(names: list[str]) -> str:
    return f"({', '.join(_label(name) for name in names)})"


def _label(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """The text in double quotes, as Go reads them. All but plain ASCII is escaped, so that no reader misreads it."""
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    if " " <= character <= "~" and character not in '"\\':
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
