"""A report of a failure can always be written, and what is wrong with a test's surroundings is said in it."""

import pytest
import requests

from tests.support.situation import gathered


def test_what_is_there_is_told() -> None:
    assert gathered(lambda: "two pods") == "two pods"


@pytest.mark.parametrize("error", [requests.ConnectionError("refused"), AssertionError("kubectl failed"), OSError(111)])
def test_a_lost_cluster_is_named_instead(error: Exception) -> None:
    def gather() -> str:
        raise error

    assert type(error).__name__ in gathered(gather)


def test_an_interrupt_is_no_part_of_a_report() -> None:
    def gather() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gathered(gather)
