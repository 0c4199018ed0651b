"""Times at which containers of a pod restarted, as this process observed them: the API only reports the total."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from resilience.core.model.observation import Key, Pod

_MAX_TIMES: Final = 1001


@dataclass(slots=True)
class _Pod:
    count: int
    times: deque[datetime]


@dataclass(slots=True)
class ContainerRestarts:
    """Restart times by resource and pod; bounded by the pods that exist."""

    now: Callable[[], datetime]
    _pods: dict[Key, dict[str, _Pod]] = field(default_factory=dict)

    def observe(self, key: Key, pods: Sequence[Pod]) -> Mapping[str, tuple[datetime, ...]]:
        """Restart times by pod uid, updated from these pods.

        Restarts from before the first observation of a pod are dated at its creation.
        """
        before = self._pods.get(key, {})
        entries = {}
        for pod in pods:
            entry = before.get(pod.uid) or _Pod(
                pod.restarts, deque([pod.created] * min(pod.restarts, _MAX_TIMES), _MAX_TIMES)
            )
            entry.times.extend([self.now()] * min(max(pod.restarts - entry.count, 0), _MAX_TIMES))
            entry.count = pod.restarts
            entries[pod.uid] = entry
        self._pods[key] = entries
        return {uid: tuple(entry.times) for uid, entry in entries.items() if entry.times}

    def forget(self, key: Key) -> None:
        """Drops the entries of a resource that is gone."""
        self._pods.pop(key, None)
