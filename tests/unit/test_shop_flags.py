"""The shop under its degradation flag: it does without Redis while the flag is on, and fills it again afterwards."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resilience.core.model import flags
from resilience.core.model.flags import Publication, PublishedFlag
from tests.support import redis
from tests.support.factories import NOW
from tests.support.host import needs
from tests.support.redis import Server, until
from tests.support.shop import Shop, started

pytestmark = needs("redis-server")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Server]:
    with redis.running(tmp_path) as server:
        yield server


def say(file: Path, *, on: bool, version: int) -> None:
    flag = PublishedFlag("redis-degraded", on, "memory", "", NOW)
    data = flags.config_map_data(Publication("shop", "shop", version, NOW, (flag,)))
    # As the kubelet does it: the file is there as a whole or not at all.
    new = file.with_suffix(".new")
    new.write_text(data[flags.FILE])
    new.rename(file)


def told(shop: Shop) -> dict[str, object]:
    return shop.admin("GET", "/api/cache")


def degraded(shop: Shop, value: bool) -> Callable[[], bool]:
    return lambda: told(shop)["degraded"] is value


def order(shop: Shop, number: int) -> object:
    answer = shop.ask("POST", "/", f'{{"order": "{number}"}}'.encode())
    assert answer.status == 200, answer
    return answer.json["source"]


def test_it_works_from_memory_while_the_flag_is_on_and_fills_redis_afterwards(cache: Server, tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    env = {"REDIS_URL": f"redis://127.0.0.1:{cache.port}", "FLAGS_SOURCE": "file", "FLAGS_FILE": str(file)}
    with started(**env) as shop:
        # the file comes with the ConfigMap, which may be later than the pod
        assert order(shop, 1) == "redis"
        assert told(shop)["degraded"] is False
        say(file, on=True, version=2)
        until(degraded(shop, True), what="the flag")
        assert told(shop)["version"] == "2"
        assert order(shop, 2) == "memory"
        assert shop.ask("GET", "/?order=2").json["source"] == "memory"
        assert cache.command("GET", "order:2") is None
        say(file, on=False, version=3)
        until(degraded(shop, False), what="the end of the flag")
        until(lambda: told(shop)["refilled"] == 2, what="a Redis that is full again")
        assert cache.command("GET", "order:2") is not None
        assert shop.ask("GET", "/?order=2").json["source"] == "redis"


def test_the_limiter_is_shared_and_fails_open(cache: Server) -> None:
    env = {"REDIS_URL": f"redis://127.0.0.1:{cache.port}", "ORDERS_PER_SECOND": "5"}
    with started(**env) as shop:
        statuses = [shop.ask("POST", "/", b'{"order": "1"}').status for _ in range(40)]
        assert statuses.count(429) >= 10
        assert cache.command("KEYS", "orders:*")
        cache.kill()
        # in the next second it counts by itself, as strictly
        time.sleep(1.1)
        assert {shop.ask("POST", "/", b'{"order": "1"}').status for _ in range(40)} == {200, 429}


def test_the_master_is_found_through_sentinel_after_a_fail_over(tmp_path: Path) -> None:
    with (
        redis.running(tmp_path) as master,
        redis.replica(tmp_path, master) as second,
        redis.sentinels(tmp_path, master, name="mymaster", count=3, quorum=2) as sentinels,
    ):
        addresses = ",".join(f"127.0.0.1:{each.port}" for each in sentinels)
        with started(REDIS_SENTINELS=addresses) as shop:
            assert order(shop, 1) == "redis"
            master.kill()
            assert order(shop, 2) == "memory"
            until(lambda: order(shop, 3) == "redis", what="the new master")
            assert second.command("GET", "order:3") is not None
