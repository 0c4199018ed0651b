"""The system's name service, which answers in threads: a name that hangs must not take them from other names.

One look-up of a name is in flight at a time. A failure of the name service is remembered for a moment. An answer never
is, that the name does not exist included: it must not age, and one answer must not count as several failed runs.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from resilience.adapters.net.threads import SharedThreads

# A look-up that hangs lasts for up to half a minute: 5 s for each server, search domain and attempt.
_THREADS: Final = 32
_OF_A_NAMESPACE: Final = 8
# Answers of the name service about the name itself; every other error is a failure of the name service.
NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
# Seconds for which a failure is the answer to everybody who asks.
FAILURE_KEPT: Final = 3.0


def _threads() -> SharedThreads:
    return SharedThreads("resolver", total=_THREADS, share=_OF_A_NAMESPACE)


@dataclass(slots=True)
class SystemResolver:
    """Resolves by getaddrinfo; threads and failures are those of this resolver alone."""

    _threads: SharedThreads = field(default_factory=_threads)
    # Until which loop time a failure counts; in that order, because all last equally long.
    _failures: dict[str, tuple[float, OSError]] = field(default_factory=dict)

    async def __call__(self, host: str) -> Sequence[str]:
        """The host's IP addresses in the order to try them. Raises OSError, UnicodeError. Set a time-out."""
        loop = asyncio.get_running_loop()
        self._drop_old(loop.time())
        if host in self._failures:
            raise _again(self._failures[host][1])
        try:
            infos = await self._threads.run(host, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except OSError as error:
            if error.errno not in NO_SUCH_NAME:
                self._failures.pop(host, None)
                self._failures[host] = loop.time() + FAILURE_KEPT, error
            raise _again(error) from error
        return [str(address[0]) for *_, address in infos]

    def _drop_old(self, now: float) -> None:
        for host, (until, _) in list(self._failures.items()):
            if now < until:
                break
            del self._failures[host]


def _again(error: OSError) -> OSError:
    """A copy: several raise it, and each one would lengthen the traceback of the same error."""
    return type(error)(*error.args)
