"""How far replays are: what was counted, and whether something may have gone uncounted."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from resilience.core.model.decision import Replay
from resilience.core.model.destinations import DeadLetters
from resilience.core.model.observation import Key
from resilience.core.model.probes import RedisKind, RedisPlace
from resilience.core.model.replays import Replayed
from resilience.ports import Batch, PortError, Refused, Unavailable
from resilience.runtime.dead_letters import Replays
from tests.support.factories import NOW

KEY = Key("default", "shop")
PLACE = RedisPlace(RedisKind.STANDALONE, (("redis", 6379),))
LETTERS = DeadLetters(PLACE, stream="jobs", dead_letter="dlq", max_age=timedelta(days=1), batch=10)


@dataclass
class Office:
    """Gives these answers, one after another."""

    answers: list[Batch | PortError] = field(default_factory=list)

    async def replay(self, letters: DeadLetters) -> Batch:
        answer = self.answers.pop(0)
        if isinstance(answer, PortError):
            raise answer
        return answer


async def told(*answers: Batch | PortError, so_far: int = 0, began: timedelta = timedelta()) -> Replayed:
    """What a process that looked first at NOW tells after these answers."""
    replays = Replays(Office(list(answers)), now=lambda: NOW)
    assert replays.of(KEY) == {}
    for _ in answers:
        await replays.run(KEY, Replay("jobs", LETTERS, NOW + began, so_far))
    return replays.of(KEY)["jobs"]


async def test_batches_add_up() -> None:
    found = await told(Batch(10, 5, more=True), Batch(3, 2, more=False))
    assert found == Replayed(NOW, 13, 2, more=False)


async def test_a_lost_answer_is_not_forgotten() -> None:
    lost = await told(Unavailable("no answer"))
    assert (lost.count, lost.more, lost.trouble, lost.uncounted) == (0, True, "no answer", True)
    found = await told(Unavailable("no answer"), Batch(2, 0, more=False))
    assert found == Replayed(NOW, 2, 0, more=False, uncounted=True)


async def test_a_refused_batch_did_not_go_back() -> None:
    assert not (await told(Refused("NOPERM"), Batch(2, 0, more=False))).uncounted


@pytest.mark.parametrize("so_far", [0, 10])
async def test_one_that_another_leader_began(so_far: int) -> None:
    found = await told(Batch(2, 0, more=False), so_far=so_far, began=-timedelta(seconds=1))
    assert (found.count, found.uncounted) == (so_far + 2, True)


async def test_status_keeps_milliseconds_of_when_it_began() -> None:
    assert not (await told(Batch(2, 0, more=False), began=-timedelta(microseconds=999))).uncounted


async def test_what_is_gone_is_forgotten() -> None:
    replays = Replays(Office([Batch(2, 0, more=False)]), now=lambda: NOW)
    replays.of(KEY)
    await replays.run(KEY, Replay("jobs", LETTERS, NOW, 0))
    replays.forget(KEY)
    assert replays.of(KEY) == {}
