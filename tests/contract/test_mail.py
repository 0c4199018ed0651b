"""Mail by a real SMTP server: STARTTLS, a login, threads, and what it says no to."""

import asyncio
import email
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from resilience.core.alerting.message import Kind
from tests.support.messages import TOKEN, Post, from_secret, make_alert, make_message
from tests.support.ports import server_port
from tests.support.postgres_checks import Authority


class Mailbox:
    """What arrived; recipients at refused.example are not taken."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.encrypted: list[bool] = []
        self.logins: list[bytes | None] = []
        self.greetings: list[str] = []
        self.refusal = "550 nobody of that name"

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.greetings.append(hostname)
        return responses

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        # As Postfix does with reject_non_fqdn_helo_hostname, which answers the recipient.
        if "." not in (session.host_name or ""):
            return f"504 5.5.2 <{session.host_name}>: Helo command rejected: need fully-qualified hostname"
        if address.endswith("@refused.example"):
            return self.refusal
        if address.endswith("@busy.example"):
            return "451 later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = cast(bytes, envelope.content)
        self.mails.append(email.message_from_bytes(content, policy=default))
        self.encrypted.append(session.ssl is not None)
        self.logins.append(getattr(session.auth_data, "login", None))
        return "250 OK"


def _login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    given = cast(LoginPassword, data)
    # Not handled: the server says no by itself.
    return AuthResult(success=given.password == TOKEN.encode(), handled=False, auth_data=given)


@contextmanager
def mail_server(tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[tuple[Mailbox, int]]:
    mailbox, port = Mailbox(), server_port()
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=port, tls_context=tls, authenticator=_login, ready_timeout=20, **options
    )
    controller.start()
    try:
        yield mailbox, port
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def served(authority: Authority, name: str = "mail", *, days: int = 10) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(name, days=days, host="DNS:smtp.example"))
    return context


def spec(port: int, **fields: Any) -> dict[str, Any]:
    tls = {"caFrom": from_secret("ca"), "serverName": "smtp.example"}
    whole = {
        "host": "127.0.0.1",
        "port": port,
        "from": "operator@shop.example",
        "to": ["team@shop.example"],
        "tls": tls,
    }
    return {"email": whole | fields, "timeout": "5s"}


def make_post(authority: Authority) -> Post:
    post = Post()
    post.put(ca=authority.pem, login=f"operator:{TOKEN}", wrong="operator:nonsense")
    return post


async def test_a_conversation_is_a_thread(authority: Authority) -> None:
    with mail_server(served(authority), auth_require_tls=True) as (mailbox, port):
        post, receiver = make_post(authority), spec(port, authFrom=from_secret("login"))
        alert = make_alert(message="password=hunter2\r\nBcc: everybody@example.com")
        await post.send(make_message(alert), **receiver)
        await post.send(make_message(ended=(alert,)), **receiver)
    first, second = mailbox.mails
    assert mailbox.encrypted == [True, True]
    assert mailbox.logins == [b"operator", b"operator"]
    assert first["To"] == "team@shop.example"
    assert first["Bcc"] is None
    assert first["Auto-Submitted"] == "auto-generated"
    assert "shop/checkout" in first["Subject"]
    threads = {mail[name].strip() for mail in (first, second) for name in ("In-Reply-To", "References")}
    assert len(threads) == 1
    assert first["Message-ID"] != second["Message-ID"]
    body = first.get_content()
    assert "hunter2" not in body
    assert "To do: kubectl describe -n shop rsvc checkout" in body
    assert "Over: shop/checkout" in second["Subject"]


async def test_a_mail_told_twice_has_one_id(authority: Authority) -> None:
    with mail_server(served(authority)) as (mailbox, port):
        for _ in range(2):
            await make_post(authority).send(make_message(make_alert()), **spec(port))
    assert len({each["Message-ID"] for each in mailbox.mails}) == 1


async def test_tls_from_the_start(authority: Authority) -> None:
    mailbox, port = Mailbox(), server_port()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(mailbox, loop=asyncio.get_running_loop()), "127.0.0.1", port, ssl=served(authority)
    )
    async with server:
        await make_post(authority).send(make_message(make_alert()), **spec(port, startTls="Implicit"))
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "shop.example"),
        ({"from": "operator@bücher.example"}, "xn--bcher-kva.example"),
        ({"hello": "mail.shop.example"}, "mail.shop.example"),
        ({"hello": "[192.0.2.1]"}, "[192.0.2.1]"),
    ],
)
async def test_the_server_is_greeted_with_a_full_name(authority: Authority, fields: dict[str, Any], said: str) -> None:
    with mail_server(served(authority), enable_SMTPUTF8=True) as (mailbox, port):
        await make_post(authority).send(make_message(make_alert()), **spec(port, **fields))
    assert set(mailbox.greetings) == {said}
    assert len(mailbox.mails) == 1


async def test_a_server_that_wants_another_name_is_quoted(authority: Authority) -> None:
    with mail_server(served(authority)) as (_, port):
        trouble = await make_post(authority).fails(make_message(make_alert()), **spec(port, hello="pod"))
    assert trouble.permanent
    assert trouble.message.endswith("(504); it says: 5.5.2 <pod>: Helo command rejected: need fully-qualified hostname")


async def test_a_greeting_that_is_refused_at_once_is_quoted(authority: Authority) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554-5.7.1 You are not\twelcome\x1b[31m: password=hunter2\r\n554 more\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        trouble = await make_post(authority).fails(make_message(make_alert()), **spec(port))
    assert trouble.message == "the mail server answered 554; it says: 5.7.1 You are not welcome [31m: password=***"


@pytest.mark.parametrize("echo", [TOKEN, b64encode(f"\0operator\0{TOKEN}".encode()).decode()])
async def test_a_server_that_repeats_the_login_is_not_quoted(authority: Authority, echo: str) -> None:
    with mail_server(served(authority)) as (mailbox, port):
        mailbox.refusal = f"550 {echo}"
        receiver = spec(port, authFrom=from_secret("login"), to=["nobody@refused.example"])
        trouble = await make_post(authority).fails(make_message(make_alert()), **receiver)
    assert trouble.message == "the mail server accepts no mail for 1 of the recipients (550)"


@pytest.mark.parametrize(
    ("fields", "permanent", "words"),
    [
        ({"authFrom": from_secret("wrong")}, True, "check the Secret; it says: 5.7.8"),
        ({"to": ["nobody@refused.example"]}, True, "accepts no mail for 1 of the recipients (550); it says: nobody of"),
        ({"to": ["somebody@busy.example"]}, False, "accepts no mail for 1 of the recipients (451); it says: later"),
    ],
)
async def test_what_the_server_refuses(
    authority: Authority, fields: dict[str, Any], permanent: bool, words: str
) -> None:
    with mail_server(served(authority)) as (_, port):
        trouble = await make_post(authority).fails(make_message(make_alert()), **spec(port, **fields))
    assert words in trouble.message
    assert trouble.permanent is permanent


async def test_recipients_that_are_not_taken_are_named(authority: Authority) -> None:
    with mail_server(served(authority)) as (mailbox, port):
        to = ["team@shop.example", "nobody@refused.example"]
        receipt = await make_post(authority).receipt(make_message(make_alert()), **spec(port, to=to))
    assert len(mailbox.mails) == 1
    assert "1 of 2 recipients: nobody@refused.example; it says: nobody of that name" in receipt.note


async def test_a_server_that_knows_no_login(authority: Authority) -> None:
    with mail_server(served(authority), auth_exclude_mechanism=["LOGIN", "PLAIN"]) as (mailbox, port):
        receiver = spec(port, authFrom=from_secret("login"))
        trouble = await make_post(authority).fails(make_message(make_alert()), **receiver)
    assert trouble.permanent
    assert "does not offer AUTH" in trouble.message
    assert mailbox.mails == []


async def test_the_next_address_is_tried_when_one_is_dead(authority: Authority) -> None:
    with mail_server(served(authority)) as (mailbox, port):
        post = make_post(authority)
        # Nobody listens at the first one.
        post.names["smtp.example"] = ["127.0.0.9", "127.0.0.1"]
        await post.send(make_message(make_alert()), **spec(port, host="smtp.example"))
    assert len(mailbox.mails) == 1


async def test_nothing_is_sent_in_the_clear_unless_asked_for(authority: Authority) -> None:
    with mail_server() as (mailbox, port):
        trouble = await make_post(authority).fails(make_message(make_alert()), **spec(port))
        assert "STARTTLS" in trouble.message
        assert mailbox.mails == []
        await make_post(authority).send(make_message(make_alert()), **spec(port, startTls="Never"))
        assert mailbox.encrypted == [False]


async def test_certificates_are_verified(authority: Authority) -> None:
    with mail_server(served(authority, "old", days=-1)) as (mailbox, port):
        trouble = await make_post(authority).fails(make_message(make_alert()), **spec(port))
    assert "expired" in trouble.message
    assert mailbox.mails == []


async def test_a_server_that_hangs_or_is_gone(authority: Authority) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked.wait()
        writer.close()

    asked = asyncio.Event()
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        trouble = await make_post(authority).fails(make_message(make_alert()), **{**spec(port), "timeout": "1s"})
        asked.set()
    assert "no answer within 1s" in trouble.message
    gone = await make_post(authority).fails(make_message(make_alert()), **spec(port))
    assert "refused" in gone.message
    assert not gone.permanent


async def test_a_subject_is_one_line(authority: Authority) -> None:
    with mail_server(served(authority)) as (mailbox, port):
        message = make_message(make_alert(), title="a\r\nBcc: x@y.example\r\n", kind=Kind.UPDATED)
        await make_post(authority).send(message, **spec(port))
    assert mailbox.mails[0]["Bcc"] is None
