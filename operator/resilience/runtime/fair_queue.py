"""Turns to restart pods by policy: requests, grants and usual length. `core.restarts.fair_queue` has the rule."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from resilience.core.model.observation import Key, Resource, Ticket, Turn
from resilience.core.restarts import fair_queue
from resilience.core.restarts.fair_queue import Caps
from resilience.ports import Clock

# Weight of the latest restart in the moving average of their duration.
_WEIGHT: Final = 0.3
# Seconds after which a turn that was not begun is given to another key; longer than any pass takes.
_UNUSED_AFTER: Final = 60.0


@dataclass(slots=True)
class FairQueue:
    """Grants turns. `on_turn` is called with a key when its turn has come."""

    caps: Caps
    clock: Clock
    on_turn: Callable[[Key], None]
    _waiting: dict[Key, Ticket] = field(default_factory=dict)
    # Monotonic start time of each restart in flight; None for a turn that was granted and has not begun.
    _running: dict[Key, float | None] = field(default_factory=dict)
    # Monotonic time of the grant of each turn that has not begun.
    _granted_at: dict[Key, float] = field(default_factory=dict)
    _turns: dict[Key, Turn] = field(default_factory=dict)
    # Keys that have had a turn since the last time every waiting key had had one.
    _served: set[Key] = field(default_factory=set)
    _usual: timedelta = fair_queue.USUAL
    # All restarts that an earlier leader began are known; until then nothing is granted.
    _open: bool = False

    def turn(self, key: Key) -> Turn | None:
        """The turn of the key, or None when it has not requested one."""
        return Turn(granted=True) if key in self._running else self._turns.get(key)

    def open(self) -> None:
        """Begins to grant turns: every resource has been observed once."""
        self._open = True
        self._grant()

    def seen(self, resource: Resource) -> None:
        """Records the restart that status shows, also one that an earlier leader began, before anything is granted."""
        restart = resource.status.restart
        if restart is not None and not restart.request:
            self._began(resource.key)

    def ask(self, key: Key, ticket: Ticket | None, *, running: bool) -> None:
        """Records the request of the key after a pass. `running`: a restart that nobody requested is in flight."""
        if running:
            self._waiting.pop(key, None)
            self._began(key)
        elif ticket is None:
            self._ended(key)
            self._waiting.pop(key, None)
        elif key not in self._running:
            before = self._waiting.get(key)
            self._waiting[key] = replace(ticket, since=before.since) if before is not None else ticket
        self._grant()

    def forget(self, key: Key) -> None:
        """Drops a resource that is gone."""
        self.ask(key, None, running=False)

    def _began(self, key: Key) -> None:
        self._granted_at.pop(key, None)
        if self._running.get(key) is None:
            self._running[key] = self.clock.monotonic()

    def _ended(self, key: Key) -> None:
        self._granted_at.pop(key, None)
        since = self._running.pop(key, None)
        if since is not None:
            last = timedelta(seconds=self.clock.monotonic() - since)
            self._usual += (last - self._usual) * _WEIGHT

    def _revoke_unused(self) -> None:
        """Revokes turns of services that cannot begin, for their status cannot be written; they request again later."""
        before = self.clock.monotonic() - _UNUSED_AFTER
        for key in [key for key, at in self._granted_at.items() if at < before]:
            del self._granted_at[key], self._running[key]

    def _grant(self) -> None:
        self._revoke_unused()
        if self._served.issuperset(self._waiting):
            self._served.clear()
        if not self._waiting or not self._open:
            self._turns = {}
            return
        self._turns = dict(
            fair_queue.turns(self._waiting.values(), self._running, self.caps, usual=self._usual, served=self._served)
        )
        for key in [key for key, turn in self._turns.items() if turn.granted]:
            del self._waiting[key]
            self._running[key] = None
            self._granted_at[key] = self.clock.monotonic()
            self._served.add(key)
            self.on_turn(key)
