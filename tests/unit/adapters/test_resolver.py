"""The system's resolver: a failure is remembered for a moment, an answer is not."""

import socket
from dataclasses import dataclass, field

import pytest

from resilience.adapters.net import resolver
from resilience.adapters.net.resolver import SystemResolver

Info = tuple[int, int, int, str, tuple[str, int]]


@dataclass(slots=True)
class NameService:
    error: OSError | None = None
    asked: list[str] = field(default_factory=list)

    def getaddrinfo(self, host: str, *_: object, **__: object) -> list[Info]:
        self.asked.append(host)
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 0))]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> NameService:
    made = NameService()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    return made


async def test_an_answer_is_asked_for_each_time(service: NameService) -> None:
    resolve = SystemResolver()
    assert [list(await resolve("redis.shop.svc")) for _ in range(3)] == [["10.0.0.7"]] * 3
    assert len(service.asked) == 3


async def test_that_a_name_does_not_exist_is_asked_for_each_time(service: NameService) -> None:
    """One answer must not count as several failed runs of a check."""
    service.error, resolve = socket.gaierror(socket.EAI_NONAME, "no such name"), SystemResolver()
    for _ in range(3):
        with pytest.raises(socket.gaierror):
            await resolve("redis.shop.svc")
    assert len(service.asked) == 3


@pytest.mark.parametrize("number", [socket.EAI_AGAIN, socket.EAI_FAIL])
async def test_a_failure_is_the_answer_for_a_moment(
    service: NameService, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    service.error, resolve = socket.gaierror(number, "it failed"), SystemResolver()
    for _ in range(3):
        with pytest.raises(socket.gaierror) as failure:
            await resolve("redis.shop.svc")
        assert failure.value.errno == number
    assert len(service.asked) == 1
    # Of this name only.
    with pytest.raises(socket.gaierror):
        await resolve("other.shop.svc")
    assert service.asked == ["redis.shop.svc", "other.shop.svc"]
    monkeypatch.setattr(resolver, "FAILURE_KEPT", -1.0)
    resolve, service.error = SystemResolver(), service.error
    with pytest.raises(socket.gaierror):
        await resolve("redis.shop.svc")
    service.error = None
    assert list(await resolve("redis.shop.svc")) == ["10.0.0.7"]
