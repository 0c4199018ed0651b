"""Everything else, by Apprise: https://github.com/caronc/apprise. Its plugins block, so they have threads of their own.

The library is read in when it is first needed: it is large, and most have no use for it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from resilience.adapters.address import AddressGuard
from resilience.adapters.credentials import Credentials
from resilience.adapters.network import NetworkFailure
from resilience.adapters.receivers import wording
from resilience.adapters.receivers.wording import Links
from resilience.api.reasons import Severity
from resilience.api.receivers import AppriseReceiver
from resilience.api.scalars import format_duration
from resilience.core.alerting.delivery import Trouble
from resilience.core.alerting.message import Message
from resilience.core.dependencies import secret
from resilience.core.observation import Key
from resilience.ports import DeliveryFailed, Refused

_TYPES: Final = {Severity.CRITICAL: "failure", Severity.WARNING: "warning", Severity.INFO: "info"}
# What speaks to the machine that it runs on, or runs something.
_LOCAL: Final = frozenset({"dbus", "qt", "kde", "glib", "gnome", "macosx", "syslog", "windows", "growl", "file"})
_NOT_AN_ADDRESS: Final = "the Secret holds no address that Apprise reads: https://github.com/caronc/apprise/wiki"
_THREADS: Final = 4


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="apprise")


@dataclass(frozen=True, slots=True)
class Apprise:
    """Tells one address."""

    guard: AddressGuard
    credentials: Credentials
    links: Links
    threads: ThreadPoolExecutor = field(default_factory=_threads)

    async def deliver(
        self, spec: AppriseReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> str:
        """Raises DeliveryFailed. Apprise says no more than whether it worked."""
        url = (await self.credentials.value(secret(spec.url_from, key.namespace), fresh=fresh)).strip()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                plugin = await loop.run_in_executor(self.threads, _plugin, url, timeout.total_seconds())
                await self._look_at(plugin, timeout)
                kind = "success" if message.over else _TYPES[message.severity]
                title, body = wording.headline(message), wording.plain(message, self.links) or message.title
                taken = await loop.run_in_executor(self.threads, _notify, plugin, title, body, kind)
        except TimeoutError as error:
            raise DeliveryFailed(Trouble(f"no answer within {format_duration(timeout)}")) from error
        if not taken:
            raise DeliveryFailed(Trouble(f"Apprise could not deliver to {urlsplit(url).scheme}://"))
        return ""

    async def _look_at(self, plugin: Any, timeout: timedelta) -> None:
        """An address that names its own server may not be one that the operator must not speak to."""
        if not any("{host}" in each for each in plugin.templates):
            return
        try:
            await self.guard.addresses(str(plugin.host), int(plugin.port or 443), timeout=timeout / 2)
        except NetworkFailure as failure:
            raise DeliveryFailed(Trouble(str(failure))) from failure
        except Refused as refusal:
            raise DeliveryFailed(Trouble(str(refusal), permanent=True)) from refusal


def _plugin(url: str, seconds: float) -> Any:
    """The plugin for an address. Raises DeliveryFailed without quoting it."""
    import apprise

    if urlsplit(url).scheme.lower() in _LOCAL:
        words = (
            "the Secret holds an address that Apprise would serve on the operator's own machine: choose another kind"
        )
        raise DeliveryFailed(Trouble(words, permanent=True))
    asset = apprise.AppriseAsset(http_redirects=False, async_mode=False, secure_logging=True)
    found = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if found is None:
        raise DeliveryFailed(Trouble(_NOT_AN_ADDRESS, permanent=True))
    # The address may ask for the opposite of each.
    found.redirects, found.verify_certificate = False, True
    found.socket_connect_timeout = found.socket_read_timeout = seconds
    return found


def _notify(plugin: Any, title: str, body: str, kind: str) -> bool:
    return bool(plugin.notify(title=title, body=body, notify_type=kind, body_format="text"))
