"""Carries out replays of dead letters, and remembers how far they are until status says so."""

from dataclasses import dataclass, field, replace

import structlog

from resilience.core.decision import Replay
from resilience.core.observation import Key, Replayed
from resilience.ports import DeadLetterOffice, PortError

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Replays:
    """One entry for each check whose dead letters are being replayed."""

    office: DeadLetterOffice
    _progress: dict[Key, dict[str, Replayed]] = field(default_factory=dict)

    def of(self, key: Key) -> dict[str, Replayed]:
        """How far the replays of a resource are."""
        return dict(self._progress.get(key, {}))

    async def run(self, key: Key, action: Replay) -> None:
        """One batch. What goes wrong is remembered, for it is no reason to stop with anything else."""
        known = self._progress.setdefault(key, {}).get(action.check)
        if known is None or known.started != action.started:
            known = Replayed(action.started, action.so_far)
        try:
            batch = await self.office.replay(action.letters)
        except PortError as error:
            log.warning("replay failed", key=str(key), check=action.check, why=str(error))
            self._progress[key][action.check] = replace(known, trouble=str(error)[:512], more=True)
            return
        count = known.count + batch.moved
        self._progress[key][action.check] = Replayed(action.started, count, batch.left, batch.more)

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._progress.pop(key, None)
