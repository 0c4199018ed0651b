"""Delivers to all other services with Apprise (https://github.com/caronc/apprise), each message in its own process.

The address is a secret and goes through a pipe: a command line can be read by others. What the process may do is in
`apprise_process`.
"""

import asyncio
import json
import os
import pickle
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.http import no_answer
from resilience.adapters.receivers import wording
from resilience.adapters.receivers.apprise_process import Order
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
_PROGRAM: Final = "from resilience.adapters.receivers.apprise_process import main; main()"


@dataclass(frozen=True, slots=True)
class Apprise:
    """Delivers to one address."""

    guard: AddressGuard
    credentials: Credentials
    origin: Origin

    async def deliver(
        self, spec: AppriseReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> Receipt:
        """Raises DeliveryFailed, without a cause: Apprise only reports success or failure."""
        url = (await self.credentials.value(secret(spec.url_from, key.namespace), fresh=fresh)).strip()
        if urlsplit(url).scheme.lower() in _LOCAL:
            words = "the Secret holds an address that Apprise would serve on the operator's own machine"
            raise DeliveryFailed(DeliveryFailure(f"{words}: choose another kind", permanent=True))
        order = Order(
            rules=self.guard.rules,
            url=url,
            title=wording.headline(message, self.origin),
            body=wording.plain(message, self.origin) or message.title,
            kind="success" if message.over else _TYPES[message.severity],
            seconds=timeout.total_seconds(),
        )
        status, answer = await _run(pickle.dumps(order))
        if status == -signal.SIGALRM:
            raise DeliveryFailed(DeliveryFailure(str(no_answer(timeout)), unsure=True))
        if status != 0:
            words = f"Apprise broke off while it delivered to {urlsplit(url).scheme}://"
            raise DeliveryFailed(DeliveryFailure(words, unsure=True))
        trouble, is_permanent = json.loads(answer)
        if trouble:
            raise DeliveryFailed(DeliveryFailure(trouble, permanent=is_permanent))
        return Receipt()


async def _run(order: bytes) -> tuple[int | None, bytes]:
    """The exit status and the output of a process for this order; it has ended when this returns or raises."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-B", "-c", _PROGRAM), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=_environment()
        )
    except OSError as error:
        raise DeliveryFailed(DeliveryFailure("the operator could not start a process for Apprise")) from error
    try:
        answer, _ = await process.communicate(order)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, answer


def _environment() -> dict[str, str]:
    """Ours, without proxies, behind which no address could be looked at, and without a home to read settings from."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "HOME": "/nonexistent"}
