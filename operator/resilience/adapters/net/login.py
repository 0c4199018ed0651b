"""Headers that say who asks: by user and password, or by a token of an OAuth2 server (RFC 6749, client credentials).

A token is kept until shortly before it expires, for all who ask with the same client. Nothing here is ever logged, and
no error quotes what a Secret holds or what a token server says, except the error's code.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import quote_plus, urlencode

from resilience.adapters.net.credentials import AGAIN, KEPT, Credentials, verified
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.http_wire import Answer
from resilience.adapters.net.json_body import parse_json
from resilience.adapters.net.single_flight import SingleFlight
from resilience.api.http import ProxyUse
from resilience.core.model.probes import HttpLogin, HttpTarget, OAuth2, SecretRef
from resilience.ports import Invalid, PortError, Refused

NO_LOGIN: Final = HttpLogin()
_MOST: Final = 1024
_FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")
_JSON: Final = ("Accept", "application/json")
_ERROR: Final = re.compile(r"[a-z_]{1,64}")
_TOKEN: Final = re.compile(r"[!-~]{1,16384}")
# For one token, whoever waits for it and for how long.
_FETCH: Final = timedelta(seconds=10)
_LONGEST: Final = timedelta(days=1)
# A token is renewed this long before it expires, or in the last tenth of a short life.
_EARLY: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class _Known:
    """A token, or the failure to get one; times are those of the monotonic clock."""

    token: str = field(repr=False)
    secret: str = field(repr=False)
    got_at: float
    until: float
    problem: str = ""
    is_refusal: bool = False


@dataclass(slots=True)
class Logins:
    """Reads logins and gets tokens, which it keeps: of 1024 clients at most."""

    client: HttpClient
    credentials: Credentials
    _known: dict[OAuth2, _Known] = field(default_factory=dict)
    _fetches: SingleFlight[OAuth2, _Known] = field(default_factory=SingleFlight)

    async def headers(
        self, login: HttpLogin, *, timeout: timedelta, fresh: bool = False
    ) -> tuple[tuple[str, str], ...]:
        """The header Authorization; none without a login. `fresh`: the one before was refused.

        Raises:
            Invalid: a Secret may not be read or holds no login, or the token server refuses the client.
            NetworkFailure: (`own`) there is no token within `timeout`.
            Unavailable: as ports.Secrets.read.
        """
        if login.oauth2 is not None:
            return (("Authorization", f"Bearer {await self._token(login.oauth2, timeout=timeout, fresh=fresh)}"),)
        if login.basic is None:
            return ()
        value = (await self.credentials.value(login.basic, fresh=fresh)).strip("\r\n")
        if ":" not in value:
            raise Invalid(f"{_place(login.basic)} must hold `user:password`")
        return (("Authorization", f"Basic {b64encode(value.encode()).decode()}"),)

    async def _token(self, grant: OAuth2, *, timeout: timedelta, fresh: bool) -> str:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                secret = (await self.credentials.value(grant.secret, fresh=fresh)).strip()
                known = self._known.get(grant)
                if known is None or not self._serves(known, secret, fresh=fresh):
                    known = await self._fetches.run(grant, lambda: self._fetch(grant, secret))
        except TimeoutError as error:
            raise _no_token(grant, "it did not answer in time") from error
        if known.is_refusal:
            raise Invalid(known.problem)
        if known.problem:
            raise NetworkFailure(known.problem, reason="TokenUnavailable", own=True)
        return known.token

    def _serves(self, known: _Known, secret: str, *, fresh: bool) -> bool:
        now = self.credentials.monotonic()
        is_old = fresh and now >= known.got_at + AGAIN.total_seconds()
        return known.secret == secret and now < known.until and not is_old

    async def _fetch(self, grant: OAuth2, secret: str) -> _Known:
        problem, is_refusal, token, lasts = "", False, "", AGAIN
        try:
            token, lasts = _read(grant, await self._ask(grant, secret))
        except NetworkFailure as failure:
            problem = str(_no_token(grant, str(failure)) if failure.reason != "TokenUnavailable" else failure)
        except PortError as error:
            problem, is_refusal = str(error), True
        now = self.credentials.monotonic()
        known = _Known(token, secret, now, now + lasts.total_seconds(), problem, is_refusal)
        self._known = {each: other for each, other in self._known.items() if now < other.until and each != grant}
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[grant] = known
        return known

    async def _ask(self, grant: OAuth2, secret: str) -> Answer:
        """The server's answer. The client is named in a header, as every server has to take it, then in the body."""
        form = [("grant_type", "client_credentials"), *grant.params]
        if grant.scopes:
            form.append(("scope", " ".join(grant.scopes)))
        basic = b64encode(f"{quote_plus(grant.client_id)}:{quote_plus(secret)}".encode()).decode()
        answer = await self._post(grant, form, [("Authorization", f"Basic {basic}")])
        if answer.status in (400, 401):
            answer = await self._post(grant, [*form, ("client_id", grant.client_id), ("client_secret", secret)], [])
        return answer

    async def _post(self, grant: OAuth2, form: Sequence[tuple[str, str]], headers: Sequence[tuple[str, str]]) -> Answer:
        target = HttpTarget.at(grant.token_url)
        tls = verified(target, await self.credentials.tls(grant.trust))
        try:
            return await self.client.request(
                "POST",
                target,
                timeout=_FETCH,
                headers=[_FORM, _JSON, *headers],
                tls=tls,
                server_name=grant.trust.server_name if grant.trust is not None else "",
                body=urlencode(form).encode(),
                proxy=ProxyUse.OUTSIDE,
            )
        except Refused as refusal:
            raise Invalid(f"{_server(grant)}: {refusal}") from refusal


def with_login(headers: Sequence[tuple[str, str]], login: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers with those of a login, which replace any of the same name."""
    names = {name.lower() for name, _ in login}
    return [header for header in headers if header[0].lower() not in names] + list(login)


def _read(grant: OAuth2, answer: Answer) -> tuple[str, timedelta]:
    """The token and how long it may be used.

    Raises:
        Invalid: the server refuses the client. NetworkFailure: it has no token now, or is no token server.
    """
    try:
        content = parse_json(answer.body)
    except ValueError:
        content = None
    values = content if isinstance(content, dict) else {}
    if answer.status == 429 or answer.status >= 500:
        raise _no_token(grant, f"it answered {answer.status}")
    if not 200 <= answer.status < 300:
        code = str(values.get("error", ""))
        what = f": {code}" if _ERROR.fullmatch(code) else ""
        raise Invalid(f"{_server(grant)} answered {answer.status}{what}; check oauth2 and its Secret")
    token, kind = values.get("access_token"), values.get("token_type", "Bearer")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or str(kind).lower() != "bearer":
        raise _no_token(grant, "it answered without a bearer token; check oauth2.tokenUrl")
    return token, _lasts(values.get("expires_in"))


def _lasts(expires_in: object) -> timedelta:
    """The time for which a token is used. Some servers write the seconds as text, and some leave them out."""
    try:
        life = timedelta(seconds=float(str(expires_in)))
    except (ValueError, OverflowError):
        return KEPT
    return min(max(life - min(_EARLY, life / 10), timedelta()), _LONGEST)


def _server(grant: OAuth2) -> str:
    return f"the token server {HttpTarget.at(grant.token_url).host}"


def _no_token(grant: OAuth2, why: str) -> NetworkFailure:
    return NetworkFailure(f"{_server(grant)}: {why}", reason="TokenUnavailable", own=True)


def _place(ref: SecretRef) -> str:
    """A file of the operator's own settings has no key."""
    return ref.place if ref.key else ref.name
