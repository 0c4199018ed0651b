"""The namespaces on whose behalf something is done: known where work begins, needed where it takes a share.

A context variable, because everything between the two would otherwise hand it on without a use for it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

# The operator's own work counts as that of a namespace without a name.
_OWN: Final = frozenset({""})
_NAMESPACES: Final[ContextVar[frozenset[str]]] = ContextVar("namespaces", default=_OWN)


@contextmanager
def on_behalf_of(namespaces: Iterable[str]) -> Iterator[None]:
    """Everything inside, and every task that begins inside, is done for these namespaces; none: for the operator."""
    token = _NAMESPACES.set(frozenset(namespaces) or _OWN)
    try:
        yield
    finally:
        _NAMESPACES.reset(token)


def beneficiaries() -> frozenset[str]:
    """The namespaces for which the caller works."""
    return _NAMESPACES.get()
