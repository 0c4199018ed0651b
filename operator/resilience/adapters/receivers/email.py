"""Mail by SMTP. A message sent twice has the same Message-ID; all mails of a conversation refer to one thread id."""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

import aiosmtplib

from resilience.adapters.net.address import Address, AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure, from_os_error
from resilience.adapters.receivers import wording
from resilience.adapters.receivers.wording import Origin
from resilience.adapters.telemetry.redaction import redact_text
from resilience.api.receivers import EmailReceiver, StartTls
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.health.dependencies import secret, trust
from resilience.core.model.observation import Key
from resilience.core.model.probes import TlsTrust
from resilience.ports import DeliveryFailed, Receipt, Refused

_DOMAIN: Final = "resilience-operator.invalid"
# Characters of the server's own words that are shown.
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Email:
    """Opens one connection for each message."""

    guard: AddressGuard
    credentials: Credentials
    origin: Origin
    now: Callable[[], datetime]

    async def deliver(
        self, spec: EmailReceiver, key: Key, message: Message, *, timeout: timedelta, fresh: bool
    ) -> Receipt:
        """Raises DeliveryFailed."""
        login = (await self.credentials.value(secret(spec.auth_from, key.namespace), fresh=fresh)).strip()
        tls = await self.credentials.tls(trust(spec.tls, key.namespace) or TlsTrust(), fresh=fresh)
        mail = letter(message, self.origin, spec, at=self.now())
        try:
            addresses = await self.guard.addresses(spec.host, spec.port, timeout=timeout / 2)
            connection = await _connected(addresses, timeout)
            refused = await _send(spec, connection, mail, login=login, tls=tls)
        except NetworkFailure as failure:
            raise DeliveryFailed(DeliveryFailure(str(failure))) from failure
        except Refused as refusal:
            raise DeliveryFailed(DeliveryFailure(str(refusal), permanent=True)) from refusal
        except (aiosmtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(_trouble(error, login=login)) from error
        return Receipt(note=_partly(refused, len(spec.to), login=login))


def letter(message: Message, origin: Origin, spec: EmailReceiver, *, at: datetime) -> EmailMessage:
    """The mail as plain text, to be readable on a telephone at night."""
    mail = EmailMessage()
    mail["Subject"] = _one_line(wording.headline(message, origin))
    mail["From"] = spec.from_
    mail["To"] = ", ".join(spec.to)
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{message.delivery}@{_DOMAIN}>"
    # The thread has an id that no mail has: the first mail may be sent again with another text.
    mail["In-Reply-To"] = mail["References"] = f"<{message.thread}@{_DOMAIN}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Resilience-Severity"] = str(message.severity)
    mail.set_content(f"{wording.headline(message, origin)}\n\n{wording.plain(message, origin)}\n")
    return mail


def hello(spec: EmailReceiver) -> str:
    """The name to say in EHLO: the domain of the sender, unless another one is set. Many servers want a full one."""
    domain = spec.hello or spec.from_.rpartition("@")[2]
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return _DOMAIN


async def _send(
    spec: EmailReceiver, connection: socket.socket, mail: EmailMessage, *, login: str, tls: ssl.SSLContext | None
) -> Mapping[str, aiosmtplib.SMTPResponse]:
    """Sends the mail. Returns the recipients that the server refused, if it accepted others."""
    name = (spec.tls.server_name if spec.tls is not None else None) or spec.host
    implicit = spec.start_tls is StartTls.IMPLICIT
    client = aiosmtplib.SMTP(
        hostname=name, sock=connection, local_hostname=hello(spec), use_tls=implicit, start_tls=False, tls_context=tls
    )
    try:
        await client.connect()
        if spec.start_tls is StartTls.REQUIRED:
            await client.ehlo()
            if not client.supports_extension("starttls"):
                raise aiosmtplib.SMTPNotSupported("STARTTLS")
            await client.starttls(server_hostname=name, tls_context=tls)
        if login:
            await client.ehlo()
            if not client.supported_auth_methods:
                raise aiosmtplib.SMTPNotSupported("AUTH")
            user, _, password = login.partition(":")
            await client.login(user, password)
        refused, _ = await client.send_message(mail, sender=spec.from_, recipients=list(spec.to))
        return refused
    finally:
        # Closes the connection, too: the client has owned it since connect().
        client.close()


async def _connected(addresses: Sequence[Address], timeout: timedelta) -> socket.socket:
    """Connection to the first checked address that answers; the name is not resolved again.

    Raises OSError: the error of the last address.
    """
    seconds_per_address = timeout.total_seconds() / 2 / len(addresses)
    for number, address in enumerate(addresses, start=1):
        connection = socket.socket(address.family, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(seconds_per_address):
                await asyncio.get_running_loop().sock_connect(connection, (address.ip, address.port))
        except OSError:
            connection.close()
            if number == len(addresses):
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise OSError("no address")


def _partly(refused: Mapping[str, aiosmtplib.SMTPResponse], total: int, *, login: str) -> str:
    """Note that names the refused recipients; empty when there are none."""
    if not refused:
        return ""
    names, first = ", ".join(sorted(refused))[:500], _words(refused[min(refused)].message, login)
    return f"the mail server accepts no mail for {len(refused)} of {total} recipients: {names}{first}"


def _trouble(error: Exception, *, login: str) -> DeliveryFailure:
    """Delivery failure for a mail error; 5xx is permanent: https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    match error:
        case aiosmtplib.SMTPAuthenticationError(code=code, message=text):
            words = "the mail server does not accept the credentials: check the Secret"
            return DeliveryFailure(f"{words}{_words(text, login)}", permanent=code >= 500)
        case aiosmtplib.SMTPNotSupported():
            words = f"the mail server does not offer {error.args[0]}: check email.startTls, email.authFrom and the port"
            return DeliveryFailure(words, permanent=True)
        case aiosmtplib.SMTPRecipientsRefused(recipients=refused):
            first = min(refused, key=lambda recipient: recipient.code)
            words = f"the mail server accepts no mail for {len(refused)} of the recipients ({first.code})"
            is_permanent = all(recipient.code >= 500 for recipient in refused)
            return DeliveryFailure(f"{words}{_words(first.message, login)}", permanent=is_permanent)
        case aiosmtplib.SMTPResponseException(code=code, message=text):
            return DeliveryFailure(f"the mail server answered {code}{_words(text, login)}", permanent=code >= 500)
        case _ if isinstance(cause, OSError):
            return DeliveryFailure(str(from_os_error(cause)))
        case _:
            return DeliveryFailure("the connection to the mail server broke")


def _words(text: str, login: str) -> str:
    """The first line of the server's answer, to be appended; empty if there is none, or if it repeats the login."""
    line = next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "")
    user, _, password = login.partition(":")
    encoded = (b64encode(part.encode()).decode() for part in (user, password, f"\0{user}\0{password}") if part)
    if not line or (password and password in line) or any(part in line for part in encoded):
        return ""
    shown = redact_text("".join(letter if letter.isprintable() else " " for letter in line))
    return f"; it says: {shown[:_SHOWN]}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
