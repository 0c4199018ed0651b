"""The dns check, by the resolver that the guard of addresses asks."""

import asyncio
import socket
from collections.abc import Sequence
from datetime import timedelta

import pytest

from resilience.adapters.checks.dns_check import check_dns
from resilience.adapters.net.address import AddressGuard, Resolve
from resilience.adapters.net.failures import NetworkFailure
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import DnsProbe
from resilience.ports import Refused

TIMEOUT = timedelta(milliseconds=200)


def answering(*addresses: str) -> Resolve:
    async def resolve(host: str) -> Sequence[str]:
        return addresses

    return resolve


def raising(error: Exception) -> Resolve:
    async def resolve(host: str) -> Sequence[str]:
        raise error

    return resolve


async def run(probe: DnsProbe, resolve: Resolve) -> CheckResult:
    return await check_dns(probe, guard_resolve=AddressGuard(resolve=resolve).resolve, timeout=TIMEOUT)


@pytest.mark.parametrize(
    ("addresses", "least", "outcome", "reason", "message"),
    [
        (["10.0.0.1"], 1, Outcome.PASS, "Resolved", "db.shop has 1 address"),
        (["10.0.0.1", "10.0.0.2"], 2, Outcome.PASS, "Resolved", "db.shop has 2 addresses"),
        (["10.0.0.1", "fd00::1"], 2, Outcome.PASS, "Resolved", "db.shop has 2 addresses"),
        (["10.0.0.1"], 2, Outcome.FAIL, "TooFewAddresses", "db.shop has 1 address, fewer than 2"),
        (["10.0.0.1", "10.0.0.1"], 2, Outcome.FAIL, "TooFewAddresses", "db.shop has 1 address, fewer than 2"),
        (["10.0.0.1", "10.0.0.2"], 3, Outcome.FAIL, "TooFewAddresses", "db.shop has 2 addresses, fewer than 3"),
    ],
)
async def test_addresses_are_counted(
    addresses: list[str], least: int, outcome: Outcome, reason: str, message: str
) -> None:
    result = await run(DnsProbe("db.shop", least), answering(*addresses))
    assert (result.outcome, result.reason, result.message) == (outcome, reason, message)
    assert result.latency_seconds is not None and 0 <= result.latency_seconds < 0.2


async def test_addresses_that_may_not_be_spoken_to_count_too() -> None:
    # Nothing is sent there.
    assert (await run(DnsProbe("db", 2), answering("127.0.0.1", "169.254.169.254"))).outcome is Outcome.PASS


@pytest.mark.parametrize("literal", ["10.0.0.1", "127.0.0.1", "fd00::1"])
async def test_an_address_is_its_own_and_nobody_is_asked(literal: str) -> None:
    result = await run(DnsProbe(literal, 1), raising(AssertionError("asked")))
    assert (result.outcome, result.message) == (Outcome.PASS, f"{literal} has 1 address")


@pytest.mark.parametrize(
    ("resolve", "reason", "own"),
    [
        (raising(socket.gaierror(socket.EAI_NONAME, "")), "NameNotFound", False),
        (answering(), "NameNotFound", False),
        (raising(socket.gaierror(socket.EAI_AGAIN, "")), "NameServiceFailed", True),
        (raising(socket.gaierror(socket.EAI_FAIL, "")), "NameServiceFailed", True),
        (raising(OSError(24, "Too many open files")), "NameServiceFailed", True),
    ],
)
async def test_failures(resolve: Resolve, reason: str, own: bool) -> None:
    with pytest.raises(NetworkFailure) as failed:
        await run(DnsProbe("db.shop", 1), resolve)
    assert (failed.value.reason, failed.value.own) == (reason, own)


async def test_a_name_service_that_hangs_is_not_waited_for() -> None:
    async def hanging(host: str) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(NetworkFailure) as failed:
        await run(DnsProbe("db.shop", 1), hanging)
    assert (failed.value.reason, failed.value.own) == ("NameServiceFailed", True)
    assert 0.19 < loop.time() - began < 2


@pytest.mark.parametrize("name", ["no name", "a/b", ""])
async def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        await run(DnsProbe(name, 1), raising(AssertionError("asked")))


async def test_the_systems_resolver() -> None:
    # Every system has this name in a file.
    result = await check_dns(
        DnsProbe("localhost", 1), guard_resolve=AddressGuard().resolve, timeout=timedelta(seconds=5)
    )
    assert result.outcome is Outcome.PASS, result
