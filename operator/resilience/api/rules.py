"""CEL validations that more than one field of the API needs.

Each ignores a value that is no duration or number at all: the field's own validation has a better message for that.
"""

from resilience.api.base import rule
from resilience.api.scalars import DECIMAL_PATTERN, DURATION_PATTERN


def at_least(field: str, least: str) -> dict[str, str]:
    """A lower bound for a duration of the object."""
    expression = f"!has(self.{field}) || duration(self.{field}) >= duration('{least}') || {_unreadable(field)}"
    return rule(expression, f"{field} must be at least {least}")


def at_most(field: str, most: str) -> dict[str, str]:
    """An upper bound for a duration of the object."""
    expression = f"!has(self.{field}) || duration(self.{field}) <= duration('{most}') || {_unreadable(field)}"
    return rule(expression, f"{field} must be at most {most}")


def compared(field: str, operator: str, other: str, message: str) -> dict[str, str]:
    """A comparison of two durations of one object, e.g. `timeout <= interval`."""
    return rule(
        f"!has(self.{field}) || !has(self.{other}) || duration(self.{field}) {operator} duration(self.{other})"
        f" || {_unreadable(field)} || {_unreadable(other)}",
        message,
    )


def ordered(least: str, most: str, message: str) -> dict[str, str]:
    """The first of two numbers of one object, written as text, is at most the second, where both are set.

    A field is a path: `warning.above` may be absent with all of `warning`.
    """
    absent = " || ".join(f"!has(self.{path})" for field in (least, most) for path in _steps(field))
    unreadable = " || ".join(f"!self.{field}.matches(r'{DECIMAL_PATTERN}')" for field in (least, most))
    return rule(f"{absent} || double(self.{least}) <= double(self.{most}) || {unreadable}", message)


def _steps(path: str) -> list[str]:
    """The path and those that lead to it: `a` and `a.b` for `a.b`."""
    parts = path.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def whole_seconds(field: str, message: str) -> dict[str, str]:
    """Requires a duration of the object without a fraction of a second."""
    whole = f"duration(self.{field}).getMilliseconds() % 1000 == 0"
    return rule(f"!has(self.{field}) || {whole} || {_unreadable(field)}", message)


def _unreadable(field: str) -> str:
    return f"!self.{field}.matches(r'{DURATION_PATTERN}')"


def probe_rules(*probes: str) -> list[dict[str, str]]:
    """Rules of the whole spec: a probe names an existing check that the kubelet can run."""
    return [validation for probe in probes for validation in _probe(probe)]


def _probe(probe: str) -> list[dict[str, str]]:
    checks, absent = "has(self.health) && has(self.health.checks)", f"!has(self.probes) || !has(self.probes.{probe})"
    name = f"probes.{probe}.check"
    return [
        rule(
            f"{absent} || ({checks} && self.health.checks.exists(c, c.name == self.{name}))",
            f"{name} must be the name of a check in health.checks",
        ),
        rule(
            f"{absent} || !({checks}) || self.health.checks.all(c, c.name != self.{name} || !has(c.http)"
            " || !(has(c.http.expectStatus) || has(c.http.json) || has(c.http.headersFrom)"
            " || has(c.http.basicAuthFrom) || has(c.http.oauth2)"
            " || (has(c.http.components) && c.http.components)))",
            f"{name}: the kubelet only asks for a status of 200 to 399; name a check without expectStatus, components,"
            " json, headersFrom and logins",
        ),
        rule(
            f"{absent} || !({checks}) || self.health.checks.all(c, c.name != self.{name} || ((has(c.http) ||"
            " has(c.tcp) || has(c.grpc)) && (!has(c.scope) || c.scope != 'Dependency')))",
            f"{name}: the kubelet only speaks to its own pods; name an http, tcp or grpc check that is no dependency's",
        ),
    ]


def gate_rules(*gates: str) -> list[dict[str, str]]:
    """Rules of the whole spec: a gate names existing checks."""
    return [
        rule(
            f"!has(self.rollout) || !has(self.rollout.{gate}) || (has(self.health) && has(self.health.checks) &&"
            f" self.rollout.{gate}.checks.all(n, self.health.checks.exists(c, c.name == n)))",
            f"rollout.{gate}.checks must be names of checks in health.checks",
        )
        for gate in gates
    ]


def policy_rules() -> list[dict[str, str]]:
    """Rules of the whole spec: a policy on a check names one of scope Pod."""
    return [
        rule(
            "!has(self.restart) || !has(self.restart.policies) || self.restart.policies.all(p, !has(p.check) ||"
            " (has(self.health) && has(self.health.checks) && self.health.checks.exists(c, c.name == p.check.name &&"
            " has(c.scope) && c.scope == 'Pod')))",
            "restart.policies: a check policy names a check of scope Pod in health.checks",
        )
    ]


def flag_rules() -> list[dict[str, str]]:
    """Rules of the whole spec: a flag names a check of scope Dependency."""
    return [
        rule(
            "!has(self.degradation) || !has(self.degradation.flags) || self.degradation.flags.all(f,"
            " has(self.health) && has(self.health.checks) && self.health.checks.exists(c, c.name == f.check &&"
            " has(c.scope) && c.scope == 'Dependency'))",
            "degradation.flags: a flag names a check of scope Dependency in health.checks",
        )
    ]
