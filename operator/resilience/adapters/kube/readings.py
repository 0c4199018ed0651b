"""The specifications that were read last, for one is parsed in every pass and changes seldom."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from resilience.api import parts
from resilience.api.parts import Known, Reading

Json = Mapping[str, Any]
# Resources in flight at once: what is quiet is seldom read.
_MOST: Final = 256


class Readings:
    """The reading of each resource's latest specification, by its uid; the ones that were used least go first."""

    def __init__(self) -> None:
        self._latest: OrderedDict[str, tuple[int, Json, Known, Reading]] = OrderedDict()

    def of(self, uid: str, generation: int, raw: Json, known: Known) -> Reading:
        """The specification in `raw`, parsed once for each generation; `known` as in `parts.read`."""
        before = self._latest.get(uid)
        # An object that was restored from a backup may have the generation of another content.
        if before is not None and before[:3] == (generation, raw, known):
            self._latest.move_to_end(uid)
            return before[3]
        reading = parts.read(raw, known)
        self._latest[uid] = (generation, raw, known, reading)
        if len(self._latest) > _MOST:
            self._latest.popitem(last=False)
        return reading
