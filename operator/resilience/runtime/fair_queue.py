"""Who waits for a turn to restart pods by policy, who has one, and how long it takes; the rule is `core.storm`'s."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from resilience.core.model.observation import Key, Resource, Ticket, Turn
from resilience.core.restarts import fair_queue
from resilience.core.restarts.fair_queue import Caps
from resilience.ports import Clock

# Weight of the last restart in the usual length of one.
_NEWS: Final = 0.3
# Seconds after which a turn that was not begun goes to somebody else; longer than any pass takes.
_UNUSED: Final = 60.0


@dataclass(slots=True)
class StormControl:
    """`on_turn` is called with a key when its turn has come."""

    caps: Caps
    clock: Clock
    on_turn: Callable[[Key], None]
    _waiting: dict[Key, Ticket] = field(default_factory=dict)
    # What runs, since when by the monotonic clock; None for a turn that was given and not begun yet.
    _running: dict[Key, float | None] = field(default_factory=dict)
    # When a turn was given that is not begun yet.
    _given: dict[Key, float] = field(default_factory=dict)
    _turns: dict[Key, Turn] = field(default_factory=dict)
    # Who has had a turn since everybody who waited had one.
    _served: set[Key] = field(default_factory=set)
    _usual: timedelta = fair_queue.USUAL
    # Whether all that an earlier leader began is known; before, nothing is granted.
    _open: bool = False

    def turn(self, key: Key) -> Turn | None:
        """The key's turn; None when it has not asked."""
        return Turn(granted=True) if key in self._running else self._turns.get(key)

    def open(self) -> None:
        """Every resource has been seen once."""
        self._open = True
        self._grant()

    def seen(self, resource: Resource) -> None:
        """What status says runs: also what an earlier leader began, before anything is granted here."""
        restart = resource.status.restart
        if restart is not None and not restart.request:
            self._began(resource.key)

    def ask(self, key: Key, ticket: Ticket | None, *, running: bool) -> None:
        """What the key wants after a pass. `running`: a restart that nobody asked for is in flight."""
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
        """The resource is gone."""
        self.ask(key, None, running=False)

    def _began(self, key: Key) -> None:
        self._given.pop(key, None)
        if self._running.get(key) is None:
            self._running[key] = self.clock.monotonic()

    def _ended(self, key: Key) -> None:
        self._given.pop(key, None)
        since = self._running.pop(key, None)
        if since is not None:
            last = timedelta(seconds=self.clock.monotonic() - since)
            self._usual += (last - self._usual) * _NEWS

    def _take_back(self) -> None:
        """Turns of services that cannot begin, for their status cannot be written: they ask again when they can."""
        before = self.clock.monotonic() - _UNUSED
        for key in [key for key, at in self._given.items() if at < before]:
            del self._given[key], self._running[key]

    def _grant(self) -> None:
        self._take_back()
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
            self._given[key] = self.clock.monotonic()
            self._served.add(key)
            self.on_turn(key)
