"""Reads of Secrets for checks: one at a time, and none in every run because a server refuses or a Secret is missing."""

import asyncio
from dataclasses import dataclass, field

import pytest

from resilience.adapters.net.credentials import Credentials
from resilience.core.model.probes import SecretRef
from resilience.ports import Invalid, Unavailable
from tests.support.secrets import FakeSecrets

REF = SecretRef("shop", "login", "password")


@dataclass(slots=True)
class Bench:
    secrets: FakeSecrets = field(default_factory=lambda: FakeSecrets({REF: "a"}))
    now: float = 0.0
    credentials: Credentials = field(init=False)

    def __post_init__(self) -> None:
        self.credentials = Credentials(self.secrets, monotonic=lambda: self.now)

    async def read(self, *, at: float, fresh: bool = False) -> str:
        self.now = at
        return await self.credentials.value(REF, fresh=fresh)


async def test_a_rotated_value_is_seen_at_once_and_again_after_ten_seconds() -> None:
    bench = Bench()
    assert await bench.read(at=0) == "a"
    bench.secrets.values[REF] = "b"
    assert [await bench.read(at=1), await bench.read(at=1, fresh=True)] == ["a", "b"]
    bench.secrets.values[REF] = "c"
    assert [await bench.read(at=10, fresh=True), await bench.read(at=11, fresh=True)] == ["b", "c"]
    assert bench.secrets.reads == 3


@pytest.mark.parametrize("refuses", [True, False], ids=["not labelled", "no such key"])
async def test_a_secret_that_cannot_be_read_is_tried_again_after_ten_seconds(refuses: bool) -> None:
    class Missing(FakeSecrets):
        async def read(self, *, namespace: str, name: str, key: str) -> str:
            self.reads += 1
            raise Invalid("Secret login has no key password")

    bench = Bench(FakeSecrets({REF: "a"}, refuses=True) if refuses else Missing())
    for second in range(20):
        with pytest.raises(Invalid, match="labelled" if refuses else "no key"):
            await bench.read(at=second)
    assert bench.secrets.reads == 2
    if refuses:
        bench.secrets.refuses = False
        assert await bench.read(at=20) == "a"


async def test_no_answer_is_not_kept() -> None:
    class Away(FakeSecrets):
        async def read(self, *, namespace: str, name: str, key: str) -> str:
            self.reads += 1
            raise Unavailable("no answer")

    bench = Bench(Away())
    for _ in range(3):
        with pytest.raises(Unavailable):
            await bench.read(at=0)
    assert bench.secrets.reads == 3


async def test_many_checks_share_one_read_and_one_that_gives_up_takes_it_from_nobody() -> None:
    bench = Bench(FakeSecrets({REF: "a"}, delay=0.05))
    tasks = [asyncio.create_task(bench.read(at=0)) for _ in range(10)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == ["a"] * 9
    assert bench.secrets.reads == 1


async def test_secrets_that_nobody_asks_for_are_not_kept() -> None:
    other = SecretRef("gone", "login", "password")
    bench = Bench(FakeSecrets({REF: "a", other: "b"}))
    await bench.credentials.value(other)
    await bench.read(at=601)
    assert other not in bench.credentials._known
