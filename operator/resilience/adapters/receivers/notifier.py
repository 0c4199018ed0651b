"""The Notifier port: chooses the kind of receiver, and handles Secrets that were rotated.

After a permanent failure the Secret is read again and the delivery is tried once more, without delay, so that rotation
needs no restart and no waiting.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from resilience.adapters.lazy import Lazy
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.http import HttpClient, no_answer
from resilience.adapters.net.login import Logins
from resilience.adapters.receivers.alertmanager import Alertmanager
from resilience.adapters.receivers.apprise_process import STARTING
from resilience.adapters.receivers.apprise_url import Apprise
from resilience.adapters.receivers.msteams import Teams
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
from resilience.ports.on_behalf import on_behalf_of

if TYPE_CHECKING:
    from resilience.adapters.receivers.email import Email

# Additional time for a delivery that takes several steps, or for a process that has to start.
_SLACK: Final = timedelta(seconds=1)
_STARTING: Final = timedelta(seconds=STARTING)


class Notifiers:
    """Implements `ports.Notifier`. `pagerduty` and `slack` are the URLs of their APIs."""

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
        poster = Poster(client, Logins(client, credentials))
        self._alertmanager = Alertmanager(poster, credentials, origin, now)
        self._webhook = Webhook(poster, credentials, origin, now)
        self._pagerduty = PagerDuty(poster, credentials, origin, pagerduty)
        self._slack = Slack(poster, credentials, origin, slack)
        self._teams = Teams(poster, credentials, origin)
        self._email = Lazy(lambda: _email()(client.guard, credentials, origin, now))
        self._apprise = Apprise(client.guard, credentials, origin)

    async def deliver(self, receiver: Receiver, message: Message) -> Receipt:
        """See `ports.Notifier`."""
        spec = receiver.spec
        assert spec is not None
        with on_behalf_of({receiver.key.namespace}):
            try:
                return await self._attempt(receiver, spec, message, fresh=False)
            except DeliveryFailed as failure:
                if not failure.trouble.permanent:
                    raise
            return await self._attempt(receiver, spec, message, fresh=True)

    async def _attempt(self, receiver: Receiver, spec: AlertReceiverSpec, message: Message, *, fresh: bool) -> Receipt:
        slack = _SLACK if spec.apprise is None else _STARTING
        try:
            async with asyncio.timeout((spec.timeout + slack).total_seconds()):
                return await self._dispatch(receiver, spec, message, fresh=fresh)
        except TimeoutError as error:
            raise DeliveryFailed(DeliveryFailure(str(no_answer(spec.timeout)), unsure=True)) from error
        except Invalid as error:
            raise DeliveryFailed(DeliveryFailure(str(error), permanent=True)) from error
        except Unavailable as error:
            raise DeliveryFailed(DeliveryFailure(f"a Secret could not be read: {error}")) from error
        except ValueError as error:
            # The library's message might quote the Secret.
            words = "a Secret cannot be used: headers are one `Name: value` a line, an address is one line"
            raise DeliveryFailed(DeliveryFailure(words, permanent=True)) from error

    async def _dispatch(self, receiver: Receiver, spec: AlertReceiverSpec, message: Message, *, fresh: bool) -> Receipt:
        key, timeout = receiver.key, spec.timeout
        match spec:
            case AlertReceiverSpec(alertmanager=settings) if settings is not None:
                return await self._alertmanager.deliver(settings, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(webhook=settings) if settings is not None:
                return await self._webhook.deliver(settings, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(pagerduty=settings) if settings is not None:
                return await self._pagerduty.deliver(settings, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(slack=settings) if settings is not None:
                return await self._slack.deliver(settings, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(msteams=settings) if settings is not None:
                return await self._teams.deliver(settings, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(email=settings) if settings is not None:
                email = await self._email.get()
                return await email.deliver(settings, key, message, timeout=timeout, fresh=fresh)
            case AlertReceiverSpec(apprise=settings) if settings is not None:
                return await self._apprise.deliver(settings, key, message, timeout=timeout, fresh=fresh)
        raise DeliveryFailed(DeliveryFailure("no kind of receiver is set", permanent=True))


def _email() -> "type[Email]":
    from resilience.adapters.receivers.email import Email

    return Email
