"""The http check: sends one GET and checks the status and, if the probe asks for it, the JSON body.

The status comes first: a good body cannot make up for a bad status. A second request is sent in one case only: when
the first was refused with a header or a certificate authority that the Secret no longer holds.
"""

import asyncio
import math
import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from resilience.adapters.checks.components import read_components, read_whole
from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.http_wire import BODY_LIMIT, Answer
from resilience.adapters.net.json_body import at_path, parse_json
from resilience.adapters.net.login import NO_LOGIN, Logins, with_login
from resilience.api.reasons import HealthState
from resilience.core.health.bounds import judge
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import NO_LEVELS, Bounds
from resilience.core.model.check_state import Component
from resilience.core.model.headers import parse_headers
from resilience.core.model.probes import HttpProbe, SecretRef
from resilience.ports import Invalid

_UNAUTHORIZED: Final = frozenset({401, 403})
_MOST_NAMED: Final = 3
_ADVICE: Final = "have the application list them (Spring Boot: show-components), or remove http.components"
# Outcome, reason and message.
_Verdict = tuple[Outcome, str, str]


def describe(probe: HttpProbe) -> str:
    """The subject of the check, for messages. It leaves the query out, because that may hold a secret."""
    return f"GET {probe.target.path.partition('?')[0]}"


async def check_http(probe: HttpProbe, *, client: HttpClient, logins: Logins, timeout: timedelta) -> CheckResult:
    """Sends one request, and another one if the first is refused and a Secret has changed. Follows no redirects.

    Raises:
        Refused: the address is not permitted, or the request cannot be written.
        Invalid: a Secret may not be read, or holds something other than headers or certificates.
        NetworkFailure: no complete answer within `timeout`, or (`own`) no Secret or token within half of it.
        Unavailable: as ports.Secrets.read.
    """
    run = _Run(probe, client, logins, timeout, asyncio.get_running_loop().time())
    access = await run.access(fresh=False)
    result = await run.ask(access)
    if _may_be_outdated(probe, result):
        renewed = await run.access(fresh=True)
        if renewed != access:
            result = await run.ask(renewed)
    if isinstance(result, NetworkFailure):
        raise result
    return _judge(probe, result)


@dataclass(frozen=True, slots=True)
class _Access:
    """Values of Secrets, and the TLS context made of them; equal when the values are equal."""

    headers: str = field(repr=False)
    ca: str = field(repr=False)
    tls: ssl.SSLContext | None = field(compare=False)
    login: tuple[tuple[str, str], ...] = field(default=(), repr=False)


