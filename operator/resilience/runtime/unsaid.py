"""Words of status that may wait for the next pass: it comes right after the actions, and has others."""

from resilience.core.model.decision import Decision
from resilience.core.model.observation import Key, Observation, Resource
from resilience.core.report.diff import is_only_words


class Unsaid:
    """Knows whose last words waited: never twice in a row, for actions may be refused again and again."""

    def __init__(self) -> None:
        self._keys: set[Key] = set()

    def may_wait(self, resource: Resource, observation: Observation, decision: Decision) -> bool:
        """Only words changed in status, and actions follow. What was refused is told at once."""
        status = decision.status
        is_plain = bool(decision.actions) and not decision.events and observation.refusal is None
        may_wait = is_plain and status is not None and is_only_words(resource.status, status)
        if may_wait and resource.key not in self._keys:
            self._keys.add(resource.key)
            return True
        self._keys.discard(resource.key)
        return False

    def forget(self, key: Key) -> None:
        """Drops a resource that is gone."""
        self._keys.discard(key)
