"""Storm control's rule: never more than the caps, lower numbers first, and a turn for everybody."""

import os
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.core.model.observation import Key, Ticket
from resilience.core.restarts.fair_queue import USUAL, Caps, turns
from tests.support.factories import NOW

CAPS = Caps(cluster=3, namespace=2)


def key(text: str) -> Key:
    """`shop/a`, or `a` in the namespace shop."""
    namespace, _, name = text.rpartition("/")
    return Key(namespace or "shop", name)


def ticket(text: str, priority: int = 100, since: int = 0) -> Ticket:
    return Ticket(key(text), priority, NOW + timedelta(seconds=since))


def granted(waiting: list[Ticket], running: str = "", served: str = "", caps: Caps = CAPS) -> list[str]:
    found = turns(waiting, [key(each) for each in running.split()], caps, served={key(each) for each in served.split()})
    assert set(found) == {each.key for each in waiting}
    return [each.name for each, turn in found.items() if turn.granted]


@pytest.mark.parametrize(
    ("waiting", "running", "served", "expected"),
    [
        ([ticket("a"), ticket("x/b")], "", "", ["a", "b"]),
        # The caps: of the namespace, then of the cluster; what runs counts.
        ([ticket("a"), ticket("b"), ticket("c")], "", "", ["a", "b"]),
        ([ticket("a"), ticket("b")], "z", "", ["a"]),
        ([ticket("a"), ticket("x/b")], "y z", "", ["b"]),
        ([ticket("a"), ticket("x/b"), ticket("y/c")], "z/1 z/2", "", ["a"]),
        ([ticket("a")], "x/1 y/2 z/3", "", []),
        # The order: the number, then who waits longest.
        ([ticket("a", 5), ticket("b", 4), ticket("c", 3)], "z", "", ["c"]),
        ([ticket("a", since=2), ticket("b", since=1)], "z", "", ["b"]),
        ([ticket("a", 5, since=1), ticket("b", 4, since=2)], "z", "", ["b"]),
        # Who is kept back by its namespace keeps back nobody elsewhere.
        ([ticket("a", 1), ticket("x/b", 2)], "y z", "", ["b"]),
        # Who has had a turn lets the others go before.
        ([ticket("a", 1), ticket("b", 9)], "z", "a", ["b"]),
        ([ticket("a", 1), ticket("b", 9)], "z", "a b", ["a"]),
    ],
)
def test_who_may_begin(waiting: list[Ticket], running: str, served: str, expected: list[str]) -> None:
    assert granted(waiting, running, served) == expected


def test_those_who_wait_know_how_many_go_before_and_about_how_long_it_takes() -> None:
    waiting = [ticket(f"{'x' if number % 3 == 2 else 'shop'}/s{number}", since=number) for number in range(9)]

    found = turns(waiting, [key("shop/r"), key("shop/q"), key("x/p")], CAPS, usual=timedelta(seconds=40))

    assert [turn.granted for turn in found.values()] == [False] * 9
    assert [turn.ahead for turn in found.values()] == list(range(9))
    rounds = [turn.expected / timedelta(seconds=40) for turn in found.values() if turn.expected]
    # Three at once in the cluster, and two in a namespace.
    assert rounds == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    alone = turns([ticket(f"a{number}") for number in range(5)], [key("r"), key("q")], Caps(9, 2))
    assert [turn.expected for turn in alone.values()] == [USUAL, USUAL, 2 * USUAL, 2 * USUAL, 3 * USUAL]


KEYS = st.builds(Key, st.sampled_from("abc"), st.sampled_from([f"s{number}" for number in range(6)]))
TICKETS = st.lists(
    st.builds(lambda each, priority, since: Ticket(each, priority, NOW + timedelta(seconds=since)),
              KEYS, st.integers(0, 3), st.integers(0, 9)),
    unique_by=lambda each: each.key, max_size=18,
)  # fmt: skip


@settings(max_examples=2000 if os.environ.get("PROOF") else 100, deadline=None, database=None)
@given(waiting=TICKETS, running=st.sets(KEYS, max_size=8), caps=st.builds(Caps, st.integers(1, 5), st.integers(1, 3)))
def test_never_more_than_the_caps_and_nobody_is_kept_back_without_need(
    waiting: list[Ticket], running: set[Key], caps: Caps
) -> None:
    waiting = [each for each in waiting if each.key not in running]

    found = turns(waiting, running, caps)

    begun = [each for each, turn in found.items() if turn.granted]
    after = [*running, *begun]
    full = {name for name in "abc" if sum(each.namespace == name for each in after) >= caps.namespace}
    if begun:
        assert len(after) <= caps.cluster
        assert all(
            sum(each.namespace == name for each in after) <= caps.namespace
            for name in {each.namespace for each in begun}
        )
    for each in waiting:
        if not found[each.key].granted:
            assert len(after) >= caps.cluster or each.key.namespace in full
            # Whoever of the same namespace has begun was not behind it.
            rank = (each.priority, each.since)
            assert all(
                (other.priority, other.since) <= rank
                for other in waiting
                if found[other.key].granted and other.key.namespace == each.key.namespace
            )
