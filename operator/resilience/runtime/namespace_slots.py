"""Slots for concurrent work, which namespaces get in turn, so that the load of one tenant blocks no other.

A namespace gets a further slot only while it holds fewer than are free. So one alone uses half of them, and the next
one finds room at once, however long the work of the first takes. When that leaves too little, each waits for its turn.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class NamespaceSlots(Generic[Item]):
    """`total` slots, and the lines of those that wait for one: a line for each namespace, first come first served."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._held: dict[str, int] = {}
        # By urgency, the lower comes first; the namespaces in the order of their turns.
        self._lines: dict[int, OrderedDict[str, OrderedDict[Item, None]]] = {}

    def wait(self, namespace: str, item: Item, *, urgency: int = 0) -> None:
        """Puts the item at the end of its namespace's line; one that is in it keeps its place."""
        lines = self._lines.setdefault(urgency, OrderedDict())
        lines.setdefault(namespace, OrderedDict()).setdefault(item)

    def drop(self, namespace: str, item: Item, *, urgency: int = 0) -> None:
        """Takes the item out of its namespace's line, if it is in there."""
        lines = self._lines.get(urgency, OrderedDict())
        line = lines.get(namespace, OrderedDict())
        line.pop(item, None)
        if not line:
            lines.pop(namespace, None)

    def take(self) -> tuple[str, Item] | None:
        """Gives a slot to the item whose turn it is; None when none that waits may have one now."""
        if not self._free:
            return None
        for urgency in sorted(self._lines):
            lines = self._lines[urgency]
            namespace = next((name for name in lines if self._held.get(name, 0) < self._free), None)
            if namespace is None:
                continue
            item, _ = lines[namespace].popitem(last=False)
            if lines[namespace]:
                lines.move_to_end(namespace)
            else:
                del lines[namespace]
            self._free -= 1
            self._held[namespace] = self._held.get(namespace, 0) + 1
            return namespace, item
        return None

    def give_back(self, namespace: str) -> None:
        """Frees a slot of the namespace."""
        self._free += 1
        self._held[namespace] -= 1
        if not self._held[namespace]:
            del self._held[namespace]


class NamespaceTurns:
    """The same for tasks, which wait until their turn has come."""

    def __init__(self, total: int) -> None:
        self._slots: NamespaceSlots[asyncio.Future[None]] = NamespaceSlots(total)

    @asynccontextmanager
    async def taken(self, namespace: str) -> AsyncIterator[None]:
        """Waits for a slot, and keeps it while the context is open."""
        turn = asyncio.get_running_loop().create_future()
        self._slots.wait(namespace, turn)
        self._next()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._slots.give_back(namespace)
            else:
                self._slots.drop(namespace, turn)
            self._next()

    def _next(self) -> None:
        while (taken := self._slots.take()) is not None:
            namespace, turn = taken
            if turn.cancelled():
                self._slots.give_back(namespace)
            else:
                turn.set_result(None)
