"""Separates a test's preconditions from its claims: only a claim may fail by AssertionError.

An expected failure says `raises=AssertionError`. Therefore a stage that cannot be set up is an error, never an expected
failure.
"""

from collections.abc import Iterator
from contextlib import contextmanager


def require(condition: object, what: str) -> None:
    """Checks a precondition of the test.

    Raises:
        RuntimeError: it does not hold.
    """
    if not condition:
        raise RuntimeError(f"the test's own stage is wrong: {what}")


@contextmanager
def preparing() -> Iterator[None]:
    """Encloses the work before the claims: a failure in it is no failed claim."""
    try:
        yield
    except AssertionError as error:
        raise RuntimeError(f"the test's own stage is wrong: {error}") from error
