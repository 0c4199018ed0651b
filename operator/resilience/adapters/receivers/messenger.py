"""The Messenger port: which kind tells, and what becomes of a Secret that was changed.

A value that is refused is read again at once and tried once more, so that rotation needs no restart and no waiting.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from resilience.adapters.credentials import Credentials
from resilience.adapters.http import HttpClient
from resilience.adapters.receivers.alertmanager import Alertmanager
from resilience.adapters.receivers.apprise_url import Apprise
from resilience.adapters.receivers.email import Email
from resilience.adapters.receivers.msteams import Teams
from resilience.adapters.receivers.pagerduty import URLS, PagerDuty
from resilience.adapters.receivers.post import Poster
from resilience.adapters.receivers.slack import API, Slack
from resilience.adapters.receivers.webhook import Webhook
from resilience.adapters.receivers.wording import Links
from resilience.api.receivers import AlertReceiverSpec, Region
from resilience.core.alerting.delivery import Trouble
from resilience.core.alerting.message import Message
from resilience.core.alerting.receiver import Receiver
from resilience.ports import DeliveryFailed, Invalid, Unavailable

# What is under way at once, for the whole operator.
_AT_ONCE: Final = 32


class Messengers:
    """`ports.Messenger`. `pagerduty` and `slack`: where their APIs are."""

    def __init__(
        self,
        *,
        client: HttpClient,
        credentials: Credentials,
        links: Links,
        now: Callable[[], datetime],
        pagerduty: Mapping[Region, str] = URLS,
        slack: str = API,
    ) -> None:
        poster = Poster(client)
        self._alertmanager = Alertmanager(poster, credentials, links, now)
        self._webhook = Webhook(poster, credentials, links, now)
        self._pagerduty = PagerDuty(poster, credentials, links, pagerduty)
        self._slack = Slack(poster, credentials, links, slack)
        self._teams = Teams(poster, credentials, links)
        self._email = Email(client.guard, credentials, links, now)
        self._apprise = Apprise(client.guard, credentials, links)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def deliver(self, receiver: Receiver, message: Message) -> str:
        """See `ports.Messenger`."""
        spec = receiver.spec
        assert spec is not None
        async with self._slots:
            try:
                return await self._told(receiver, spec, message, fresh=False)
            except DeliveryFailed as failure:
                if not failure.trouble.permanent:
                    raise
            return await self._told(receiver, spec, message, fresh=True)

    async def _told(self, receiver: Receiver, spec: AlertReceiverSpec, message: Message, *, fresh: bool) -> str:
        try:
            return await self._tell(receiver, spec, message, fresh=fresh)
        except Invalid as error:
            raise DeliveryFailed(Trouble(str(error), permanent=True)) from error
        except Unavailable as error:
            raise DeliveryFailed(Trouble(f"a Secret could not be read: {error}")) from error
        except ValueError as error:
            # The library's words might quote it.
            words = "a Secret cannot be used: headers are one `Name: value` a line, an address is one line"
            raise DeliveryFailed(Trouble(words, permanent=True)) from error

    async def _tell(self, receiver: Receiver, spec: AlertReceiverSpec, message: Message, *, fresh: bool) -> str:
        key, timeout = receiver.key, spec.timeout
        match spec:
            case AlertReceiverSpec(alertmanager=found) if found is not None:
                return await self._alertmanager.deliver(found, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(webhook=found) if found is not None:
                return await self._webhook.deliver(found, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(pagerduty=found) if found is not None:
                return await self._pagerduty.deliver(found, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(slack=found) if found is not None:
                return await self._slack.deliver(found, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(msteams=found) if found is not None:
                return await self._teams.deliver(found, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(email=found) if found is not None:
                return await self._email.deliver(found, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(apprise=found) if found is not None:
                return await self._apprise.deliver(found, key, message, timeout=timeout, fresh=fresh)
        raise DeliveryFailed(Trouble("no kind of receiver is set", permanent=True))
