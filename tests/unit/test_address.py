"""Which addresses may be spoken to."""

import asyncio
import socket
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.failures import NetworkFailure
from resilience.ports import Refused
from tests.support.virtual_time import run_virtual

SECOND = timedelta(seconds=1)


async def ask(guard: AddressGuard, host: str, port: int = 80) -> list[str]:
    return [address.ip for address in await guard.addresses(host, port, timeout=SECOND)]


def guard_for(*answers: str, allowed: tuple[str, ...] = (), refused: tuple[str, ...] = ()) -> AddressGuard:
    async def resolve(host: str) -> tuple[str, ...]:
        return answers

    return AddressGuard(
        api_server=[ip_address("10.96.0.1"), ip_address("fd00::1")],
        refused=[ip_network(each) for each in refused],
        allowed=[ip_network(each) for each in allowed],
        resolve=resolve,
    )


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.9.10", "loopback"),
        ("::1", "loopback"),
        ("[::1]", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b:1::7f00:1", "loopback"),
        # IPv4-compatible, SIIT, Teredo (its server, its client in the complement), ISATAP in either form.
        ("::127.0.0.1", "loopback"),
        ("::ffff:0:127.0.0.1", "loopback"),
        ("2001:0:7f00:1::", "loopback"),
        ("2001:0:808:808::5601:5601", "link-local"),
        ("2a00::5efe:169.254.169.254", "link-local"),
        ("2a00::200:5efe:127.0.0.1", "loopback"),
        ("fe80::5efe:8.8.8.8", "link-local"),
        ("169.254.169.254", "link-local"),
        ("169.254.0.1", "link-local"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "reserved"),
        ("10.96.0.1", "API server"),
        ("::ffff:10.96.0.1", "API server"),
        ("fd00::1", "API server"),
        ("100.100.100.200", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("192.168.7.7", "settings refuse"),
        ("::ffff:192.168.7.7", "settings refuse"),
        ("2001:db8::7", "settings refuse"),
    ],
)
async def test_refused(host: str, words: str) -> None:
    refused = ("192.168.0.0/16", "2001:db8::/32")
    with pytest.raises(Refused, match=words):
        await ask(guard_for(refused=refused), host)
    if not host.startswith("["):
        with pytest.raises(Refused, match=words):
            await ask(guard_for(host, refused=refused), "web.shop.svc")


