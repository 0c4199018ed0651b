"""Text of a message, the same in every form: the problem, its start, the action, and links to read on.

Everything from outside (output of a check, name of an image) is plain text here; every form escapes it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from resilience.adapters.telemetry.redaction import redact_text
from resilience.api.reasons import AlertName, Severity
from resilience.core.alerting import catalogue
from resilience.core.alerting.alert import Alert
from resilience.core.alerting.message import Ended, Kind, Message

_SHOWN: Final = 10
_LONGEST: Final = 300
SIGNS: Final = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
OVER: Final = "🟢"


@dataclass(frozen=True, slots=True)
class Origin:
    """Name of the cluster, and links to read on. `dashboard` contains {namespace} and {service}.

    Empty values: there is only one cluster, there is no link.
    """

    cluster: str = ""
    runbooks: str = ""
    dashboard: str = ""

    def runbook(self, name: AlertName) -> str:
        """URL of an alert's runbook; empty when there is none."""
        return f"{self.runbooks.rstrip('/')}/{name}.md" if self.runbooks else ""

    def dashboard_of(self, alert: Alert) -> str:
        """URL of the dashboard of an alert's service; empty when there is none."""
        named = self.dashboard.replace("{namespace}", alert.key.namespace)
        return named.replace("{service}", alert.key.name)


@dataclass(frozen=True, slots=True)
class Line:
    """One alert as text."""

    sign: str
    head: str
    text: str
    action: str
    runbook: str
    dashboard: str


def headline(message: Message, origin: Origin) -> str:
    """A message in one line."""
    where = f"[{origin.cluster}] " if origin.cluster else ""
    match message.kind:
        case Kind.ENDED:
            return f"{OVER} {where}Over: {message.title}"
        case Kind.MISSED | Kind.TEST:
            return f"{SIGNS[Severity.INFO]} {where}{message.title}"
        case _:
            return f"{SIGNS[message.severity]} {where}{_news(message)}"


def _news(message: Message) -> str:
    before = {Kind.ESCALATED: "Worse: ", Kind.REPEATED: "Still: ", Kind.UPDATED: "Update: "}.get(message.kind, "")
    first = catalogue.CATALOGUE[message.firing[0].name].title if message.firing else "unknown"
    more = len(message.firing) + message.more - 1
    return f"{before}{message.title}: {first}" + (f" (and {more} more)" if more > 0 else "")


def lines(message: Message, origin: Origin) -> list[Line]:
    """Alerts that fire, the worst first, at most ten."""
    return [_line(alert, origin) for alert in message.firing[:_SHOWN]]


def rest(message: Message) -> list[str]:
    """Remaining lines of a message: alerts without room, ended alerts, repeats, notes."""
    remaining = []
    hidden = max(len(message.firing) - _SHOWN, 0) + message.more
    if hidden:
        remaining.append(f"and {hidden} more: kubectl get rsvc -A -o wide")
    remaining.extend(_ended(ended) for ended in message.ended[:_SHOWN])
    if len(message.ended) > _SHOWN:
        remaining.append(f"and {len(message.ended) - _SHOWN} more that are over")
    if message.suppressed:
        times = "once" if message.suppressed == 1 else f"{message.suppressed} times"
        remaining.append(f"came back {times} without a message since the last one")
    if message.note:
        remaining.append(message.note)
    return remaining


def since(at: datetime) -> str:
    """A time in UTC, for people in all time zones."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def plain(message: Message, origin: Origin) -> str:
    """The whole message as text."""
    parts = []
    for line in lines(message, origin):
        parts.append(f"{line.sign} {line.head}\n{line.text}\nTo do: {line.action}")
        parts.extend(url for url in (line.runbook, line.dashboard) if url)
        parts.append("")
    return "\n".join([*parts, *rest(message)]).strip()


def described(alert: Alert) -> str:
    """Message of an alert, with secrets redacted and its length limited."""
    text = redact_text(alert.message)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _line(alert: Alert, origin: Origin) -> Line:
    about = f" [{alert.subject}]" if alert.subject else ""
    return Line(
        sign=SIGNS[alert.severity],
        head=f"{alert.key}{about}: {alert.name}, {alert.severity}, since {since(alert.since)}",
        text=described(alert),
        action=catalogue.action(alert.name, namespace=alert.key.namespace, service=alert.key.name),
        runbook=origin.runbook(alert.name),
        dashboard=origin.dashboard_of(alert),
    )


def _ended(ended: Ended) -> str:
    if ended.moved:
        return f"{ended.identity.rstrip('/')} still fires, and is notified elsewhere"
    minutes = max((ended.at - ended.since).total_seconds() / 60, 0)
    return f"{OVER} over: {ended.identity.rstrip('/')}, at {since(ended.at)}, after {minutes:.0f} min"
