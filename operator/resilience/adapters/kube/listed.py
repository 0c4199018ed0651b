"""The items of a list, decoded one by one: one that is not as its kind is takes none of the others along."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from resilience.ports import Unavailable

Json = dict[str, Any]
View = TypeVar("View")
# What a view raises for an object that is not as its kind is.
_MALFORMED = (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item without a view: what can be read of it all the same, and what is wrong."""

    raw: Json
    why: str


@dataclass(frozen=True, slots=True)
class Listed(Generic[View]):
    """The views of a list, and the items that have none."""

    views: tuple[View, ...]
    unread: tuple[Unreadable, ...] = ()

    def about(self, concerns: Callable[[Json], bool]) -> tuple[View, ...]:
        """The views, for one whom only some items concern.

        Raises:
            Unavailable: an item cannot be read and concerns it, or does not tell whether it does.
        """
        for item in self.unread:
            try:
                is_concerned = concerns(item.raw)
            except _MALFORMED:
                is_concerned = True
            if is_concerned:
                name = (item.raw.get("metadata") or {}).get("name", "without a name")
                raise Unavailable(f"object {name} cannot be read: {item.why}")
        return self.views

    def all(self) -> tuple[View, ...]:
        """The views, for one whom every item concerns. Raises Unavailable when one cannot be read."""
        return self.about(lambda _: True)


def read(items: Iterable[bytes | msgspec.Raw], view: Callable[[Any], View], shape: Any) -> Listed[View]:
    """The `view` of each item; `shape` is a type with the fields that it uses."""
    decode, views, unread = _decoder(shape).decode, [], []
    for item in items:
        try:
            views.append(view(decode(item)))
        except _MALFORMED as error:
            unread.append(Unreadable(_loosely(item), f"{type(error).__name__}: {error}"))
    return Listed(tuple(views), tuple(unread))


def joined(parts: Iterable[Listed[View]]) -> Listed[View]:
    """One list of several."""
    every = list(parts)
    return Listed(
        tuple(view for part in every for view in part.views), tuple(item for part in every for item in part.unread)
    )


def as_it_is(raw: Json) -> Json:
    """The view of what is kept as it was decoded."""
    return raw


@cache
def _decoder(shape: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(shape)


def _loosely(item: bytes | msgspec.Raw) -> Json:
    try:
        raw = msgspec.json.decode(item)
    except msgspec.MsgspecError:
        return {}
    return raw if isinstance(raw, dict) else {}
