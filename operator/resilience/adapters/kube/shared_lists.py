"""Fresh lists that those share who ask at the same time, so that a burst of releases costs a few of them.

Nobody gets a list that began before it was asked for. What is shared is read only.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

from resilience.adapters.kube.transport import Json, Transport
from resilience.adapters.net.next_flight import NextFlight
from resilience.ports.cluster import View

_Labels = frozenset[tuple[str, str]]
# Values of one label in a request: its URL stays below the 8 KiB that proxies let through.
_MOST: Final = 50


class SharedLists:
    """Lists of one API server."""

    def __init__(self, *, transport: Transport) -> None:
        self._transport = transport
        self._flights: NextFlight[Hashable, _Labels, Sequence[Any]] = NextFlight()

    async def views(self, path: str, view: Callable[[Json], View], *, labels: str = "") -> Sequence[View]:
        """The `view` of every item, made once for all who share the list. `view`: the same function in each call."""
        return await self._flights.run(
            (path, labels, view), (), lambda _: self._transport.views(path, view, labels=labels)
        )

    async def list(self, path: str, *, labels: str = "") -> Sequence[Json]:
        """All items that match the selector."""
        return await self._flights.run((path, labels), (), lambda _: self._transport.list(path, labels=labels))

    async def selected(self, path: str, *selectors: Mapping[str, str]) -> Sequence[Json]:
        """All items that have the labels of one of the selectors, which have the same keys.

        Those who ask with other values of these labels share the request.
        """
        keys = tuple(sorted(selectors[0]))
        wanted = [frozenset(selector.items()) for selector in selectors]
        found = await self._flights.run((path, keys), wanted, lambda every: self._of_any(path, keys, every))
        return [raw for raw in found if any(labels <= _labels(raw) for labels in wanted)]

    async def _of_any(self, path: str, keys: Sequence[str], wanted: frozenset[_Labels]) -> Sequence[Json]:
        """Items with the labels of any of these: they are asked for by the label that tells the most of them apart."""
        values = {key: sorted({dict(labels)[key] for labels in wanted}) for key in keys}
        by = max(keys, key=lambda key: len(values[key]))
        common = [f"{key}={values[key][0]}" for key in keys if len(values[key]) == 1 and key != by]
        items: list[Json] = []
        for begin in range(0, len(values[by]), _MOST):
            chosen = values[by][begin : begin + _MOST]
            some = f"{by}={chosen[0]}" if len(chosen) == 1 else f"{by} in ({','.join(chosen)})"
            items += await self._transport.list(path, labels=",".join(sorted([some, *common])))
        return items


def _labels(raw: Json) -> _Labels:
    return frozenset((raw["metadata"].get("labels") or {}).items())
