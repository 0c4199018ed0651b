"""The Messenger port: which kind tells, and what becomes of a Secret that was changed.

A value that is refused is read again at once and tried once more, so that rotation needs no restart and no waiting.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.http import HttpClient, no_answer
from resilience.adapters.receivers.alertmanager import Alertmanager
from resilience.adapters.receivers.apprise_url import Apprise
from resilience.adapters.receivers.email import Email
from resilience.adapters.receivers.msteams import Teams
from resilience.adapters.receivers.namespace_slots import Shares
from resilience.adapters.receivers.pagerduty import URLS, PagerDuty
from resilience.adapters.receivers.post import Poster
from resilience.adapters.receivers.slack import API, Slack
from resilience.adapters.receivers.webhook import Webhook
from resilience.adapters.receivers.wording import Origin
from resilience.api.receivers import AlertReceiverSpec, Region
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.alerting.receiver import Receiver
from resilience.ports import DeliveryFailed, Invalid, Receipt, Unavailable

# What is under way at once, for the whole operator.
_AT_ONCE: Final = 32
# And for the receivers of one namespace, which may all hang.
_OF_A_NAMESPACE: Final = 8
# A delivery of several steps has so much more than one of one.
_SLACK: Final = timedelta(seconds=1)


class Messengers:
    """`ports.Messenger`. `pagerduty` and `slack`: where their APIs are."""

    def __init__(
        self,
        *,
        client: HttpClient,
        credentials: Credentials,
        origin: Origin,
        now: Callable[[], datetime],
        pagerduty: Mapping[Region, str] = URLS,
        slack: str = API,
    ) -> None:
        poster = Poster(client)
        self._alertmanager = Alertmanager(poster, credentials, origin, now)
        self._webhook = Webhook(poster, credentials, origin, now)
        self._pagerduty = PagerDuty(poster, credentials, origin, pagerduty)
        self._slack = Slack(poster, credentials, origin, slack)
        self._teams = Teams(poster, credentials, origin)
        self._email = Email(client.guard, credentials, origin, now)
        self._apprise = Apprise(client.guard, credentials, origin)
        self._slots = Shares(_AT_ONCE, each=_OF_A_NAMESPACE)

    async def deliver(self, receiver: Receiver, message: Message) -> Receipt:
        """See `ports.Messenger`."""
        spec = receiver.spec
        assert spec is not None
        async with self._slots.taken(receiver.key.namespace):
            try:
                return await self._told(receiver, spec, message, fresh=False)
            except DeliveryFailed as failure:
                if not failure.trouble.permanent:
                    raise
            return await self._told(receiver, spec, message, fresh=True)

    async def _told(self, receiver: Receiver, spec: AlertReceiverSpec, message: Message, *, fresh: bool) -> Receipt:
        try:
            async with asyncio.timeout((spec.timeout + _SLACK).total_seconds()):
                return await self._tell(receiver, spec, message, fresh=fresh)
        except TimeoutError as error:
            raise DeliveryFailed(DeliveryFailure(str(no_answer(spec.timeout)), unsure=True)) from error
        except Invalid as error:
            raise DeliveryFailed(DeliveryFailure(str(error), permanent=True)) from error
        except Unavailable as error:
            raise DeliveryFailed(DeliveryFailure(f"a Secret could not be read: {error}")) from error
        except ValueError as error:
            # The library's words might quote it.
            words = "a Secret cannot be used: headers are one `Name: value` a line, an address is one line"
            raise DeliveryFailed(DeliveryFailure(words, permanent=True)) from error

    async def _tell(self, receiver: Receiver, spec: AlertReceiverSpec, message: Message, *, fresh: bool) -> Receipt:
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
        raise DeliveryFailed(DeliveryFailure("no kind of receiver is set", permanent=True))
