"""Logins of webhooks, Alertmanager and checks: basic authentication, and tokens of an OAuth2 server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import BasicAuth, web
from aiohttp.test_utils import TestServer

from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.checks.prometheus.client import PrometheusClient
from resilience.adapters.net import login
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.login import Logins
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import HttpLogin, HttpProbe, HttpTarget, OAuth2, SecretRef
from resilience.ports import Invalid, Unavailable
from tests.support.messages import Post, from_secret, make_alert, make_message
from tests.support.secrets import FakeSecrets
from tests.support.telling import make_receiver

SECRET = "p%ss w/rd"
REF = SecretRef("shop", "alerts", "client")
TIMEOUT = timedelta(seconds=5)


@dataclass
class TokenServer:
    """Gives tokens to the client `operator`; `in_body`: it reads no Authorization, as some servers do."""

    url: str = ""
    in_body: bool = False
    answer: dict[str, Any] = field(default_factory=lambda: {"token_type": "Bearer", "expires_in": 3600})
    status: int = 200
    delay: float = 0.0
    secret: str = SECRET
    forms: list[dict[str, str]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    # Bearer tokens and logins that the application saw.
    seen: list[str] = field(default_factory=list)
    tenants: list[str] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        await asyncio.sleep(self.delay)
        if self.status != 200:
            return web.json_response({"error": "server_error", "error_description": SECRET}, status=self.status)
        who = (form.get("client_id", ""), form.get("client_secret", ""))
        if not self.in_body and "Authorization" in request.headers:
            basic = BasicAuth.decode(request.headers["Authorization"])
            assert basic.password == "p%25ss+w%2Frd" or basic.password == "wrong", "RFC 6749, 2.3.1"
            who = (basic.login, SECRET if basic.password != "wrong" else "wrong")
        if who != ("operator", self.secret):
            return web.json_response({"error": "invalid_client", "error_description": SECRET}, status=401)
        token = f"token-{len(self.given)}"
        self.given.append(token)
        self.valid.add(f"Bearer {token}")
        return web.json_response({"access_token": token, **self.answer})

    async def application(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "")
        self.seen.append(shown)
        self.tenants.append(request.headers.get("X-Scope-OrgID", ""))
        return web.Response(status=200 if shown in self.valid else 401)


@asynccontextmanager
async def token_server() -> AsyncIterator[TokenServer]:
    fake = TokenServer()
    app = web.Application()
    app.router.add_post("/token", fake.token)
    app.router.add_route("*", "/app{rest:.*}", fake.application)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    fake.url = str(server.make_url("")).rstrip("/")
    try:
        yield fake
    finally:
        await server.close()


@dataclass
class Clock:
    now: float = 0.0


def make_logins(clock: Clock, secret: str = SECRET) -> tuple[Logins, FakeSecrets]:
    secrets = FakeSecrets({REF: secret})
    client = HttpClient(guard=AddressGuard(allowed=[ip_network("127.0.0.0/8")]), version="1")
    return Logins(client, Credentials(secrets, lambda: clock.now)), secrets


def grant(server: TokenServer) -> HttpLogin:
    return HttpLogin(oauth2=OAuth2(f"{server.url}/token", "operator", REF))


async def token(logins: Logins, who: HttpLogin, *, fresh: bool = False) -> str:
    ((_, value),) = await logins.headers(who, timeout=TIMEOUT, fresh=fresh)
    return value.removeprefix("Bearer ")


@pytest.mark.parametrize("in_body", [False, True])
async def test_a_token_is_asked_for_as_the_standard_says(in_body: bool) -> None:
    async with token_server() as server:
        server.in_body = in_body
        logins, _ = make_logins(Clock())
        client = OAuth2(f"{server.url}/token", "operator", REF, ("alerts", "write"), (("audience", "hooks"),))
        assert await token(logins, HttpLogin(oauth2=client)) == "token-0"
        expected = {"grant_type": "client_credentials", "scope": "alerts write", "audience": "hooks"}
        assert server.forms[0] == expected
        if in_body:
            assert server.forms[1] == expected | {"client_id": "operator", "client_secret": SECRET}


@pytest.mark.parametrize(
    ("expires_in", "kept", "renewed"), [(3600, 3569, 3571), ("3600", 3569, 3571), (60, 53, 55), (None, 599, 601)]
)
async def test_a_token_is_kept_until_shortly_before_it_expires(expires_in: Any, kept: float, renewed: float) -> None:
    async with token_server() as server:
        server.answer["expires_in"] = expires_in
        clock = Clock()
        logins, _ = make_logins(clock)
        assert await token(logins, grant(server)) == "token-0"
        clock.now = kept
        assert await token(logins, grant(server)) == "token-0"
        clock.now = renewed
        assert await token(logins, grant(server)) == "token-1"


async def test_many_that_ask_at_once_share_one_request() -> None:
    async with token_server() as server:
        server.delay = 0.2
        logins, _ = make_logins(Clock())
        assert set(await asyncio.gather(*(token(logins, grant(server)) for _ in range(50)))) == {"token-0"}
        assert len(server.forms) == 1


async def test_clients_with_other_scopes_have_tokens_of_their_own_of_which_a_bounded_number_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(login, "_MOST", 3)
    async with token_server() as server:
        logins, _ = make_logins(Clock())
        clients = [OAuth2(f"{server.url}/token", "operator", REF, (str(number),)) for number in range(4)]
        for client in (*clients, *reversed(clients[1:])):
            await token(logins, HttpLogin(oauth2=client))
        assert [form["scope"] for form in server.forms] == ["0", "1", "2", "3"]
        await token(logins, HttpLogin(oauth2=clients[0]))
        assert len(server.forms) == 5, "the oldest one gave way"


async def test_a_token_that_was_refused_is_replaced_but_not_all_the_time() -> None:
    async with token_server() as server:
        clock = Clock()
        logins, _ = make_logins(clock)
        assert await token(logins, grant(server)) == "token-0"
        assert await token(logins, grant(server), fresh=True) == "token-0"
        clock.now = 11
        assert await token(logins, grant(server), fresh=True) == "token-1"


async def test_a_secret_that_was_changed_gets_another_token() -> None:
    async with token_server() as server:
        clock = Clock()
        logins, secrets = make_logins(clock, "wrong")
        with pytest.raises(Invalid, match=r"server 127\.0\.0\.1 answered 401: invalid_client; check") as caught:
            await token(logins, grant(server))
        assert SECRET not in str(caught.value)
        asked = len(server.forms)
        with pytest.raises(Invalid):
            await token(logins, grant(server))
        assert len(server.forms) == asked, "a refusal is not asked for again at once"
        secrets.values[REF] = SECRET
        clock.now = 11
        assert await token(logins, grant(server), fresh=True) == "token-0"


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (503, {}, "it answered 503"),
        (429, {}, "it answered 429"),
        (200, {"access_token": ""}, "without a bearer token"),
        (200, {"access_token": "a\r\nX-Evil: b"}, "without a bearer token"),
        (200, {"access_token": ["x"]}, "without a bearer token"),
        (200, {"token_type": "mac"}, "without a bearer token"),
    ],
)
async def test_a_token_server_that_has_no_token(status: int, answer: dict[str, Any], words: str) -> None:
    async with token_server() as server:
        server.status, server.answer = status, {**server.answer, **answer}
        logins, _ = make_logins(Clock())
        with pytest.raises(NetworkFailure, match=words) as caught:
            await token(logins, grant(server))
        assert caught.value.own
        assert SECRET not in str(caught.value)


async def test_a_token_server_that_hangs_costs_no_more_than_the_time_out() -> None:
    async with token_server() as server:
        server.delay = 1
        logins, _ = make_logins(Clock())
        with pytest.raises(NetworkFailure, match="did not answer in time"):
            await logins.headers(grant(server), timeout=timedelta(seconds=0.2))


async def test_an_address_that_is_refused_is_refused_for_tokens_too() -> None:
    logins, _ = make_logins(Clock())
    forbidden = HttpLogin(oauth2=OAuth2("http://169.254.169.254/token", "operator", REF))
    with pytest.raises(Invalid, match="link-local"):
        await token(logins, forbidden)


async def test_prometheus_behind_a_gateway(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("client", "headers", "login")}
    files["client"].write_text(f"{SECRET}\n")
    files["headers"].write_text("X-Scope-OrgID: shop\n")
    files["login"].write_text(f"operator:{SECRET}\n")
    basic = HttpLogin(basic=SecretRef("", str(files["login"]), ""))
    async with token_server() as server:
        token_of = HttpLogin(oauth2=OAuth2(f"{server.url}/token", "operator", SecretRef("", str(files["client"]), "")))
        # RFC 7617: "operator:p%ss w/rd".
        server.valid.add("Basic b3BlcmF0b3I6cCVzcyB3L3Jk")
        for who in (token_of, basic):
            client = PrometheusClient(
                url=f"{server.url}/app", version="1", headers_file=str(files["headers"]), login=who
            )
            # The application is let in, and is no Prometheus.
            with pytest.raises(Unavailable, match="answered 200 is not Prometheus"):
                await client.query("up", namespace="shop", timeout=TIMEOUT)
        assert server.seen == ["Bearer token-0", "Basic b3BlcmF0b3I6cCVzcyB3L3Jk"]
        assert server.tenants == ["shop", "shop"]
        files["headers"].unlink()
        with pytest.raises(Unavailable, match="headers must hold one `Name: value` a line"):
            await client.query("up", namespace="shop", timeout=TIMEOUT)


def client_of(server: TokenServer) -> dict[str, Any]:
    return {"tokenUrl": f"{server.url}/token", "clientId": "operator", "clientSecretFrom": from_secret("client")}


async def test_a_webhook_behind_a_gateway() -> None:
    async with token_server() as server:
        post = Post()
        post.put(url=f"{server.url}/app", client=SECRET, headers="X-Tenant: shop\nAuthorization: another")
        hook = {"urlFrom": from_secret("url"), "headersFrom": from_secret("headers"), "oauth2": client_of(server)}
        notifiers = post.notifiers()
        for _ in range(2):
            await notifiers.deliver(make_receiver(webhook=hook, timeout="5s"), make_message(make_alert()))
        assert server.seen == ["Bearer token-0"] * 2
        assert len(server.forms) == 1


async def test_a_webhook_with_user_and_password() -> None:
    async with token_server() as server:
        # RFC 7617: "operator:p%ss w/rd".
        server.valid.add("Basic b3BlcmF0b3I6cCVzcyB3L3Jk")
        post = Post()
        post.put(url=f"{server.url}/app", login=f"operator:{SECRET}\n", nothing="operator")
        hook = {"urlFrom": from_secret("url"), "basicAuthFrom": from_secret("login")}
        await post.send(make_message(make_alert()), webhook=hook)
        trouble = await post.fails(
            make_message(make_alert()), webhook={**hook, "basicAuthFrom": from_secret("nothing")}
        )
        assert trouble.message == "key 'nothing' of Secret 'alerts' must hold `user:password`"
        assert trouble.permanent


async def test_alertmanager_behind_a_gateway() -> None:
    async with token_server() as server:
        post = Post()
        post.put(client=SECRET)
        spec = {"urls": [f"{server.url}/app"], "oauth2": client_of(server)}
        await post.send(make_message(make_alert()), alertmanager=spec, timeout="5s")
        assert server.seen == ["Bearer token-0"]


@pytest.mark.parametrize(("status", "permanent"), [(400, True), (503, False)])
async def test_without_a_token_nothing_is_sent(status: int, permanent: bool) -> None:
    async with token_server() as server:
        server.status = status
        post = Post()
        post.put(url=f"{server.url}/app", client=SECRET)
        hook = {"urlFrom": from_secret("url"), "oauth2": client_of(server)}
        trouble = await post.fails(make_message(make_alert()), webhook=hook, timeout="5s")
        assert trouble.permanent is permanent
        assert not trouble.unsure
        assert f"the token server 127.0.0.1{'' if permanent else ':'}" in trouble.message
        assert SECRET not in trouble.message
        assert server.seen == []


async def check(server: TokenServer, secret: str = SECRET) -> CheckResult:
    logins, secrets = make_logins(Clock(), secret)
    checker = NetworkChecker(
        client=logins.client, loop_lag=lambda since: 0.0, credentials=Credentials(secrets, lambda: 0.0)
    )
    probe = HttpProbe(HttpTarget.at(f"{server.url}/app"), login=grant(server))
    return await checker.check(probe, timeout=TIMEOUT)


async def test_a_check_logs_in() -> None:
    async with token_server() as server:
        assert (await check(server)).outcome is Outcome.PASS
        server.status = 503
        result = await check(server)
        assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, "TokenUnavailable")
        server.status = 200
        refused = await check(server, "wrong")
        assert (refused.outcome, refused.reason) == (Outcome.INCONCLUSIVE, "SecretNotReadable")
        assert "invalid_client" in refused.message
