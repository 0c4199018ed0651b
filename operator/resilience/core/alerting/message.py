"""What a receiver is told: one message of a conversation, in no receiver's own form yet."""

import hashlib
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
    """How a receiver wants to be told. `live`: small changes are told too, for they disturb nobody there."""

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
    """One message. `sequence` counts from 0 in its conversation, each time that it begins."""

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
    # When the message before it was told; None when it is the first one.
    follows: datetime | None = None
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
        """Identity of what is told: a receiver that gets it twice can tell; once anything changed it is another one."""
        fires = [f"{each.identity} {each.severity} {each.since.isoformat()}" for each in self.firing]
        over = [f"{each.identity} {each.at.isoformat()}" for each in self.ended]
        whole = "\n".join([str(self.kind), str(self.follows), *fires, "over", *over])
        return f"{self.thread}-{self.sequence}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"

    @property
    def thread(self) -> str:
        """Identity of the conversation from this beginning to its end."""
        return f"{self.conversation}-{int(self.began_at.timestamp() * 1000)}"

    @property
    def over(self) -> bool:
        """Whether nothing of it fires any more."""
        return not self.firing
