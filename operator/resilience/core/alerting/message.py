"""What a receiver is told: one message of a conversation, in no receiver's own form yet."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from resilience.api.reasons import Severity
from resilience.core.alerting.alert import Alert
from resilience.core.alerting.routing import Group


class Kind(StrEnum):
    """Why something is told."""

    OPENED = "opened"
    UPDATED = "updated"
    ESCALATED = "escalated"
    REPEATED = "repeated"
    ENDED = "ended"
    # What came and went while nobody could be told.
    MISSED = "missed"
    # Somebody tries whether the receiver is reached.
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a receiver wants to be told. `live`: its message is kept up to date, so that small changes disturb nobody."""

    live: bool = False
    send_resolved: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """An alert that was told and is over. `moved`: it still fires, but is told somebody else."""

    identity: str
    severity: Severity
    since: datetime
    at: datetime
    moved: bool = False
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `sequence` counts from 0; together with `conversation` it is the same however often it is sent."""

    conversation: str
    # When the oldest of what it was opened for began: known to whoever looks, so a message is the same twice.
    began_at: datetime
    sequence: int
    kind: Kind
    title: str
    group: Group
    severity: Severity
    # The worst first. Empty when the conversation ends.
    firing: tuple[Alert, ...]
    ended: tuple[Ended, ...] = ()
    # Alerts that fire besides, for which there is no room.
    more: int = 0
    # Repeats that were not told since the last message.
    suppressed: int = 0
    # The receiver's own name of the message that is kept up to date.
    handle: str = ""
    # Something that people should know about the message itself.
    note: str = ""

    @property
    def delivery(self) -> str:
        """Identity of the message: a receiver that gets it twice can tell."""
        return f"{self.conversation}-{int(self.began_at.timestamp() * 1000)}-{self.sequence}"

    @property
    def over(self) -> bool:
        """Whether nothing of it fires any more."""
        return not self.firing
