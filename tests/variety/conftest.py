"""Without the log of each pass."""

from tests.support.silence import silent

__all__ = ["silent"]
