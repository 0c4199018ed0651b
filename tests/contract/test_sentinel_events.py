"""What Sentinels announce, with real ones: a flag need not wait for a check to fail often enough."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import pytest

from resilience.adapters.checks.redis import sentinel_events
from resilience.adapters.checks.redis.connections import RedisConnections
from resilience.adapters.checks.redis.sentinel_events import SentinelEvents, event
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.core.model.probes import RedisKind, RedisPlace, SecretRef
from resilience.ports import Unavailable
from resilience.runtime.checking.sentinels import SentinelWatch
from tests.support import redis
from tests.support.host import needs
from tests.support.redis import HOST, Server
from tests.support.secrets import FakeSecrets, no_secrets

pytestmark = needs(redis.PROGRAM)


@dataclass
class Group:
    """A master with a replica, and three Sentinels."""

    master: Server
    replica: Server
    sentinels: list[Server]

    def place(self, *, password: SecretRef | None = None) -> RedisPlace:
        addresses = tuple((HOST, each.port) for each in self.sentinels)
        return RedisPlace(RedisKind.SENTINEL, addresses, master_name="mymaster", sentinel_password=password)


@dataclass
class Heard:
    """What a watch passes on."""

    told: list[tuple[str, str]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def lost(self, place: RedisPlace, reason: str, message: str) -> None:
        self.told.append((reason, message))
        self.news.set()

    async def reasons(self, count: int) -> list[str]:
        async with asyncio.timeout(15):
            while len(self.told) < count:
                self.news.clear()
                await self.news.wait()
        # Three Sentinels tell of it: time for the other two.
        await asyncio.sleep(1)
        return [reason for reason, _ in self.told]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    with ExitStack() as stack:
        master = stack.enter_context(redis.running(tmp_path))
        replica = stack.enter_context(redis.replica(tmp_path, master))
        sentinels = stack.enter_context(redis.sentinels(tmp_path, master, name="mymaster", count=3, quorum=2))
        yield Group(master, replica, sentinels)


def speaking(credentials: Credentials | None = None) -> SentinelEvents:
    guard = AddressGuard(api_server=[], allowed=[ip_network("127.0.0.0/8")])
    return SentinelEvents(connections=RedisConnections(guard=guard, credentials=credentials or no_secrets()))


@asynccontextmanager
async def listening(place: RedisPlace) -> AsyncIterator[Heard]:
    heard = Heard()
    watch = SentinelWatch(sentinels=speaking(), on_lost=heard.lost, monotonic=asyncio.get_running_loop().time)
    watch.sync({"shop": {place}})
    # Until the subscriptions stand.
    await asyncio.sleep(0.5)
    try:
        yield heard
    finally:
        await watch.close()


async def test_a_master_that_dies_is_told_once_each_way(group: Group) -> None:
    async with listening(group.place()) as heard:
        group.master.kill()
        assert await heard.reasons(2) == ["MasterDown", "MasterSwitched"]
    assert heard.told[0][1] == "Sentinels agree that mymaster is down"
    assert f":{group.replica.port} the master instead of" in heard.told[1][1]


async def test_one_sentinel_that_hangs_keeps_nobody_from_hearing(group: Group) -> None:
    with group.sentinels[0].stopped():
        async with listening(group.place()) as heard:
            group.master.kill()
            assert await heard.reasons(2) == ["MasterDown", "MasterSwitched"]


async def test_a_switch_by_hand_is_told(group: Group) -> None:
    async with listening(group.place()) as heard:
        group.sentinels[0].command("SENTINEL", "FAILOVER", "mymaster")
        assert "MasterSwitched" in await heard.reasons(1)


async def test_a_sentinel_that_comes_back_is_heard_again(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    place = RedisPlace(RedisKind.SENTINEL, (group.place().addresses[0],), master_name="mymaster")
    monkeypatch.setattr("resilience.runtime.checking.sentinels._LONGEST_PAUSE", 0.2)
    async with listening(place) as heard:
        group.sentinels[0].kill()
        group.sentinels[0].start()
        await asyncio.sleep(1)
        group.sentinels[1].command("SENTINEL", "FAILOVER", "mymaster")
        assert "MasterSwitched" in await heard.reasons(1)


async def test_one_that_falls_silent_is_given_up(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinel_events, "QUIET", 0.3)
    heard = speaking().listen(group.place(), (HOST, group.sentinels[0].port))
    assert await anext(heard) is None
    # it is there, and says so when it is asked
    assert await anext(heard) is None
    group.sentinels[0].signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            await anext(heard)
    finally:
        group.sentinels[0].signal(signal.SIGCONT)


async def test_a_wrong_password_says_which_secret(tmp_path: Path) -> None:
    with ExitStack() as stack:
        master = stack.enter_context(redis.running(tmp_path))
        options = ("requirepass open",)
        found = redis.sentinels(
            tmp_path, master, name="mymaster", count=1, quorum=1, options=options, client={"password": "open"}
        )
        (sentinel,) = stack.enter_context(found)
        secret = SecretRef("shop", "cache", "sentinel")
        place = Group(master, master, [sentinel]).place(password=secret)
        for value, error in (("open", None), ("shut", "key 'sentinel' of Secret 'cache'")):
            credentials = Credentials(secrets=FakeSecrets({secret: value}), monotonic=lambda: 0.0)
            heard = speaking(credentials).listen(place, place.addresses[0])
            if error is None:
                assert await anext(heard) is None
            else:
                with pytest.raises(Unavailable, match=error):
                    await anext(heard)


@pytest.mark.parametrize(
    "reply",
    [
        [b"message", b"+odown", b"master other 10.0.0.1 6379 #quorum 2/2"],
        [b"message", b"+odown", b"sentinel mymaster 10.0.0.1 6379"],
        [b"message", b"+switch-master", b"mymaster 10.0.0.1 6379 10.0.0.2"],
        [b"message", b"+switch-master", b"mymaster " + b"x" * 9000 + b" 1 2 3"],
        [b"subscribe", b"+odown", 1],
        [b"pong", b""],
        b"+odown",
        17,
        [],
    ],
)
def test_what_says_nothing_of_the_master(reply: object) -> None:
    assert event(reply, master="mymaster") is None  # type: ignore[arg-type]
