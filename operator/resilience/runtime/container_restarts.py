"""When containers of a pod restarted, as far as this process has seen it: the API only tells how often, ever."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from resilience.core.model.observation import Key, Pod

_MOST: Final = 1001


@dataclass(slots=True)
class _Pod:
    count: int
    times: deque[datetime]


@dataclass(slots=True)
class RestartLog:
    """By resource and pod; bounded by the pods that exist."""

    now: Callable[[], datetime]
    _pods: dict[Key, dict[str, _Pod]] = field(default_factory=dict)

    def look(self, key: Key, pods: Sequence[Pod]) -> Mapping[str, tuple[datetime, ...]]:
        """Times by pod uid, after this look. What restarted before the first one is taken to have been at its birth."""
        before = self._pods.get(key, {})
        known = {}
        for pod in pods:
            each = before.get(pod.uid) or _Pod(pod.restarts, deque([pod.created] * min(pod.restarts, _MOST), _MOST))
            each.times.extend([self.now()] * min(max(pod.restarts - each.count, 0), _MOST))
            each.count = pod.restarts
            known[pod.uid] = each
        self._pods[key] = known
        return {uid: tuple(each.times) for uid, each in known.items() if each.times}

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._pods.pop(key, None)
