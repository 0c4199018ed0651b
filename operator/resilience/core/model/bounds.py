"""Bounds of a number, alone and by severity."""

from dataclasses import dataclass
from typing import Final, Self


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of a number, which is good when it is neither above `above` nor below `below`."""

    above: float | None = None
    below: float | None = None

    def breach(self, value: float) -> str:
        """The bound that the number breaches, in words; empty when it breaches none."""
        if self.above is not None and value > self.above:
            return f"{value:g} is above {self.above:g}"
        if self.below is not None and value < self.below:
            return f"{value:g} is below {self.below:g}"
        return ""


@dataclass(frozen=True, slots=True)
class Levels:
    """Bounds by severity: out of `critical` a check fails, out of `warning` alone it warns."""

    critical: Bounds = Bounds()
    warning: Bounds = Bounds()

    @classmethod
    def most(cls, *, warning: float | None = None, critical: float | None = None) -> Self:
        """The levels of a number that can only be too large."""
        return cls(Bounds(above=critical), Bounds(above=warning))


# Every number is within these.
NO_LEVELS: Final = Levels()
