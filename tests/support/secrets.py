"""Secrets in memory, for checks."""

from dataclasses import dataclass, field

from resilience.adapters.checks.credentials import Credentials
from resilience.ports import Invalid


@dataclass(slots=True)
class FakeSecrets:
    """Values by name and key, and how often they were read."""

    values: dict[tuple[str, str], str] = field(default_factory=dict)
    reads: int = 0

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        """One value. Raises Invalid when there is none."""
        self.reads += 1
        if (name, key) not in self.values:
            raise Invalid(f"there is no Secret {name}")
        return self.values[name, key]


def no_secrets() -> Credentials:
    """Credentials of checks that need none."""
    return Credentials(secrets=FakeSecrets(), monotonic=lambda: 0.0)
