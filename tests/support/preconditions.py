"""Keeps what a test needs apart from what it claims: only a claim may fail by AssertionError.

An expected failure says `raises=AssertionError`. So a stage that cannot be set up is an error, never an expected one.
"""

from collections.abc import Iterator
from contextlib import contextmanager


def require(condition: object, what: str) -> None:
    """A precondition of the test.

    Raises:
        RuntimeError: it does not hold.
    """
    if not condition:
        raise RuntimeError(f"the test's own stage is wrong: {what}")


@contextmanager
def preparing() -> Iterator[None]:
    """Around the work that comes before the claims: what fails there is no claim."""
    try:
        yield
    except AssertionError as error:
        raise RuntimeError(f"the test's own stage is wrong: {error}") from error
