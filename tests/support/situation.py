"""Describes what a failed test left behind. Must never raise: a lost cluster is the test's failure, not pytest's."""

from collections.abc import Callable


def gathered(gather: Callable[[], str]) -> str:
    """The text, or why there is none."""
    try:
        return gather()
    except Exception as error:  # whatever a cluster that is gone makes a client raise
        return f"could not be gathered: {type(error).__name__}: {error}"
