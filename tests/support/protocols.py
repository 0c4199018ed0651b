"""Fakes of ports: a call that the port does not have, or with other arguments, fails as at the real one."""

import inspect
from collections.abc import Callable
from typing import Any


def checked(protocol: type, method: str, do: Callable[..., object] = lambda *_, **__: None) -> Callable[..., Any]:
    """A method that does `do` with its arguments if the protocol takes them; a coroutine where the protocol has one.

    Raises:
        AttributeError: the protocol has no such method.
        TypeError: (when it is called) the method takes other arguments.
    """
    if method.startswith("_") or not hasattr(protocol, method):
        raise AttributeError(f"{protocol.__name__} has no {method}")
    real = getattr(protocol, method)

    def call(*args: Any, **kwargs: Any) -> object:
        inspect.signature(real).bind(None, *args, **kwargs)
        return do(*args, **kwargs)

    async def call_later(*args: Any, **kwargs: Any) -> object:
        return call(*args, **kwargs)

    return call_later if inspect.iscoroutinefunction(real) else call
