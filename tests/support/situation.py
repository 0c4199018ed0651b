"""Describes the state after a failed test. Must never raise: a lost cluster is the test's failure, not pytest's."""

from collections.abc import Callable


def gathered(gather: Callable[[], str]) -> str:
    """The text, or the reason why there is none."""
    try:
        return gather()
    except Exception as error:  # any error that a lost cluster causes in a client
        return f"could not be gathered: {type(error).__name__}: {error}"
