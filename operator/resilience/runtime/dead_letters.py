"""Carries out replays of dead letters, and remembers how far they are until status says so."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from resilience.core.model.decision import Replay
from resilience.core.model.observation import Key, Replayed
from resilience.ports import DeadLetterOffice, PortError, Unavailable

log = structlog.get_logger(__name__)

# Of times in status: what they say may be this much earlier than what was meant.
_PRECISION: Final = timedelta(milliseconds=1)


@dataclass(slots=True)
class Replays:
    """One entry for each check whose dead letters are being replayed."""

    office: DeadLetterOffice
    now: Callable[[], datetime]
    _progress: dict[Key, dict[str, Replayed]] = field(default_factory=dict)
    # When this process first looked at anything, which only a leader does. What began before, another leader began.
    _since: datetime | None = None

    def of(self, key: Key) -> dict[str, Replayed]:
        """How far the replays of a resource are."""
        if self._since is None:
            self._since = self.now()
        return dict(self._progress.get(key, {}))

    async def run(self, key: Key, action: Replay) -> None:
        """One batch. What goes wrong is remembered, for it is no reason to stop with anything else."""
        known = self._progress.setdefault(key, {}).get(action.check)
        if known is None or known.started != action.started:
            known = Replayed(action.started, action.so_far, uncounted=self._inherited(action))
        try:
            batch = await self.office.replay(action.letters)
        except PortError as error:
            log.warning("replay failed", key=str(key), check=action.check, why=str(error))
            lost = known.uncounted or isinstance(error, Unavailable)
            self._progress[key][action.check] = replace(known, trouble=str(error)[:512], more=True, uncounted=lost)
            return
        self._progress[key][action.check] = replace(
            known, count=known.count + batch.moved, left=batch.left, more=batch.more, trouble=""
        )

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._progress.pop(key, None)

    def _inherited(self, action: Replay) -> bool:
        """Whether another leader began it, who may have died before it noted what it had put back."""
        return self._since is None or action.started + _PRECISION <= self._since
