"""What every replica knows of the flags, for those who ask over HTTP: what the watch showed last.

Fail-static: nothing is forgotten because nobody was heard; it is only said that it may be old. It decides nothing.
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
    """Wakes one reader. It is told that something is new, not what: a slow one gets only the newest."""

    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def notify(self) -> None:
        """There is something new."""
        self._news.set()

    async def wait(self, *, seconds: float) -> bool:
        """Whether something new came within this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


@dataclass(slots=True)
class FlagBoard:
    """Publications by service. `now` is the wall clock; `on_shown` hears how old a publication is when it comes."""

    now: Callable[[], datetime]
    on_shown: Callable[[Publication], None] = lambda _: None
    confirmed_at: datetime | None = None
    closed: bool = False
    _shown: dict[Key, Publication] = field(default_factory=dict)
    _readers: dict[Key, set[Subscription]] = field(default_factory=dict)

    def put(self, publication: Publication) -> None:
        """The watch showed this."""
        key = Key(publication.namespace, publication.service)
        known = self._shown.get(key)
        if known == publication:
            return
        self._shown[key] = publication
        if known is not None:
            self.on_shown(publication)
        self._wake(key)

    def drop(self, key: Key) -> None:
        """The service has no flags any more."""
        if self._shown.pop(key, None) is not None:
            self._wake(key)

    def keep(self, keys: Iterable[Key]) -> None:
        """What exists: anything else was never reported as gone, and goes now."""
        for key in set(self._shown) - set(keys):
            self.drop(key)

    def get(self, key: Key) -> Publication | None:
        """What is told of a service's flags."""
        return self._shown.get(key)

    def confirm(self) -> None:
        """Somebody leads, and would have told of changes."""
        self.confirmed_at = self.now()

    @property
    def stale(self) -> bool:
        """Whether for too long nobody could have told of a change."""
        return self.confirmed_at is None or self.now() > self.confirmed_at + STALE_AFTER

    def close(self) -> None:
        """Nothing will be told any more: whoever waits for news may go."""
        self.closed = True
        for key in tuple(self._readers):
            self._wake(key)

    @contextmanager
    def reading(self, key: Key) -> Iterator[Subscription]:
        """A subscription to one service's flags."""
        made = Subscription()
        self._readers.setdefault(key, set()).add(made)
        try:
            yield made
        finally:
            readers = self._readers[key]
            readers.discard(made)
            if not readers:
                del self._readers[key]

    def _wake(self, key: Key) -> None:
        for reader in self._readers.get(key, ()):
            reader.notify()
