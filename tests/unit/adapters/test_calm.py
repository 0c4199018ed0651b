"""After an outage of the API server: how long nodes are given to catch up."""

from datetime import timedelta

from resilience.adapters.kube.api_outage import LONGEST, KubeApiOutage


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def calm() -> tuple[KubeApiOutage, Time]:
    time = Time()
    return KubeApiOutage(monotonic=time), time


def test_it_is_calm_from_the_start_and_while_all_is_answered() -> None:
    found, time = calm()
    for _ in range(3):
        time.now += 10
        found.answered(True)
    assert found.left() == timedelta()


def test_after_an_outage_it_takes_three_times_as_long() -> None:
    found, time = calm()
    found.answered(True)
    time.now += 4
    found.answered(False)
    time.now += 1
    found.answered(True)
    assert found.left() == timedelta(seconds=15)
    time.now += 15
    assert found.left() == timedelta()


def test_but_never_longer_than_the_back_off_lasts() -> None:
    found, _time = calm()
    found.was_away(3600)
    assert found.left() == timedelta(seconds=LONGEST)


def test_a_shorter_outage_does_not_end_the_wait_for_a_longer_one() -> None:
    found, _time = calm()
    found.was_away(20)
    found.was_away(1)
    assert found.left() == timedelta(seconds=60)
