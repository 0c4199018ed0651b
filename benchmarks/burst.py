"""Many releases at once, and what one of them costs: figures, and the ratios of two controllers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from benchmarks.counting import Requests, most, only_writes

_MIB: Final = 2**20
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Figures:
    """A controller at one moment: CPU seconds, passes and requests since it started, resident memory in bytes."""

    cpu: float
    rss: float
    passes: float
    requests: Requests


@dataclass(frozen=True, slots=True)
class Burst:
    """So many releases. `seconds`: until all were at rest. `first`: of each, from the change to the first object."""

    releases: int
    seconds: float
    before: Figures
    after: Figures
    first: tuple[float, ...]

    @property
    def cpu(self) -> float:
        """CPU seconds of one release."""
        return (self.after.cpu - self.before.cpu) / self.releases

    @property
    def passes(self) -> float:
        """Passes of one release."""
        return (self.after.passes - self.before.passes) / self.releases

    @property
    def requests(self) -> Requests:
        """Requests of all releases."""
        made = Requests(self.after.requests)
        made.subtract(self.before.requests)
        return +made

    def rows(self) -> Iterator[tuple[str, str]]:
        """Names and figures, as a person reads them."""
        yield "all at rest after", f"{self.seconds:.1f} s"
        if self.first:
            yield "change to first object, p50, p95", f"{self._first(0.5):.2f} s, {self._first(0.95):.2f} s"
        yield "CPU of one release", f"{self.cpu:.3f} s"
        yield "passes of one release", f"{self.passes:.1f}"
        total, writes = self.requests.total(), only_writes(self.requests).total()
        yield (
            "API requests of one release",
            f"{total / self.releases:.1f}, of them writes {writes / self.releases:.1f}",
        )
        for name, count in islice(most(self.requests, self.releases), _SHOWN):
            yield f"  {name}", f"{count:.1f}"
        yield "RSS before, after", f"{self.before.rss / _MIB:.0f} MiB, {self.after.rss / _MIB:.0f} MiB"

    def _first(self, share: float) -> float:
        return quantile(self.first, share)

    def compared(self, peer: "Burst") -> Iterator[tuple[str, float, float, float]]:
        """Name, our figure, the peer's, and ours divided by the peer's; less than 1 is better, throughout."""
        pairs = {
            "all at rest after, s": (self.seconds, peer.seconds),
            "CPU of one release, s": (self.cpu, peer.cpu),
            "API requests of one release": (
                self.requests.total() / self.releases,
                peer.requests.total() / peer.releases,
            ),
            "RSS before, MiB": (self.before.rss / _MIB, peer.before.rss / _MIB),
            "RSS after, MiB": (self.after.rss / _MIB, peer.after.rss / _MIB),
        }
        if self.first and peer.first:
            for share in (0.5, 0.95):
                name = f"change to first object, p{share * 100:.0f}, s"
                pairs[name] = (self._first(share), peer._first(share))
        for name, (ours, theirs) in pairs.items():
            yield name, ours, theirs, ours / theirs if theirs else math.nan


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many of all do not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
