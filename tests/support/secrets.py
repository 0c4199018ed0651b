"""Secrets in memory, for checks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from resilience.adapters.net.credentials import Credentials
from resilience.core.model.probes import SecretRef
from resilience.ports import Refused


@dataclass(slots=True)
class FakeSecrets:
    """Contents of Secrets, and the number of reads; `delay` in seconds, `refuses` when none is labelled."""

    values: dict[SecretRef, str] = field(default_factory=dict)
    reads: int = 0
    delay: float = 0.0
    refuses: bool = False
    # Called after each read.
    later: Callable[[], None] = lambda: None

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        """One value."""
        self.reads += 1
        await asyncio.sleep(self.delay)
        if self.refuses:
            raise Refused("the Secret is not labelled readable")
        value = self.values[SecretRef(namespace, name, key)]
        self.later()
        return value


def no_secrets() -> Credentials:
    """Credentials for checks that need none."""
    return Credentials(secrets=FakeSecrets(), monotonic=lambda: 0.0)
