"""Replays dead letters, and keeps the progress until status records it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from resilience.core.model.decision import Replay
from resilience.core.model.observation import Key
from resilience.core.model.replays import Replayed
from resilience.ports import DeadLetterReplayer, PortError, Unavailable

log = structlog.get_logger(__name__)

# Precision of times in status: they may be this much earlier than the exact time.
_PRECISION: Final = timedelta(milliseconds=1)


@dataclass(slots=True)
class Replays:
    """Progress of replays, one entry for each check whose dead letters are being replayed."""

    office: DeadLetterReplayer
    now: Callable[[], datetime]
    _progress: dict[Key, dict[str, Replayed]] = field(default_factory=dict)
    # Time of this process's first observation, which only a leader makes. Another leader began what is older.
    _since: datetime | None = None

    def of(self, key: Key) -> dict[str, Replayed]:
        """Progress of the replays of a resource, by check."""
        if self._since is None:
            self._since = self.now()
        return dict(self._progress.get(key, {}))

    async def run(self, key: Key, action: Replay) -> None:
        """Replays one batch. A PortError is recorded and not raised, because it must not stop anything else."""
        progress = self._progress.setdefault(key, {}).get(action.check)
        if progress is None or progress.started != action.started:
            progress = Replayed(action.started, action.so_far, uncounted=self._inherited(action))
        try:
            batch = await self.office.replay(action.letters)
        except PortError as error:
            log.warning("replay failed", key=str(key), check=action.check, why=str(error))
            is_uncounted = progress.uncounted or isinstance(error, Unavailable)
            self._progress[key][action.check] = replace(
                progress, trouble=str(error)[:512], more=True, uncounted=is_uncounted
            )
            return
        self._progress[key][action.check] = replace(
            progress, count=progress.count + batch.moved, left=batch.left, more=batch.more, trouble=""
        )

    def forget(self, key: Key) -> None:
        """Drops the progress of a resource that is gone."""
        self._progress.pop(key, None)

    def _inherited(self, action: Replay) -> bool:
        """Another leader began the replay, and may have died before it recorded the letters that it had put back."""
        return self._since is None or action.started + _PRECISION <= self._since