@pytest.mark.parametrize(
    "host",
    [
        *("10.1.2.3", "172.16.0.9", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd00::2", "2a00::1"),
        *("2002:808:808::1", "2a00::5efe:808:808"),
    ],
)
async def test_permitted(host: str) -> None:
    assert await ask(guard_for(), host) == [host]
    assert await ask(guard_for(host), "web.shop.svc") == [host]


async def test_an_allowed_network_overrides() -> None:
    guard = guard_for(allowed=("127.0.0.0/8", "10.96.0.0/16", "169.254.20.10/32"), refused=("10.0.0.0/8",))
    for host in ("127.0.0.1", "10.96.0.1", "169.254.20.10"):
        assert await ask(guard, host) == [host]
    for host in ("169.254.169.254", "10.1.0.1"):
        with pytest.raises(Refused):
            await ask(guard, host)


async def test_only_the_permitted_addresses_of_a_name_are_given() -> None:
    assert await ask(guard_for("127.0.0.1", "10.1.1.1", "fe80::1", "10.1.1.2"), "web") == ["10.1.1.1", "10.1.1.2"]


async def test_the_refusal_is_a_sentence() -> None:
    with pytest.raises(Refused) as refused:
        await ask(guard_for("127.0.0.1", "::1"), "localhost")
    assert str(refused.value) == (
        "the operator does not speak to 'localhost': 127.0.0.1 is a loopback address; ::1 is a loopback address; "
        "its settings can allow the network if that is wanted"
    )


@pytest.mark.parametrize("host", ["", "a b", "a/b", "user@10.0.0.1", "a#b", "a?b", "a:b", "a\nb", "ä.de", "x" * 300])
async def test_what_is_not_a_host_is_refused(host: str) -> None:
    with pytest.raises(Refused, match="not a host name"):
        await ask(guard_for("10.0.0.1"), host)


async def test_a_scope_hides_no_address() -> None:
    guard = guard_for("fd00:ec2::254%1")
    for host in ("fd00:ec2::254%1", "[fd00:ec2::254%eth0]", "web"):
        with pytest.raises(Refused, match="a cloud metadata service"):
            await ask(guard, host)
    with pytest.raises(Refused, match="the API server"):
        await ask(guard, "fd00::1%1")


@pytest.mark.parametrize("port", [-1, 0, 65536, 10**9])
async def test_ports(port: int) -> None:
    with pytest.raises(Refused, match="not a port"):
        await ask(guard_for(), "10.0.0.1", port)


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost"])
async def test_odd_ways_to_write_loopback_with_the_real_resolver(host: str) -> None:
    with pytest.raises((Refused, NetworkFailure)):
        await ask(AddressGuard(), host)


async def test_a_name_without_addresses() -> None:
    with pytest.raises(NetworkFailure) as failed:
        await ask(guard_for(), "web")
    assert (failed.value.reason, failed.value.own) == ("NameNotFound", False)


@given(st.ip_addresses(v=4))
async def test_wrapping_an_address_never_helps(inner: object) -> None:
    async def verdict(host: str) -> bool:
        try:
            await ask(guard_for(), host)
        except Refused:
            return False
        return True

    plain = await verdict(str(inner))
    assert await verdict(f"::ffff:{inner}") == plain
    assert await verdict(f"64:ff9b::{inner}") == plain


class NameService:
    """Answers with `addresses`, or fails with `error`."""

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ("10.0.0.7",)
        self.error: OSError | None = None

    async def __call__(self, host: str) -> tuple[str, ...]:
        if self.error is not None:
            raise self.error
        return self.addresses


async def stale(guard: AddressGuard, host: str = "redis.shop.svc") -> list[str]:
    return [address.ip for address in await guard.addresses(host, 80, timeout=SECOND, stale=True)]


async def of_a_minute(service: NameService, waits: list[float], answers: list[object]) -> None:
    """Asks once while the name service answers, and then after each wait while it does not."""
    guard = AddressGuard(resolve=service)
    answers.append(await stale(guard))
    service.error = socket.gaierror(socket.EAI_AGAIN, "try again")
    for seconds in waits:
        await asyncio.sleep(seconds)
        try:
            answers.append(await stale(guard))
        except NetworkFailure as failure:
            answers.append(failure.reason)


def test_an_answer_stands_in_for_half_a_minute() -> None:
    answers: list[object] = []
    run_virtual(of_a_minute(NameService(), [0, 29, 2], answers))
    assert answers == [["10.0.0.7"]] * 3 + ["NameServiceFailed"]


async def test_an_old_answer_is_for_those_only_who_want_one() -> None:
    service = NameService()
    guard = AddressGuard(resolve=service)
    await ask(guard, "redis.shop.svc")
    service.error = socket.gaierror(socket.EAI_AGAIN, "try again")
    assert await stale(guard) == ["10.0.0.7"]
    for other in (ask(guard, "redis.shop.svc"), stale(guard, "other.shop.svc")):
        with pytest.raises(NetworkFailure, match="could not resolve"):
            await other
    with pytest.raises(NetworkFailure, match="could not resolve"):
        await guard.resolve("redis.shop.svc", timeout=SECOND)


async def test_a_name_that_is_gone_has_no_old_answer() -> None:
    service = NameService()
    guard = AddressGuard(resolve=service)
    await stale(guard)
    service.error = socket.gaierror(socket.EAI_NONAME, "no such name")
    with pytest.raises(NetworkFailure, match="does not exist"):
        await stale(guard)


async def test_an_old_answer_is_judged_as_a_new_one() -> None:
    service = NameService()
    service.addresses = ("169.254.169.254",)
    guard = AddressGuard(resolve=service)
    await guard.resolve("redis.shop.svc", timeout=SECOND)
    service.error = socket.gaierror(socket.EAI_AGAIN, "try again")
    with pytest.raises(Refused, match="link-local"):
        await stale(guard)
