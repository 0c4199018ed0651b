"""Clients of a shop, at the same time: our own one on kept and on new connections, and vegeta."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster import binaries
from tests.support.counts import count
from tests.support.load import BackgroundLoad, Load
from tests.support.load_report import Kind, Result
from tests.support.vegeta import Report, Vegeta

# Requests per second of each worker.
RATE: Final = count(8, proof=15)
# Requests per second of the second client, each on a connection of its own.
VEGETA: Final = count(20, proof=50)
# Clients for tests about something else, which must not lose a request either. They cost little: several run at once.
LIGHT: Final[dict[str, Any]] = {"kept": count(3, proof=10), "new": count(3, proof=10), "vegeta": count(10, proof=50)}


@dataclass(slots=True)
class Traffic:
    """Results of the clients; complete only after the context."""

    load: BackgroundLoad
    own: Result | None = None
    vegeta: Report | None = None

    @property
    def sent(self) -> int:
        return self._own.sent + (self.vegeta.sent if self.vegeta else 0)

    @property
    def failed(self) -> int:
        return self._own.failed + (self.vegeta.failed if self.vegeta else 0)

    @property
    def failed_new(self) -> int:
        """Failures on new connections, of both clients."""
        return self._own.new.failed + (self.vegeta.failed if self.vegeta else 0)

    @property
    def failed_kept(self) -> int:
        return self._own.kept.failed

    @property
    def cut_kept(self) -> int:
        """Kept connections that ended without an answer that announced it, each of which failed one request."""
        return sum(self._own.kept.kinds.get(kind, 0) for kind in (Kind.CLOSED, Kind.RESET, Kind.EOF))

    @property
    def statuses_kept(self) -> dict[int, int]:
        """Number of answers on kept connections by status."""
        return self._own.kept.statuses

    def failures(self) -> str:
        """Descriptions of the failures, for messages."""
        descriptions = [
            f"{failure.at:.1f} s {failure.side}: {failure.kind} {failure.error}" for failure in self._own.failures
        ]
        return "; ".join([*descriptions, *(self.vegeta.errors if self.vegeta else ())])

    def figures(self) -> dict[str, object]:
        """Entries for the list of figures."""
        own = self._own
        return {
            "sent": self.sent,
            "failed": self.failed,
            "failed_kept": self.failed_kept,
            "failed_new": self.failed_new,
            "p99_ms_kept": own.kept.p99_ms,
            "p99_ms_new": own.new.p99_ms,
            "seconds_of_traffic": own.seconds,
        }

    @property
    def _own(self) -> Result:
        return self.own or self.load.result()


@contextmanager
def traffic(
    url: str, *, kept: int = 10, new: int = 10, rate: float = RATE, vegeta: int = VEGETA, host: str = ""
) -> Iterator[Traffic]:
    """POSTs while the context is open: workers at `rate` each, and vegeta at its rate per second on new connections.

    `host` is the Host header of all of them, by default the URL's.
    """
    load = BackgroundLoad(load=Load(url=url, kept=kept, new=new, rate_per_worker=rate, host=host))
    measured = Traffic(load)
    with Vegeta(binary=binaries.program("vegeta"), url=url, rate=vegeta, host=host) as second, load:
        try:
            yield measured
        finally:
            measured.vegeta = second.stop()
            measured.own = load.stop()
