"""One message of a conversation, before it takes the form of a particular receiver."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from resilience.api.reasons import Severity
from resilience.core.alerting.alert import Alert
from resilience.core.alerting.routing import Group


class Kind(StrEnum):
    """Reason for a message."""

    OPENED = "opened"
    UPDATED = "updated"
    ESCALATED = "escalated"
    REPEATED = "repeated"
    ENDED = "ended"
    # Alerts that came and went while nobody could be notified.
    MISSED = "missed"
    # A person tests whether the receiver can be reached.
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Manner:
    """Preferences of a receiver. `live`: it gets small changes too, since they disturb nobody there."""

    live: bool = False
    send_resolved: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """An alert that was notified and is over. `moved`: it still fires, but another receiver is notified."""

    identity: str
    severity: Severity
    since: datetime
    at: datetime
    moved: bool = False
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `sequence` counts from 0 in its conversation, every time that the conversation starts."""

    conversation: str
    # Start of the oldest alert that opened the conversation. Every pass derives the same, so a message repeats exactly.
    began_at: datetime
    sequence: int
    kind: Kind
    title: str
    group: Group
    severity: Severity
    # The worst first. Empty when the conversation ends.
    firing: tuple[Alert, ...]
    ended: tuple[Ended, ...] = ()
    # Time of the previous message; None when this is the first one.
    follows: datetime | None = None
    # Further alerts that fire, for which there is no room.
    more: int = 0
    # Repeats since the last message that were not notified.
    suppressed: int = 0
    # The receiver's own name of the message that is kept up to date.
    handle: str = ""
    # Information for people about the message itself.
    note: str = ""

    @property
    def delivery(self) -> str:
        """Identity of the content: it shows a receiver that it got a message twice, and differs after any change."""
        fires = [f"{alert.identity} {alert.severity} {alert.since.isoformat()}" for alert in self.firing]
        over = [f"{ended.identity} {ended.at.isoformat()}" for ended in self.ended]
        whole = "\n".join([str(self.kind), str(self.follows), *fires, "over", *over])
        return f"{self.thread}-{self.sequence}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"

    @property
    def thread(self) -> str:
        """Identity of the conversation from this start to its end."""
        return f"{self.conversation}-{int(self.began_at.timestamp() * 1000)}"

    @property
    def over(self) -> bool:
        """No alert of the conversation fires any more."""
        return not self.firing
