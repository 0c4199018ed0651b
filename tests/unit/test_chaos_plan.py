"""A chaos run can be repeated, and leaves no kind of disturbance out."""

from itertools import islice

from tests.support.chaos_plan import OFFSETS, WRITES, Kind, plan


def test_a_seed_makes_the_same_plan_again() -> None:
    assert list(islice(plan(7), 200)) == list(islice(plan(7), 200))
    assert list(islice(plan(7), 200)) != list(islice(plan(8), 200))


def test_every_kind_comes_in_each_round() -> None:
    made = list(islice(plan(1), 40))
    rounds = [made[begin : begin + len(Kind)] for begin in range(0, len(made), len(Kind))]
    assert all({each.kind for each in some} == set(Kind) for some in rounds)


def test_a_long_run_has_every_write_and_every_step() -> None:
    made = list(islice(plan(1), len(Kind) * len(WRITES) * 2))
    frozen = {(each.write, each.before) for each in made if each.kind is Kind.FROZEN}
    assert frozen == {(write, before) for write in WRITES for before in (True, False)}
    stepped = [each for each in made if each.kind is Kind.STEPPED]
    assert {each.offset for each in stepped} == set(OFFSETS)
    assert {each.seconds > 0 for each in stepped} == {True, False}
    assert {each.gone for each in made if each.kind is Kind.KILLED} == {True, False}
    assert all(0 < each.seconds < 20 for each in made if each.kind is Kind.AWAY)
    assert all(2 <= each.pause <= 8 for each in made)
