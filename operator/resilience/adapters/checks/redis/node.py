"""One server of Redis, and how to get in."""

from dataclasses import dataclass

from resilience.core.model.probes import SecretRef, TlsTrust


@dataclass(frozen=True, slots=True)
class Node:
    """A Redis server or a Sentinel, and the login and TLS trust for it."""

    host: str
    port: int
    username: SecretRef | None = None
    password: SecretRef | None = None
    trust: TlsTrust | None = None
    database: int = 0

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def server_name(self) -> str:
        """The name that the server's certificate has to carry."""
        return (self.trust.server_name if self.trust else "") or self.host
