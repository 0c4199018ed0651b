"""Whether the shop is to do without Redis: a degradation flag, read by OpenFeature.

No request ever waits for it: it is looked up beside them, and what was read last holds. Without a source, and until the
first answer, nothing is degraded.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from .settings import Settings

FLAG: Final = "redis-degraded"
LOOK_AGAIN_SECONDS: Final = 0.25
OFREP_SECONDS: Final = 1.0


class Flags:
    """The flag as it was read last; `on_change` hears of each change."""

    def __init__(self, *, settings: Settings, on_change: Callable[[bool], None]) -> None:
        self._settings = settings
        self._on_change = on_change
        self.degraded = False
        self.version = ""
        self.since = datetime.now(UTC)

    def describe(self) -> dict[str, Any]:
        """For people and tests."""
        return {
            "degraded": self.degraded,
            "since": self.since.isoformat(),
            "version": self.version,
            "source": self._settings.flags_source,
        }

    async def follow(self) -> None:
        """Reads it until cancelled; a source that does not answer changes nothing."""
        if self._settings.flags_source == "off":
            return
        client = await asyncio.to_thread(self._client)
        pause = OFREP_SECONDS if self._settings.flags_source == "ofrep" else LOOK_AGAIN_SECONDS
        while True:
            # The value that holds is the default: an error says nothing new.
            found = await asyncio.to_thread(client.get_boolean_details, FLAG, self.degraded)
            self.version = str(found.flag_metadata.get("version", self.version))
            if found.value != self.degraded:
                self.degraded, self.since = found.value, datetime.now(UTC)
                print(json.dumps({"flag": FLAG, "on": found.value, "at": self.since.isoformat()}), flush=True)
                self._on_change(found.value)
            await asyncio.sleep(pause)

    def _client(self) -> Any:
        """Here, for the libraries take their time to load, and a shop without flags needs none."""
        from openfeature import api

        api.set_provider(self._provider())
        return api.get_client()

    def _provider(self) -> Any:
        if self._settings.flags_source == "ofrep":
            from openfeature.contrib.provider.ofrep import OFREPProvider

            return OFREPProvider(self._settings.flags_url, headers_factory=self._headers, timeout=1.0)
        from openfeature.contrib.provider.flagd import FlagdProvider
        from openfeature.contrib.provider.flagd.config import ResolverType

        return FlagdProvider(
            resolver_type=ResolverType.FILE,
            offline_flag_source_path=str(self._settings.flags_file),
            # In this mode it is how often the file is looked at, in milliseconds.
            deadline_ms=round(LOOK_AGAIN_SECONDS * 1000),
        )

    def _headers(self) -> dict[str, str]:
        """Read anew each time: the kubelet renews the token."""
        token = Path(self._settings.flags_token).read_text().strip()
        return {"Authorization": f"Bearer {token}"}
