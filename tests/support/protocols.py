"""Fakes of ports: a call that the port does not have, or with other arguments, fails as at the real one."""

import inspect
from typing import Any


def bound(protocol: type, method: str, /, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
    """The arguments of a call of this method of the protocol.

    Raises:
        AttributeError: the protocol has no such method.
        TypeError: the method takes other arguments.
    """
    require(protocol, method)
    return inspect.signature(getattr(protocol, method)).bind(None, *args, **kwargs)


def require(protocol: type, name: str) -> None:
    """Raises AttributeError if the protocol has no such method."""
    if name.startswith("_") or not hasattr(protocol, name):
        raise AttributeError(f"{protocol.__name__} has no {name}")
