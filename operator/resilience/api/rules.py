"""CEL validations that more than one field of the API needs.

Each leaves alone what is no duration at all: the field's own validation says that better.
"""

from resilience.api.base import rule
from resilience.api.scalars import DURATION_PATTERN


def at_least(field: str, least: str) -> dict[str, str]:
    """A duration of the object has a lower bound."""
    expression = f"!has(self.{field}) || duration(self.{field}) >= duration('{least}') || {_unreadable(field)}"
    return rule(expression, f"{field} must be at least {least}")


def compared(field: str, operator: str, other: str, message: str) -> dict[str, str]:
    """Two durations of one object compare, e.g. `timeout <= interval`."""
    return rule(
        f"!has(self.{field}) || !has(self.{other}) || duration(self.{field}) {operator} duration(self.{other})"
        f" || {_unreadable(field)} || {_unreadable(other)}",
        message,
    )


def whole_seconds(field: str, message: str) -> dict[str, str]:
    """A duration of the object has no fraction of a second."""
    whole = f"duration(self.{field}).getMilliseconds() % 1000 == 0"
    return rule(f"!has(self.{field}) || {whole} || {_unreadable(field)}", message)


def _unreadable(field: str) -> str:
    return f"!self.{field}.matches(r'{DURATION_PATTERN}')"


def probe_rules(*probes: str) -> list[dict[str, str]]:
    """Rules of the whole spec: a probe names a check that is there and that the kubelet can run."""
    checks = "has(self.health) && has(self.health.checks)"
    return [
        rule(
            f"!has(self.probes) || !has(self.probes.{probe}) || ({checks} &&"
            f" self.health.checks.exists(c, c.name == self.probes.{probe}.check))",
            f"probes.{probe}.check must be the name of a check in health.checks",
        )
        for probe in probes
    ] + [
        rule(
            f"!has(self.probes) || !has(self.probes.{probe}) || !({checks}) ||"
            f" self.health.checks.all(c, c.name != self.probes.{probe}.check || !has(c.http)"
            " || !has(c.http.expectStatus))",
            f"probes.{probe}.check: the kubelet cannot compare statuses; name a check without expectStatus",
        )
        for probe in probes
    ]


def gate_rules(*gates: str) -> list[dict[str, str]]:
    """Rules of the whole spec: a gate names checks that are there."""
    return [
        rule(
            f"!has(self.rollout) || !has(self.rollout.{gate}) || (has(self.health) && has(self.health.checks) &&"
            f" self.rollout.{gate}.checks.all(n, self.health.checks.exists(c, c.name == n)))",
            f"rollout.{gate}.checks must be names of checks in health.checks",
        )
        for gate in gates
    ]
