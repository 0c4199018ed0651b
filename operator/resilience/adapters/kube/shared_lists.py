"""Fresh lists that those share who ask at the same time, so that a burst of releases costs a few of them.

Nobody gets a list that began before it was asked for. What is shared is read only.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

from resilience.adapters.kube.listed import Json, Listed, as_it_is, joined
from resilience.adapters.kube.transport import LARGEST_LIST, Transport
from resilience.adapters.net.next_flight import NextFlight
from resilience.ports.cluster import View

_Labels = frozenset[tuple[str, str]]
# Values of one label in a request: its URL stays below the 8 KiB that proxies let through.
_MOST: Final = 50


class SharedLists:
    """Lists of one API server."""

    def __init__(self, *, transport: Transport) -> None:
        self._transport = transport
        self._flights: NextFlight[Hashable, _Labels, Listed[Any]] = NextFlight()

    async def views(self, path: str, view: Callable[[Json], View], *, shape: Any = Json) -> Listed[View]:
        """The `view` of every item, made once for all who share the list; each call with the same function and shape.

        `shape`: the fields of an item that the view uses.
        """
        return await self._flights.run((path, view), (), lambda _: self._transport.listed(path, view, shape=shape))

    async def list(self, path: str, *, shape: Any = Json, labels: str = "") -> Listed[Json]:
        """All items that match the selector, with the fields of `shape`."""
        return await self._flights.run((path, labels), (), lambda _: self._kept(path, shape, labels))

    async def selected(self, path: str, *selectors: Mapping[str, str], shape: Any = Json) -> Sequence[Json]:
        """All items that have the labels of one of the selectors, which have the same keys; with the fields of `shape`.

        Those who ask with other values of these labels share the request.

        Raises:
            Unavailable: one with these labels cannot be read, or its labels cannot be.
        """

        def concerns(raw: Json) -> bool:
            return any(labels <= _labels(raw) for labels in wanted)

        keys = tuple(sorted(selectors[0]))
        wanted = [frozenset(selector.items()) for selector in selectors]
        found = await self._flights.run((path, keys), wanted, lambda every: self._of_any(path, shape, keys, every))
        return [raw for raw in found.about(concerns) if concerns(raw)]

    async def _kept(self, path: str, shape: Any, labels: str) -> Listed[Json]:
        return await self._transport.listed(path, as_it_is, shape=shape, labels=labels, most=LARGEST_LIST)

    async def _of_any(self, path: str, shape: Any, keys: Sequence[str], wanted: frozenset[_Labels]) -> Listed[Json]:
        """Items with the labels of any of these: they are asked for by the label that tells the most of them apart."""
        values = {key: sorted({dict(labels)[key] for labels in wanted}) for key in keys}
        by = max(keys, key=lambda key: len(values[key]))
        common = [f"{key}={values[key][0]}" for key in keys if len(values[key]) == 1 and key != by]
        parts = []
        for begin in range(0, len(values[by]), _MOST):
            chosen = values[by][begin : begin + _MOST]
            some = f"{by}={chosen[0]}" if len(chosen) == 1 else f"{by} in ({','.join(chosen)})"
            parts.append(await self._kept(path, shape, ",".join(sorted([some, *common]))))
        return joined(parts)


def _labels(raw: Json) -> _Labels:
    return frozenset((raw["metadata"].get("labels") or {}).items())
