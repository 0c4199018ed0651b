"""Flags as every replica serves them over HTTP: the latest state that the watch has shown.

Fail-static: a silent watch removes nothing; the cache only marks its content as possibly stale. It decides nothing.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from resilience.core.model.flags import Publication
from resilience.core.model.observation import Key

STALE_AFTER: Final = timedelta(seconds=60)


@dataclass(slots=True, eq=False)
class Subscription:
    """Wakes one reader. It signals that there is news, not its content: a slow reader gets only the newest."""

    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def notify(self) -> None:
        """Signals that there is something new."""
        self._news.set()

    async def wait(self, *, seconds: float) -> bool:
        """Something new came within this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


@dataclass(slots=True)
class FlagCache:
    """Publications by service. `now` is the wall clock.

    `on_shown` gets each publication that replaces another one, so that its age on arrival can be measured.
    """

    now: Callable[[], datetime]
    on_shown: Callable[[Publication], None] = lambda _: None
    confirmed_at: datetime | None = None
    closed: bool = False
    _shown: dict[Key, Publication] = field(default_factory=dict)
    _readers: dict[Key, set[Subscription]] = field(default_factory=dict)

    def put(self, publication: Publication) -> None:
        """Stores a publication from the watch."""
        key = Key(publication.namespace, publication.service)
        known = self._shown.get(key)
        if known == publication:
            return
        self._shown[key] = publication
        if known is not None:
            self.on_shown(publication)
        self._wake(key)

    def drop(self, key: Key) -> None:
        """Removes a service that has no flags any more."""
        if self._shown.pop(key, None) is not None:
            self._wake(key)

    def keep(self, keys: Iterable[Key]) -> None:
        """Keeps only the keys that exist: the watch never reported the removal of the others."""
        for key in set(self._shown) - set(keys):
            self.drop(key)

    def get(self, key: Key) -> Publication | None:
        """The latest publication of a service's flags, or None."""
        return self._shown.get(key)

    def confirm(self) -> None:
        """Records that there is a leader, which would have published changes."""
        self.confirmed_at = self.now()

    @property
    def stale(self) -> bool:
        """For too long no leader could have published a change."""
        return self.confirmed_at is None or self.now() > self.confirmed_at + STALE_AFTER

    def close(self) -> None:
        """Wakes all waiting readers, which may go: nothing more will be published."""
        self.closed = True
        for key in tuple(self._readers):
            self._wake(key)

    @contextmanager
    def reading(self, key: Key) -> Iterator[Subscription]:
        """A subscription to one service's flags, which ends with the context."""
        subscription = Subscription()
        self._readers.setdefault(key, set()).add(subscription)
        try:
            yield subscription
        finally:
            readers = self._readers[key]
            readers.discard(subscription)
            if not readers:
                del self._readers[key]

    def _wake(self, key: Key) -> None:
        for reader in self._readers.get(key, ()):
            reader.notify()