_NO_SECRETS: Final = _Access("", "", None)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a check. `began` is the loop time from which its one timeout counts."""

    probe: HttpProbe
    client: HttpClient
    logins: Logins
    timeout: timedelta
    began: float

    async def access(self, *, fresh: bool) -> _Access:
        """Reads the Secrets, within half of the time left: a slow API server must not look like a slow target."""
        if self.probe.headers is None and self.probe.trust is None and self.probe.login == NO_LOGIN:
            return _NO_SECRETS
        now = asyncio.get_running_loop().time()
        left = self.began + self.timeout.total_seconds() - now
        trust, credentials = self.probe.trust, self.logins.credentials
        try:
            async with asyncio.timeout(left / 2):
                return _Access(
                    headers=await credentials.value(self.probe.headers, fresh=fresh),
                    ca=await credentials.value(trust.ca if trust else None, fresh=fresh),
                    tls=await credentials.tls(trust),
                    login=await self.logins.headers(
                        self.probe.login, timeout=timedelta(seconds=max(left / 2, 0)), fresh=fresh
                    ),
                )
        except TimeoutError as error:
            raise NetworkFailure("its Secret was not read in time", reason="SecretUnavailable", own=True) from error

    async def ask(self, access: _Access) -> Answer | NetworkFailure:
        """Sends one request; a NetworkFailure is returned, not raised."""
        headers = with_login(_headers(access.headers, self.probe.headers), access.login)
        try:
            return await self.client.request(
                "GET",
                self.probe.target,
                timeout=self.timeout,
                began=self.began,
                headers=headers,
                tls=access.tls,
                server_name=self.probe.trust.server_name if self.probe.trust else "",
                proxy=self.probe.proxy,
            )
        except NetworkFailure as failure:
            return failure


def _headers(text: str, ref: SecretRef | None) -> list[tuple[str, str]]:
    if ref is None:
        return []
    try:
        return parse_headers(text)
    except ValueError as error:
        raise Invalid(f"{ref.place} must hold one `Name: value` a line") from error


def _may_be_outdated(probe: HttpProbe, result: Answer | NetworkFailure) -> bool:
    """An outdated header or certificate authority from a Secret may be the cause of the failure."""
    if isinstance(result, NetworkFailure):
        return result.reason == "TlsFailed" and probe.trust is not None and probe.trust.ca is not None
    has_secret = probe.headers is not None or probe.login != NO_LOGIN
    return has_secret and result.status in _UNAUTHORIZED and not _is_expected(probe, result.status)


def _is_expected(probe: HttpProbe, status: int) -> bool:
    return status in probe.expect if probe.expect else 200 <= status < 400


def _judge(probe: HttpProbe, answer: Answer) -> CheckResult:
    body, problem = _body(answer) if probe.components or probe.number is not None else (None, "")
    components = read_components(body) if probe.components else ()
    figure = _number(at_path(body, probe.number[0])) if probe.number is not None else None
    if not _is_expected(probe, answer.status):
        unhealthy = _named(components, HealthState.UNHEALTHY)
        words = f"answered {answer.status}" + (f"; unhealthy: {unhealthy}" if unhealthy else "")
        verdict = Outcome.FAIL, f"HTTP{answer.status}", f"{describe(probe)} {words}"
    else:
        verdict = _body_verdict(probe, answer, body, figure, problem, components) or (
            Outcome.PASS,
            f"HTTP{answer.status}",
            f"{describe(probe)} answered {answer.status}",
        )
    # A mesh or a proxy that does not know the operator answers so in place of the application.
    is_let_in = verdict[0] is not Outcome.FAIL or answer.status not in _UNAUTHORIZED
    return CheckResult(
        *verdict, latency_seconds=answer.seconds, components=components, answered=is_let_in, figure=figure
    )


def _body(answer: Answer) -> tuple[object, str]:
    """The JSON value and an empty text, or None and the reason why there is no value."""
    if answer.cut:
        return None, f"the body is longer than {BODY_LIMIT // 1024} KiB"
    try:
        return parse_json(answer.body), ""
    except ValueError:
        return None, "the body is not JSON"


def _body_verdict(
    probe: HttpProbe,
    answer: Answer,
    body: object,
    figure: float | None,
    problem: str,
    components: tuple[Component, ...],
) -> _Verdict | None:
    """The first problem of the body, warnings last; None when there is none."""
    subject = describe(probe)
    # ASP.NET answers with one word unless it is given a writer.
    whole = read_whole(answer.body.decode(errors="replace") if problem else body) if not components else None
    if probe.number is not None and problem:
        return Outcome.FAIL, "NotJson", f"{subject}: {problem}"
    if unhealthy := _named(components, HealthState.UNHEALTHY):
        return Outcome.FAIL, "ComponentUnhealthy", f"{subject}: unhealthy: {unhealthy}"
    if probe.components and whole is HealthState.UNHEALTHY:
        return Outcome.FAIL, "ComponentUnhealthy", f"{subject}: unhealthy: the application as a whole"
    path, levels = probe.number or ("", NO_LEVELS)
    if path and figure is None:
        return Outcome.FAIL, "NoNumber", f"{subject}: {path} is missing, or not a number"
    outcome, bounds = (Outcome.PASS, Bounds()) if figure is None else judge(levels, figure)
    breach = outcome, "OutOfBounds", f"{subject}: {path}: {bounds.breach(figure or 0)}"
    if outcome is Outcome.FAIL:
        return breach
    if warning := _named(components, HealthState.WARNING):
        return Outcome.WARN, "ComponentWarning", f"{subject}: warning: {warning}"
    if probe.components and whole is HealthState.WARNING:
        return Outcome.WARN, "ComponentWarning", f"{subject}: warning: the application as a whole"
    if outcome is Outcome.WARN:
        return breach
    if probe.components and all(component.state is HealthState.UNKNOWN for component in components):
        return Outcome.WARN, "NoComponents", f"{subject}: {problem or _nothing_read(components)}; {_ADVICE}"
    return None


def _nothing_read(components: tuple[Component, ...]) -> str:
    if components:
        return "no component in the body has a word for its state that is known"
    return "the body lists no components"


def _number(value: object) -> float | None:
    """The value as a finite number; None for anything else, also for JSON's true, which is an int in Python."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _named(components: tuple[Component, ...], state: HealthState) -> str:
    """The names of the components in that state, at most three and a count of the rest; empty when there are none."""
    names = [component.name for component in components if component.state is state]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
