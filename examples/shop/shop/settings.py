"""What the shop can be told, read once from the environment: most of it makes the shop misbehave on purpose."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the shop runs. The defaults are a well-behaved service."""

    host: str | None = None
    port: int = 8080
    admin_port: int = 8081
    version: str = "dev"
    pod: str = "shop"
    redis_url: str = ""
    redis_sentinels: tuple[tuple[str, int], ...] = ()
    redis_master: str = "mymaster"
    redis_required: bool = False
    flags_source: str = "off"
    flags_file: Path = Path("/etc/flags/flags.json")
    flags_url: str = ""
    flags_token: Path = Path("/var/run/secrets/resilience.dev/token")
    orders_per_second: int = 0
    response_delay: timedelta = timedelta(milliseconds=5)
    exit_on_sigterm: bool = False
    start_delay: timedelta = timedelta(0)
    leak_mb_per_minute: float = 0.0
    crash: bool = False
    fail_health: bool = False
    fail_health_after: int | None = None
    fail_orders_after: int | None = None
    fail_ready: bool = False
    fail_file: Path | None = None
    hang_file: Path | None = None
    spin_file: Path | None = None
    hang: bool = False
    big_health: bool = False

    @classmethod
    def read(cls, *, env: Mapping[str, str] = os.environ) -> Self:
        """Read the settings from `env`; switches are on at "1". Raises ValueError if a number is not one."""
        return cls(
            host=env.get("HOST"),
            port=int(env.get("PORT", "8080")),
            admin_port=int(env.get("ADMIN_PORT", "8081")),
            version=env.get("VERSION", "dev"),
            pod=env.get("POD_NAME") or socket.gethostname(),
            redis_url=env.get("REDIS_URL", ""),
            redis_sentinels=_addresses(env.get("REDIS_SENTINELS", "")),
            redis_master=env.get("REDIS_MASTER", "mymaster"),
            flags_source=env.get("FLAGS_SOURCE", "off"),
            flags_file=Path(env.get("FLAGS_FILE", "/etc/flags/flags.json")),
            flags_url=env.get("FLAGS_URL", ""),
            flags_token=Path(env.get("FLAGS_TOKEN", "/var/run/secrets/resilience.dev/token")),
            orders_per_second=int(env.get("ORDERS_PER_SECOND", "0")),
            redis_required=env.get("REDIS_REQUIRED") == "1",
            response_delay=timedelta(milliseconds=float(env.get("RESPONSE_DELAY_MS", "5"))),
            exit_on_sigterm=env.get("EXIT_ON_SIGTERM") == "1",
            start_delay=timedelta(seconds=float(env.get("START_DELAY", "0"))),
            leak_mb_per_minute=float(env.get("LEAK_MB_PER_MINUTE", "0")),
            crash=env.get("CRASH") == "1",
            fail_health=env.get("FAIL_HEALTH") == "1",
            fail_health_after=_count(env.get("FAIL_HEALTH_AFTER", "")),
            fail_orders_after=_count(env.get("FAIL_ORDERS_AFTER", "")),
            fail_ready=env.get("FAIL_READY") == "1",
            fail_file=_path(env.get("FAIL_FILE", "")),
            hang_file=_path(env.get("HANG_FILE", "")),
            spin_file=_path(env.get("SPIN_FILE", "")),
            hang=env.get("HANG") == "1",
            big_health=env.get("BIG_HEALTH") == "1",
        )


def _count(text: str) -> int | None:
    return int(text) if text else None


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _addresses(text: str) -> tuple[tuple[str, int], ...]:
    found = (each.rpartition(":") for each in text.split(",") if each)
    return tuple((host, int(port)) for host, _, port in found)
