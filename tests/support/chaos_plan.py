"""The order of a chaos run: what breaks, when, and for how long, all of it from one seed.

Must not break anything; see `chaos`.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

Item = TypeVar("Item")


class Kind(StrEnum):
    """Kinds of disturbances, beside the requests that fail all the time."""

    KILLED = "leader killed"
    AWAY = "API server away"
    STEPPED = "clock stepped"
    FROZEN = "leader frozen"


# Never behind the real time: the certificates of a young cluster would not be valid yet. Steps back lead to zero.
OFFSETS: Final = (7, 90, 3600, 86_400)
# Of a leader in releases and restarts: each moves pods or traffic, or says what was done.
WRITES: Final = (
    "PATCH pods",
    "DELETE pods",
    "PATCH services",
    "POST deployments",
    "PATCH deployments",
    "DELETE deployments",
    "PATCH resilientservices/status",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """One thing that breaks, after `pause` seconds of peace."""

    kind: Kind
    pause: float
    # Time without an API server, or with another clock before it goes back; zero: it does not go back.
    seconds: float = 0.0
    # Seconds that the leader's clock is ahead from then on.
    offset: int = 0
    # The write in which the leader is frozen, before it reaches the API server or before it is answered.
    write: str = ""
    before: bool = False
    # The pod that is killed does not come back, so that its Lease runs out.
    gone: bool = False


def plan(seed: int) -> Iterator[Disturbance]:
    """Disturbances without end, the same ones for the same seed; each kind comes once in a round, in any order."""
    chance = random.Random(seed)
    moments = _bag(chance, [(write, before) for write in WRITES for before in (True, False)])
    offsets = _bag(chance, OFFSETS)
    gone = _bag(chance, (True, False))
    while True:
        for kind in chance.sample(list(Kind), len(Kind)):
            pause = round(chance.uniform(2, 8), 1)
            match kind:
                case Kind.KILLED:
                    yield Disturbance(kind=kind, pause=pause, gone=next(gone))
                case Kind.AWAY:
                    yield Disturbance(kind=kind, pause=pause, seconds=round(chance.uniform(2, 16), 1))
                case Kind.STEPPED:
                    seconds = chance.choice((0.0, round(chance.uniform(2, 10), 1)))
                    yield Disturbance(kind=kind, pause=pause, offset=next(offsets), seconds=seconds)
                case Kind.FROZEN:
                    write, before = next(moments)
                    yield Disturbance(kind=kind, pause=pause, write=write, before=before)


def _bag(chance: random.Random, items: Sequence[Item]) -> Iterator[Item]:
    """The items in any order, and again when all were drawn."""
    while True:
        yield from chance.sample(items, len(items))
