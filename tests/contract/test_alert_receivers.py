"""Receivers against servers that check what they get, and servers that misbehave."""

import hashlib
import hmac
import json
import ssl
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resilience.adapters.receivers import slack
from resilience.api.reasons import AlertName, Severity
from resilience.core.alerting.message import Kind
from tests.support.factories import NOW
from tests.support.faulty import Faulty, faulty_server
from tests.support.messages import TOKEN, Post, from_secret, make_alert, make_message
from tests.support.postgres_checks import Authority

APPRISE: dict[str, Any] = {"apprise": {"urlFrom": from_secret("url")}, "timeout": "30s"}
HOOK = {"webhook": {"urlFrom": from_secret("url")}}
PAGER = {"pagerduty": {"routingKeyFrom": from_secret("token")}}
BOT = {"slack": {"tokenFrom": from_secret("token"), "channel": "C0123456789"}}
TEAMS = {"msteams": {"urlFrom": from_secret("url")}}
HOSTILE = "</script> <!channel> [click](http://evil) *bold* password=hunter2 & " + "x" * 5000


def last(server: Faulty) -> Any:
    return json.loads(server.requests[-1].body)


async def test_a_webhook_gets_alertmanagers_body_signed() -> None:
    async with faulty_server() as server:
        post = Post()
        post.put(url=f"{server.url}/hook?key={TOKEN}", hmac="signing-key")
        told = make_alert(subject="ready")
        message = make_message(told, ended=(make_alert(AlertName.USAGE_HIGH, severity=Severity.WARNING),), suppressed=3)
        await post.send(message, webhook={**HOOK["webhook"], "hmacFrom": from_secret("hmac")})
        request, body = server.requests[0], last(server)
        assert body["version"] == "4"
        assert body["status"] == "firing"
        assert body["receiver"] == "team"
        assert body["groupLabels"] == {"namespace": "shop", "service": "checkout"}
        firing, over = body["alerts"]
        assert firing["status"] == "firing"
        assert firing["labels"] == {
            "alertname": "ServiceUnhealthy",
            "namespace": "shop",
            "service": "checkout",
            "severity": "critical",
            "check": "ready",
        }
        assert firing["annotations"]["runbook_url"] == "https://runbooks.example/pages/ServiceUnhealthy.md"
        assert firing["annotations"]["dashboard_url"] == "https://grafana.example/d/x?ns=shop&svc=checkout"
        assert "kubectl describe -n shop rsvc checkout" in firing["annotations"]["action"]
        assert (over["status"], over["labels"]["alertname"]) == ("resolved", "UsageHigh")
        stamp = request.header("x-resilience-timestamp")
        signed = hmac.new(b"signing-key", f"{stamp}.".encode() + request.body, hashlib.sha256).hexdigest()
        assert request.header("x-resilience-signature") == f"sha256={signed}"
        assert request.header("x-resilience-delivery") == message.delivery
        await post.send(make_message(ended=(told,)), **HOOK)
        assert last(server)["status"] == "resolved"


async def test_pagerduty_gets_one_incident_and_its_end() -> None:
    async with faulty_server() as server:
        server.answers["/v2/enqueue"] = b'{"status":"success"}'
        post = Post(pagerduty=f"{server.url}/v2/enqueue")
        alert = make_alert(message=HOSTILE)
        await post.send(make_message(alert), **PAGER)
        event = last(server)
        assert event["event_action"] == "trigger"
        assert event["routing_key"] == TOKEN
        assert len(event["dedup_key"]) <= 255
        payload = event["payload"]
        assert len(payload["summary"]) <= 1024
        assert payload["severity"] in ("critical", "error", "warning", "info")
        assert payload["source"] == "shop/checkout"
        assert {each["text"] for each in event["links"]} == {"Runbook", "Dashboard"}
        assert "hunter2" not in server.requests[-1].body.decode()
        await post.send(make_message(*(make_alert(subject=f"c{number}") for number in range(500))), **PAGER)
        assert len(server.requests[-1].body) < 512 * 1024
        await post.send(make_message(ended=(alert,)), **PAGER)
        assert last(server) == {
            "routing_key": TOKEN,
            "dedup_key": event["dedup_key"],
            "event_action": "resolve",
        }


