"""One POST to a receiver: checks the address, verifies the certificate, follows no redirect, classifies failures.

No error text quotes an address or a header: a webhook's address is a secret.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from resilience.adapters.net.credentials import verified
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.http_wire import Answer
from resilience.adapters.net.login import Logins, with_login
from resilience.api.http import ProxyUse
from resilience.api.receivers import AlertmanagerReceiver, WebhookReceiver
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.health.dependencies import login, secret
from resilience.core.model.headers import parse_headers
from resilience.core.model.probes import HttpTarget
from resilience.ports import DeliveryFailed, Refused

JSON: Final = ("Content-Type", "application/json; charset=utf-8")
# Statuses that depend on what was sent, not on when: a retry changes nothing.
_HINTS: Final = {
    400: "it does not accept the message",
    401: "it does not accept the credentials: check the Secret",
    403: "it does not accept the credentials: check the Secret",
    404: "there is no receiver at this address: check the Secret",
    405: "this address accepts no messages: check the Secret",
    410: "this address no longer exists: create a new one and put it into the Secret",
    413: "the message is too long for it",
    422: "it does not accept the message",
}
# Those of them that may not apply to another message.
_OF_MESSAGE: Final = frozenset({400, 413, 422})
_TRANSIENT: Final = frozenset({408, 425, 429})
# Failures of the answer after which the request may have been accepted.
_UNSURE: Final = frozenset({"Timeout", "ConnectionReset", "ConnectionClosed", "AnswerCut", "NotHttp"})
_LONGEST: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Poster:
    """Posts to addresses that the client's guard permits; through its proxy to what is outside of the cluster."""

    client: HttpClient
    logins: Logins

    async def access(
        self, settings: AlertmanagerReceiver | WebhookReceiver, namespace: str, *, timeout: timedelta, fresh: bool
    ) -> list[tuple[str, str]]:
        """The headers that Secrets of the receiver hold, and its login.

        Raises:
            DeliveryFailed: there is no token for now.
            Invalid, Unavailable, ValueError: a Secret is not readable, or holds something else.
        """
        text = await self.logins.credentials.value(secret(settings.headers_from, namespace), fresh=fresh)
        try:
            given = await self.logins.headers(login(settings, namespace), timeout=timeout / 2, fresh=fresh)
        except NetworkFailure as failure:
            raise DeliveryFailed(DeliveryFailure(str(failure))) from failure
        return with_login(parse_headers(text), given)

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        timeout: timedelta,
        headers: Sequence[tuple[str, str]] = (JSON,),
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
        proxy: ProxyUse | None = None,
    ) -> Answer:
        """The answer that accepts the message.

        Raises:
            DeliveryFailed: the message was not accepted, or its acceptance is unknown.
        """
        target = target_of(url)
        try:
            answer = await self.client.request(
                "POST",
                target,
                timeout=timeout,
                headers=headers,
                tls=verified(target, tls),
                server_name=server_name,
                body=body,
                proxy=proxy or ProxyUse.OUTSIDE,
            )
        except NetworkFailure as failure:
            raise DeliveryFailed(DeliveryFailure(str(failure), unsure=failure.reason in _UNSURE)) from failure
        except Refused as refusal:
            raise DeliveryFailed(DeliveryFailure(str(refusal), permanent=True)) from refusal
        judge(answer)
        return answer


def target_of(url: str) -> HttpTarget:
    """Target for an address from a Secret. Raises DeliveryFailed without quoting the address."""
    try:
        return HttpTarget.at(url.strip())
    except ValueError as error:
        words = "the Secret holds no http or https address, or one with user, password or fragment in it"
        raise DeliveryFailed(DeliveryFailure(words, permanent=True)) from error


def judge(answer: Answer) -> None:
    """Raises DeliveryFailed when the status of the answer means that the message was not accepted."""
    status = answer.status
    if 200 <= status < 300:
        return
    if status in _TRANSIENT or status >= 500:
        words = f"it answered {status}"
        # A proxy may answer 5xx after it forwarded the message to the server.
        raise DeliveryFailed(DeliveryFailure(words, retry_after=_seconds(answer.retry_after), unsure=status >= 500))
    if 300 <= status < 400:
        words = (
            f"it answered {status}, a redirect, which is not followed: put the address that it leads to in the Secret"
        )
        raise DeliveryFailed(DeliveryFailure(words, permanent=True))
    hint = _HINTS.get(status, "it does not accept the message")
    raise DeliveryFailed(
        DeliveryFailure(f"it answered {status}: {hint}", permanent=True, of_message=status in _OF_MESSAGE)
    )


def _seconds(header: str) -> timedelta | None:
    """Delay in a Retry-After header of either form, or None: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after."""
    if not header:
        return None
    if header.isdecimal():
        # Python refuses to parse numbers of thousands of digits.
        return timedelta(seconds=int(header)) if len(header) < 6 else _LONGEST
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return min(max(at - datetime.now(UTC), timedelta()), _LONGEST) if at.tzinfo is not None else None
