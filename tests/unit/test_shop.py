"""The shop example from outside, as the operator and its clients see it: as a process of its own, over HTTP."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.host import needs
from tests.support.load import BackgroundLoad, Load
from tests.support.load_report import Kind
from tests.support.ports import server_port
from tests.support.shop import Shop, catches, end, eventually, launch, listening, refused

ORDER = b'{"order": "7"}'


Start = Callable[..., Shop]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def run(**env: str) -> Shop:
            process = launch(**env)
            stack.callback(end, process)
            shop = listening(process)
            stack.callback(shop.close_clients)
            return shop

        yield run


@pytest.fixture(scope="module")
def running() -> Iterator[Shop]:
    process = launch(VERSION="3", POD_NAME="shop-x")
    shop = listening(process)
    yield shop
    shop.close_clients()
    end(process)


@pytest.fixture
def shop(running: Shop) -> Shop:
    running.close_clients()
    running.admin("DELETE", "/drain")
    assert running.active_becomes(0)
    return running


def test_it_takes_an_order_and_gives_it_back(shop: Shop) -> None:
    written = shop.ask("POST", "/", ORDER)
    assert written.status == 200
    assert written.json == {
        "version": "3",
        "pod": "shop-x",
        "order": "7",
        "value": ORDER.decode(),
        "source": "memory",
    }
    assert shop.ask("GET", "/?order=7").json == written.json
    assert shop.ask("GET", "/?order=8").json["value"] is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"order"])
def test_what_is_no_order_is_refused(shop: Shop, body: bytes) -> None:
    assert shop.ask("POST", "/", body).status == 400


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/api/health"])
def test_it_is_well(shop: Shop, path: str) -> None:
    answer = shop.ask("GET", path)
    assert (answer.status, answer.json["status"]) == (200, "healthy")


def test_open_connections_are_counted_but_not_the_one_that_asks(shop: Shop) -> None:
    first, second = shop.client(), shop.client()
    second.ask("GET", "/livez")
    assert shop.active_becomes(2)
    first.close()
    assert shop.active_becomes(1)
    second.close()
    assert shop.active_becomes(0)


def test_drain_closes_nothing_idle_and_lets_each_client_go_with_its_next_answer(shop: Shop) -> None:
    first, second = shop.client(), shop.client()
    assert not first.ask("POST", "/", ORDER).close
    assert not second.ask("POST", "/", ORDER).close
    for _ in range(2):
        assert shop.admin("POST", "/drain") == {"active": 2, "draining": True}

    last = first.ask("POST", "/", ORDER)
    assert (last.status, last.close) == (200, True)
    assert shop.active_becomes(1), "the server closes what it said it would"
    assert second.ask("GET", "/nowhere").close, "errors announce it, too"
    assert shop.active_becomes(0)


def test_a_drain_can_be_taken_back(shop: Shop) -> None:
    client = shop.client()
    client.ask("POST", "/", ORDER)
    shop.admin("POST", "/drain")
    for _ in range(2):
        assert shop.admin("DELETE", "/drain") == {"active": 1, "draining": False}
    assert not client.ask("POST", "/", ORDER).close
    assert shop.active_becomes(1)


def test_a_drain_under_load_loses_nothing(shop: Shop) -> None:
    with BackgroundLoad(load=Load(url=f"http://127.0.0.1:{shop.port}/", kept=5, new=5, rate_per_worker=50)) as load:
        time.sleep(0.1)
        shop.admin("POST", "/drain")
        time.sleep(0.2)
        result = load.stop()
    assert result.failed == 0, result.failures
    assert result.kept.reconnects >= 5


def test_failing_on_purpose(start: Start, tmp_path: Path) -> None:
    fail_file = tmp_path / "fail"
    shop = start(FAIL_HEALTH="1", BIG_HEALTH="1", FAIL_FILE=str(fail_file), LEAK_MB_PER_MINUTE="6000")
    assert shop.ask("GET", "/api/health").status == 503
    assert shop.ask("GET", "/livez").status == 200
    assert len(shop.ask("GET", "/readyz").body) == 10 * 1024 * 1024
    fail_file.touch()
    assert shop.ask("GET", "/readyz").status == 503
    fail_file.unlink()
    assert shop.ask("GET", "/readyz").status == 200
    pages = int(Path(f"/proc/{shop.process.pid}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") > 100 * 1024 * 1024


def test_unhealthy_after_some_orders(start: Start) -> None:
    shop = start(FAIL_HEALTH_AFTER="2")
    for status in (200, 200, 503, 503):
        health = shop.ask("GET", "/api/health")
        assert health.status == status
        assert shop.ask("POST", "/", ORDER).status == 200
    components = health.json["components"]
    assert isinstance(components, dict)
    assert components["orders"]["status"] == "unhealthy"
    assert shop.ask("GET", "/readyz").status == 200


def test_failing_after_some_orders(start: Start) -> None:
    shop = start(FAIL_ORDERS_AFTER="2")
    shop.ask("POST", "/", b"no order")
    assert [shop.ask("POST", "/", ORDER).status for _ in range(4)] == [200, 200, 500, 500]
    assert shop.ask("GET", "/?order=7").status == 200
    assert shop.ask("GET", "/api/health").status == 200


@pytest.mark.parametrize("name", ["FAIL_HEALTH_AFTER", "FAIL_ORDERS_AFTER"])
def test_failing_from_the_first_order_is_not_the_same_as_never(start: Start, name: str) -> None:
    shop = start(**{name: "0"})
    assert {shop.ask("GET", "/api/health").status, shop.ask("POST", "/", ORDER).status} > {200}


def test_crashing_on_purpose() -> None:
    began = time.monotonic()
    with launch(CRASH="1") as process:
        said, _ = process.communicate(timeout=5)
    assert (process.returncode, said) == (1, "fatal: no database configured\n")
    assert time.monotonic() - began >= 0.2


def test_unready_on_purpose(start: Start) -> None:
    shop = start(FAIL_READY="1")
    assert shop.ask("GET", "/readyz").status == 503
    assert shop.ask("GET", "/livez").status == 200


def test_hanging_on_purpose_and_a_client_that_left_is_not_counted(start: Start) -> None:
    shop = start(HANG="1")
    clients = [shop.client() for _ in range(3)]
    for client, path in zip(clients, ("/livez", "/readyz", "/api/health"), strict=True):
        client.begin("GET", path)
    assert shop.active_becomes(3)
    assert shop.ask("POST", "/", ORDER).status == 200
    for client in clients:
        client.close()
    assert shop.active_becomes(0)


def test_a_redis_that_is_not_there_costs_no_order(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        shop = start(REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        written = shop.ask("POST", "/", ORDER)
        assert (written.status, written.json["source"]) == (200, "memory")
        began = time.monotonic()
        assert shop.ask("GET", "/?order=7").json["value"] == ORDER.decode()
        assert time.monotonic() - began < 0.3, "it does not wait for Redis again at once"
        health = shop.ask("GET", "/api/health")
        assert time.monotonic() - began < 2.5
    assert (health.status, health.json["status"]) == (200, "degraded")
    components = health.json["components"]
    assert isinstance(components, dict)
    assert components["redis"]["status"] == "degraded"
    assert components["redis"]["message"]
    assert components["redis"]["duration"].endswith("ms")
    assert shop.ask("GET", "/readyz").status == 200
    assert shop.ask("GET", "/livez").status == 200


def test_a_shop_that_cannot_do_without_redis_says_so(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        shop = start(REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0", REDIS_REQUIRED="1")
        assert shop.ask("GET", "/api/health").status == 503
        assert shop.ask("GET", "/readyz").status == 503
        assert shop.ask("GET", "/livez").status == 200


@needs("redis-server")
def test_orders_come_from_redis_until_it_is_lost(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as redis:
        assert eventually(path.exists)
        shop = start(REDIS_URL=f"unix://{path}")
        assert shop.ask("POST", "/", ORDER).json["source"] == "redis"
        assert shop.ask("GET", "/?order=7").json["source"] == "redis"
        assert shop.ask("GET", "/api/health").status == 200
        redis.kill()
    lost = shop.ask("GET", "/?order=7")
    assert (lost.status, lost.json["source"], lost.json["value"]) == (200, "memory", ORDER.decode())
    assert shop.ask("GET", "/api/health").json["status"] == "degraded"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as redis:
        assert eventually(lambda: shop.ask("POST", "/", ORDER).json["source"] == "redis")
        redis.kill()


def test_sigterm_finishes_what_is_in_flight_and_lets_idle_clients_go(start: Start) -> None:
    shop = start(RESPONSE_DELAY_MS="300")
    busy, idle = shop.client(), shop.client()
    idle.ask("GET", "/livez")
    busy.begin("POST", "/", ORDER)
    assert shop.active_becomes(2)
    shop.process.send_signal(signal.SIGTERM)
    assert eventually(lambda: refused(shop.port))
    assert idle.ask("GET", "/livez").close, "an idle connection is still served, and let go"
    answer = busy.end()
    assert (answer.status, answer.close) == (200, True)
    assert shop.process.wait(timeout=5) == 0


def test_sigterm_under_load_loses_nothing_on_kept_connections(start: Start) -> None:
    shop = start()
    with BackgroundLoad(load=Load(url=f"http://127.0.0.1:{shop.port}/", kept=5, new=0, rate_per_worker=50)) as load:
        assert shop.active_becomes(5)
        shop.process.send_signal(signal.SIGTERM)
        assert shop.process.wait(timeout=5) == 0
        result = load.stop()
    assert set(result.kept.kinds) <= {Kind.CONNECT}, result.failures


def test_it_can_exit_at_once_on_sigterm(start: Start) -> None:
    shop = start(EXIT_ON_SIGTERM="1", RESPONSE_DELAY_MS="2000")
    client = shop.client()
    client.begin("POST", "/", ORDER)
    assert shop.active_becomes(1)
    began = time.monotonic()
    shop.process.send_signal(signal.SIGTERM)
    assert shop.process.wait(timeout=1) == 0
    assert time.monotonic() - began < 0.5
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        client.end()


def test_it_can_be_slow_to_start_and_is_still_quick_to_end() -> None:
    port = server_port()
    with launch(START_DELAY="60", PORT=str(port)) as process:
        assert eventually(lambda: catches(process, number=signal.SIGTERM))
        assert refused(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