async def test_slack_keeps_one_message_up_to_date() -> None:
    async with faulty_server() as server:
        answer = json.dumps({"ok": True, "channel": "C0123456789", "ts": "1700000000.000100"}).encode()
        server.answers.update({"/chat.postMessage": answer, "/chat.update": answer})
        post = Post(slack=server.url)
        handle = await post.send(make_message(make_alert(message=HOSTILE)), **BOT)
        assert handle == "C0123456789 1700000000.000100 C0123456789"
        body = last(server)
        assert body["channel"] == "C0123456789"
        assert server.requests[0].header("authorization") == f"Bearer {TOKEN}"
        check_blocks(body["blocks"])
        assert "<!channel>" not in server.requests[0].body.decode(), "nothing that was seen may call people"
        assert "hunter2" not in server.requests[0].body.decode()
        await post.send(make_message(ended=(make_alert(),), handle=handle), **BOT)
        assert server.requests[-1].path == "/chat.update"
        assert last(server)["ts"] == "1700000000.000100"
        many = [make_alert(subject=f"check-{number}", message=HOSTILE) for number in range(200)]
        await post.send(make_message(*many), **BOT)
        check_blocks(last(server)["blocks"])


def check_blocks(blocks: list[dict[str, Any]]) -> None:
    """Slack's documented limits."""
    assert 1 <= len(blocks) <= 50
    for block in blocks:
        match block["type"]:
            case "header":
                assert len(block["text"]["text"]) <= 150
            case "section":
                assert 1 <= len(block["text"]["text"]) <= 3000
            case "context":
                assert 1 <= len(block["elements"]) <= 10
            case other:
                raise AssertionError(other)


@pytest.mark.parametrize("error", ["message_not_found", "is_archived", "channel_not_found", "not_in_channel"])
async def test_slack_posts_anew_when_its_message_or_channel_is_gone(error: str) -> None:
    async with faulty_server() as server:
        server.answers["/chat.update"] = json.dumps({"ok": False, "error": error}).encode()
        server.answers["/chat.postMessage"] = b'{"ok": true, "channel": "C1", "ts": "2"}'
        handle = await Post(slack=server.url).send(make_message(make_alert(), handle="C1 1 C0123456789"), **BOT)
        assert handle == "C1 2 C0123456789"
        assert [each.path for each in server.requests] == ["/chat.update", "/chat.postMessage"]


async def test_slack_posts_anew_when_another_channel_was_chosen() -> None:
    async with faulty_server() as server:
        server.answers["/chat.postMessage"] = b'{"ok": true, "channel": "C1", "ts": "2"}'
        await Post(slack=server.url).send(make_message(make_alert(), handle="C9 1 #before"), **BOT)
        assert [each.path for each in server.requests] == ["/chat.postMessage"]


@pytest.mark.parametrize(
    ("error", "permanent", "words"),
    [
        ("invalid_auth", True, "check the Secret"),
        ("channel_not_found", True, "slack.channel"),
        ("not_in_channel", True, "invite it"),
        ("internal_error", False, "internal_error"),
        ("<script>", False, "Slack refuses it"),
    ],
)
async def test_slack_says_no_with_status_200(error: str, permanent: bool, words: str) -> None:
    async with faulty_server() as server:
        server.answers["/chat.postMessage"] = json.dumps({"ok": False, "error": error}).encode()
        trouble = await Post(slack=server.url).fails(make_message(make_alert()), **BOT)
        assert trouble.permanent is permanent
        assert words in trouble.message


