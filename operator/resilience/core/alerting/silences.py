"""Silences of a service: alerts that a person wants nobody to be notified of, until a time that they name."""

from datetime import datetime

from resilience.api import matchers
from resilience.api.alerts import Alerts, Silence
from resilience.api.status_base import format_time
from resilience.core.alerting.alert import Alert


def silence_of(alert: Alert, alerts: Alerts, now: datetime) -> Silence | None:
    """The silence that withholds the alert for longest; None when there is none, or all have ended."""
    labels = alert.all_labels()
    active = [
        silence for silence in alerts.silences if silence.until > now and matchers.all_match(silence.matchers, labels)
    ]
    return max(active, key=lambda silence: silence.until, default=None)


def words(silence: Silence) -> str:
    """The reason for which nobody is notified."""
    return f"silenced by {silence.author} until {format_time(silence.until)}: {silence.reason}"
