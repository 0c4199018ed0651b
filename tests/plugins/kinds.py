"""Kinds of tests, and which of them a worker takes: tests that share a cluster must not decide each other's verdict.

`load` tests measure what clients see, and need CPU; `waiting` ones mostly wait for the cluster; `plain` ones use it,
and nothing that the operator does; `killing` ones kill the operator, and bear that another test does; `exclusive` ones
upgrade or reconfigure it, or stop the API server. `fast` ones need no cluster.

At most two workers run `load` tests, the remaining ones `waiting` tests. When none is left, two further workers run the
`killing` ones beside the `plain` ones, and when these are over, another one the `exclusive` ones. Beside all of these
there is CPU to spare, and beside the first two kinds there is none: so one worker runs the `fast` tests, when it has
no others left.

Must not know the scheduler.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import pytest

# Two cores: a third test under load would lose requests for want of CPU.
_MOST_UNDER_LOAD: Final = 2
# Their load comes from two cores as well.
_MOST_KILLING: Final = 2
# With fewer workers, too few would be left for the tests that come before.
_ENOUGH_FOR_KILLING: Final = 6


class Kind(StrEnum):
    """A kind of tests, see the module; their markers have these names."""

    FAST = "fast"
    LOAD = "load"
    WAITING = "waiting"
    PLAIN = "plain"
    KILLING = "killing"
    EXCLUSIVE = "exclusive"


Lane = tuple[Kind, ...]
_BUSY: Final = (Kind.LOAD, Kind.WAITING)
_CALM: Final = (Kind.WAITING, Kind.PLAIN, Kind.FAST)
_KILLING: Final = (Kind.KILLING,)
_LAST: Final = (Kind.EXCLUSIVE, Kind.FAST)
_KILLING_AND_LAST: Final = (Kind.KILLING, Kind.EXCLUSIVE, Kind.FAST)
# Lanes that begin when no test of these kinds is left.
BEFORE: Final[Mapping[Lane, Lane]] = {
    _KILLING: _BUSY,
    _KILLING_AND_LAST: (*_BUSY, Kind.PLAIN),
    _LAST: (*_BUSY, Kind.PLAIN, Kind.KILLING),
}


def kind_of(item: pytest.Item) -> Kind:
    """The kind that a test's folder and markers say."""
    if "e2e" not in Path(item.path).relative_to(item.config.rootpath).parts:
        return Kind.FAST
    marked = (Kind.KILLING, Kind.EXCLUSIVE, Kind.LOAD, Kind.PLAIN)
    return next((kind for kind in marked if item.get_closest_marker(kind.value)), Kind.WAITING)


@dataclass(frozen=True, slots=True)
class Label:
    """All that the scheduler has to know about a test. It sees node ids only, so workers write labels to a file."""

    kind: Kind
    is_long: bool = False
    # Tests of one group run on one worker, in their order.
    group: str = ""

    @classmethod
    def of(cls, item: pytest.Item) -> "Label":
        kind = kind_of(item)
        mark = item.get_closest_marker("xdist_group")
        # Modules without a cluster share servers among their tests.
        group = item.path.stem if kind is Kind.FAST else (str(mark.args[0]) if mark else "")
        return cls(kind, item.get_closest_marker("long") is not None, group)


def lanes(workers: int, kinds: Sequence[Kind]) -> Iterator[Lane]:
    """Lanes of so many workers for tests of these kinds; each is the kinds that it takes, in order of preference."""
    if workers == 1:
        yield (*_BUSY, Kind.PLAIN, *_KILLING_AND_LAST)
        return
    if set(kinds) <= {Kind.FAST}:
        yield from [_CALM] * workers
        return
    later = [_LAST, *[_KILLING] * _MOST_KILLING] if workers >= _ENOUGH_FOR_KILLING else [_KILLING_AND_LAST]
    apart = [lane for lane in later if any(kind in kinds for kind in lane if kind is not Kind.FAST)]
    yield from apart
    rest = workers - len(apart)
    busy = min(_MOST_UNDER_LOAD, (rest + 1) // 2)
    yield from [_BUSY if rest > busy else (*_BUSY, Kind.PLAIN, Kind.FAST)] * busy
    yield from [_CALM] * (rest - busy)