async def test_a_slack_webhook_gets_text_and_blocks() -> None:
    async with faulty_server() as server:
        post = Post()
        post.put(url=f"{server.url}/services/T0/B0/{TOKEN}")
        handle = await post.send(make_message(make_alert()), slack={"urlFrom": from_secret("url")})
        assert handle == "", "what a webhook wrote cannot be changed"
        assert last(server)["text"].startswith("🔴")


async def test_teams_gets_a_card_within_its_limit() -> None:
    async with faulty_server() as server:
        post = Post()
        post.put(url=f"{server.url}/workflows/{TOKEN}")
        many = [make_alert(subject=f"check-{number}", message="[x](http://evil) " + "ä" * 4000) for number in range(50)]
        await post.send(make_message(*many), **TEAMS)
        assert len(server.requests[-1].body) <= 28 * 1024
        body = last(server)
        (attachment,) = body["attachments"]
        assert body["type"] == "message"
        assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        card = attachment["content"]
        assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
        assert {each["type"] for each in card["body"]} == {"TextBlock"}
        assert "](http" not in server.requests[-1].body.decode()
        assert [each["type"] for each in card["actions"]] == ["Action.OpenUrl", "Action.OpenUrl"]


async def test_apprise_tells_a_server_of_its_own_kind() -> None:
    async with faulty_server() as server:
        post = Post()
        post.put(url=f"json://127.0.0.1:{server.port}/notify")
        await post.send(make_message(make_alert()), **APPRISE)
        body = last(server)
        assert body["type"] == "failure"
        assert "shop/checkout" in body["title"]
        server.requests.clear()
        post.put(url=f"json://127.0.0.1:{server.port}/redirect")
        await post.fails(make_message(make_alert()), **APPRISE)
        assert len(server.requests) == 1, "a redirect is not followed"


@pytest.mark.parametrize(
    "url",
    [
        "json://169.254.169.254/x",
        # A name that is looked up by the library itself.
        "json://localhost:1/x",
        # The server that is spoken to is another one than the address seems to name.
        "mailto://user:pass@example.com?smtp=127.0.0.1&to=a@example.com",
        "syslog://",
        "nonsense",
        "file:///etc/passwd",
    ],
)
async def test_apprise_speaks_to_nobody_that_it_must_not(url: str) -> None:
    post = Post(allowed=())
    post.put(url=url)
    trouble = await post.fails(make_message(make_alert()), **APPRISE)
    assert trouble.permanent


@pytest.mark.parametrize(
    ("path", "permanent", "words"),
    [
        ("/status/500", False, "it answered 500"),
        ("/status/503", False, "it answered 503"),
        ("/status/404", True, "no receiver at this address"),
        ("/status/401", True, "check the Secret"),
        ("/status/403", True, "check the Secret"),
        ("/status/400", True, "does not accept the message"),
        ("/redirect", True, "not followed"),
        ("/reset", False, "reset"),
        ("/close", False, "closed without an answer"),
        ("/garbage", False, "not HTTP"),
        ("/hang", False, "no answer within 1s"),
        ("/slow-headers", False, ""),
    ],
)
async def test_what_misbehaves_is_tried_again_or_needs_a_person(path: str, permanent: bool, words: str) -> None:
    async with faulty_server() as server:
        post = Post()
        post.put(url=f"{server.url}{path}?{TOKEN}")
        began = time.monotonic()
        trouble = await post.fails(make_message(make_alert()), **HOOK)
        assert trouble.permanent is permanent
        assert words in trouble.message
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("path", "unsure"),
    [
        ("/status/502", True),
        ("/close", True),
        ("/hang", True),
        ("/busy/7", False),
        ("/status/429", False),
        ("/status/404", False),
    ],
)
async def test_what_may_have_arrived_nevertheless_is_told_apart(path: str, unsure: bool) -> None:
    async with faulty_server() as server:
        post = Post()
        post.put(url=f"{server.url}{path}")
        assert (await post.fails(make_message(make_alert()), **HOOK)).unsure is unsure


