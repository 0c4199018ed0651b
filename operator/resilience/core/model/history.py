"""History of recent actions, limited in number and age."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from resilience.api.status import HistoryEntry

LENGTH = 20
AGE = timedelta(hours=24)


def remember(history: Sequence[HistoryEntry], entry: HistoryEntry, now: datetime) -> list[HistoryEntry]:
    """The history with one more entry, newest last."""
    return [*(past for past in history if past.at > now - AGE), entry][-LENGTH:]
