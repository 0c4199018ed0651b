"""Delivers to all other services with Apprise (https://github.com/caronc/apprise), in threads: its plugins block.

The library is imported when it is first needed: it is large, and most installations do not use it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.receivers import wording
from resilience.adapters.receivers.connect_guard import guarded
from resilience.adapters.receivers.wording import Origin
from resilience.api.reasons import Severity
from resilience.api.receivers import AppriseReceiver
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.health.dependencies import secret
from resilience.core.model.observation import Key
from resilience.ports import DeliveryFailed, Receipt

_TYPES: Final = {Severity.CRITICAL: "failure", Severity.WARNING: "warning", Severity.INFO: "info"}
# Plugins that talk to the machine they run on, or run a program.
_LOCAL: Final = frozenset({"dbus", "qt", "kde", "glib", "gnome", "macosx", "syslog", "windows", "growl", "file"})
_NOT_AN_ADDRESS: Final = "the Secret holds no address that Apprise reads: https://github.com/caronc/apprise/wiki"
_THREADS: Final = 16


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="apprise")


@dataclass(frozen=True, slots=True)
class Apprise:
    """Delivers to one address. A namespace uses at most one thread: a slow server occupies it for a long time."""

    guard: AddressGuard
    credentials: Credentials
    origin: Origin
    threads: ThreadPoolExecutor = field(default_factory=_threads)
    turns: WeakValueDictionary[str, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)

    async def deliver(
        self, spec: AppriseReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> Receipt:
        """Raises DeliveryFailed, without a cause: Apprise only reports success or failure."""
        url = (await self.credentials.value(secret(spec.url_from, key.namespace), fresh=fresh)).strip()
        kind = "success" if message.over else _TYPES[message.severity]
        title, body = wording.headline(message, self.origin), wording.plain(message, self.origin) or message.title
        turn = self.turns.get(key.namespace)
        if turn is None:
            turn = self.turns[key.namespace] = asyncio.Semaphore(1)
        await turn.acquire()
        loop = asyncio.get_running_loop()
        job = self.threads.submit(_notify, self.guard, url, title, body, kind, timeout.total_seconds())
        # Released when the thread is free, which may be long after our time-out.
        job.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(turn.release))
        await asyncio.wrap_future(job)
        return Receipt()


def _notify(guard: AddressGuard, url: str, title: str, body: str, kind: str, seconds: float) -> None:
    """Delivers in a thread. Raises DeliveryFailed without quoting the address."""
    with guarded(guard) as refusals:
        plugin = _plugin(url, seconds)
        delivered = plugin.notify(title=title, body=body, notify_type=kind, body_format="text")
    if refusals:
        words = f"the operator does not speak to that address: {refusals[0]}; its settings can allow the network"
        raise DeliveryFailed(DeliveryFailure(words, permanent=True))
    if not delivered:
        raise DeliveryFailed(DeliveryFailure(f"Apprise could not deliver to {urlsplit(url).scheme}://"))


def _plugin(url: str, seconds: float) -> Any:
    """The plugin for an address. Raises DeliveryFailed when there is none, or when it would act on this machine."""
    import apprise

    if urlsplit(url).scheme.lower() in _LOCAL:
        words = (
            "the Secret holds an address that Apprise would serve on the operator's own machine: choose another kind"
        )
        raise DeliveryFailed(DeliveryFailure(words, permanent=True))
    asset = apprise.AppriseAsset(http_redirects=False, async_mode=False, secure_logging=True)
    plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is None:
        raise DeliveryFailed(DeliveryFailure(_NOT_AN_ADDRESS, permanent=True))
    # The address may contain the opposite of these settings.
    plugin.redirects, plugin.verify_certificate = False, True
    plugin.socket_connect_timeout = plugin.socket_read_timeout = seconds
    return plugin