async def test_retry_after_is_obeyed() -> None:
    async with faulty_server() as server:
        post = Post()
        post.put(url=f"{server.url}/busy/{'9' * 5000}")
        assert (await post.fails(make_message(make_alert()), **HOOK)).retry_after == timedelta(days=1)
        post.put(url=f"{server.url}/busy/7")
        trouble = await post.fails(make_message(make_alert()), **HOOK)
        assert trouble.retry_after == timedelta(seconds=7)
        assert not trouble.permanent


async def test_a_big_answer_is_not_read_to_its_end() -> None:
    async with faulty_server() as server:
        post = Post()
        post.put(url=f"{server.url}/big")
        await post.send(make_message(make_alert()), **HOOK)
        assert server.written < 4 * 1024 * 1024


async def test_certificates_are_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for name, days, taken in (("good", 10, True), ("expired", -1, False)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue(name, days=days, host="DNS:hooks.example"))
        async with faulty_server(tls=context) as server:
            post = Post()
            post.put(url=f"https://127.0.0.1:{server.port}/", ca=authority.pem)
            tls = {"caFrom": from_secret("ca"), "serverName": "hooks.example"}
            spec = {"webhook": {**HOOK["webhook"], "tls": tls}}
            if taken:
                await post.send(make_message(make_alert()), **spec)
                assert "not trusted" in (await post.fails(make_message(make_alert()), **HOOK)).message
            else:
                assert "expired" in (await post.fails(make_message(make_alert()), **spec)).message


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://127.0.0.1:1/", "http://[::1]:1/"])
async def test_addresses_that_must_not_be_spoken_to(url: str) -> None:
    post = Post(allowed=())
    post.put(url=url)
    trouble = await post.fails(make_message(make_alert()), **HOOK)
    assert trouble.permanent
    assert "does not speak to" in trouble.message


@pytest.mark.parametrize("url", ["", "not a url", "ftp://x/", "http://user:pass@host/", "https://host:99999/"])
async def test_what_is_no_address_is_said_without_quoting_it(url: str) -> None:
    post = Post()
    post.put(url=url)
    trouble = await post.fails(make_message(make_alert()), **HOOK)
    assert trouble.permanent
    assert not url or url not in trouble.message


async def test_a_secret_that_was_changed_is_read_again_at_once() -> None:
    async with faulty_server() as server:
        post = Post()
        post.put(url=f"{server.url}/status/404")
        post.secrets.later = lambda: post.put(url=f"{server.url}/hook")
        await post.send(make_message(make_alert()), **HOOK)
        assert [each.path for each in server.requests] == ["/status/404", "/hook"]


async def test_a_secret_that_may_not_be_read_needs_a_person() -> None:
    post = Post()
    post.secrets.refuses = True
    trouble = await post.fails(make_message(make_alert()), **HOOK)
    assert trouble.permanent
    assert "labelled readable" in trouble.message


async def test_clusters_that_tell_one_receiver_are_told_apart() -> None:
    bodies = []
    for cluster in ("prod-eu", "prod-us"):
        async with faulty_server() as server:
            post = Post(pagerduty=f"{server.url}/v2", cluster=cluster)
            post.put(key="0123456789abcdef0123456789abcdef", url=server.url)
            await post.send(make_message(make_alert()), pagerduty={"routingKeyFrom": from_secret("key")})
            assert f"[{cluster}]" in last(server)["payload"]["summary"]
            bodies.append(last(server)["dedup_key"])
            await post.send(make_message(make_alert()), **HOOK)
            assert last(server)["alerts"][0]["labels"]["cluster"] == cluster
    assert len(set(bodies)) == 2


def test_a_message_told_twice_has_one_name() -> None:
    first, again = make_message(make_alert()), make_message(make_alert())
    assert first.delivery == again.delivery
    assert first.delivery != make_message(make_alert(), sequence=1, kind=Kind.UPDATED).delivery


def test_slack_text_is_escaped() -> None:
    assert slack.escape("<!channel> & co") == "&lt;!channel&gt; &amp; co"
    assert NOW.tzinfo is not None
