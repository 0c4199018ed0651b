"""Names that hang must not take the resolver from everybody: others are still found, and one name costs one look-up."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import pytest

from resilience.adapters.net.address import AddressGuard
from resilience.ports.on_behalf import on_behalf_of
from tests.hostile.support import in_words, loopback_guard, until
from tests.support.preconditions import require

# Threads of the resolver of a pod with two processors.
THREADS: Final = 6
PATIENT: Final = timedelta(seconds=30)
NEIGHBOUR: Final = "redis.shop.svc"


@dataclass(slots=True)
class NameService:
    """Answers at once, but for names of the tarpit: those hang until `over`."""

    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def getaddrinfo(self, host: str, *_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        self.asked.append(host)
        if host.endswith(".tarpit.example"):
            self.over.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    @property
    def hanging(self) -> int:
        return sum(host.endswith(".tarpit.example") for host in self.asked)


@asynccontextmanager
async def name_service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameService]:
    """In place of the system's, for as many threads as a small pod has; at the end what hangs is let go."""
    service = NameService()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max_workers=THREADS))
    monkeypatch.setattr(socket, "getaddrinfo", service.getaddrinfo)
    try:
        yield service
    finally:
        service.over.set()


@asynccontextmanager
async def asking(guard: AddressGuard, hosts: list[str]) -> AsyncIterator[None]:
    """A tenant waits for the addresses of these hosts."""
    with on_behalf_of({"evil"}):
        tasks = [asyncio.create_task(in_words(guard.addresses(host, 6379, timeout=PATIENT))) for host in hosts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_names_that_hang_leave_the_neighbours_name_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = loopback_guard()
    async with name_service(monkeypatch) as service:
        before = await guard.addresses(NEIGHBOUR, 6379, timeout=PATIENT)
        async with asking(guard, [f"x{number}.tarpit.example" for number in range(64)]):
            await until(lambda: service.hanging >= THREADS, seconds=2)
            require(service.hanging > 0, "no name of the tarpit was looked up")
            answer = await in_words(guard.addresses(NEIGHBOUR, 6379, timeout=timedelta(seconds=2)))
    assert answer == str(before)


async def test_a_name_has_one_look_up_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = loopback_guard()
    async with name_service(monkeypatch) as service, asking(guard, ["x.tarpit.example"] * 12):
        await until(lambda: service.hanging > 1, seconds=2)
        require(service.hanging > 0, "the name was not looked up")
        assert service.hanging == 1, f"{service.hanging} threads look up the same name"
