"""Our requests at a real Django application with ALLOWED_HOSTS: checks, gates, measuring requests, drain signals."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import pytest

from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.drain import HttpDrainer, HttpProber
from resilience.core.health import targets
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import NetworkProbe
from resilience.ports import Refused, Unavailable
from tests.cluster.images import DJANGO
from tests.support.factories import make_pod, make_spec
from tests.support.secrets import no_secrets
from tests.support.stages import running
from tests.variety.test_host_headers import OWN_NAME, TIMEOUT, around, checks, client

SERVICE_NAME: Final = "checkout.shop.svc"


@contextmanager
def django(*allowed: str) -> Iterator[int]:
    """The port of the application, which answers to these names."""
    environment = {"HOST": "127.0.0.1", "PORT": "0", "ALLOWED_HOSTS": ",".join(allowed)}
    command = [sys.executable, str(DJANGO.context / "app.py")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["listening"]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def in_cluster() -> Iterator[int]:
    """It knows the Service's name."""
    with django(SERVICE_NAME) as port:
        yield port


@pytest.fixture(scope="module")
def public() -> Iterator[int]:
    """It knows its public name and, for the kubelet's sake, the address of its own pod."""
    with django(OWN_NAME, "127.0.0.1") as port:
        yield port


async def checked(port: int, *, scope: str = "Service", gate: bool = False, **http: Any) -> CheckResult:
    fields = {"path": "/readyz", **({"port": port} if scope == "Pod" else {}), **http}
    spec = make_spec(health={"checks": [{"name": "ready", "scope": scope, "http": fields}]})
    (asked,) = checks(spec, around(port), gate=gate)
    checker = NetworkChecker(client=client(), loop_lag=lambda since: 0.0, credentials=no_secrets())
    return await checker.check(cast(NetworkProbe, asked.probe), timeout=TIMEOUT)


@pytest.mark.parametrize("gate", [False, True])
async def test_the_services_name_is_enough(in_cluster: int, gate: bool) -> None:
    assert (await checked(in_cluster, gate=gate)).outcome is Outcome.PASS


@pytest.mark.parametrize("gate", [False, True])
async def test_with_a_public_name_alone_the_host_has_to_be_set(public: int, gate: bool) -> None:
    refused = await checked(public, gate=gate)

    assert (refused.outcome, refused.reason) == (Outcome.FAIL, "HTTP400")
    assert (await checked(public, gate=gate, host=OWN_NAME)).outcome is Outcome.PASS
    assert (await checked(public, gate=gate, host=f"{OWN_NAME}:8443")).outcome is Outcome.PASS


@pytest.mark.parametrize("host", [{}, {"host": OWN_NAME}])
async def test_a_pod_that_knows_its_own_address_passes(public: int, host: Any) -> None:
    assert (await checked(public, scope="Pod", **host)).outcome is Outcome.PASS


async def test_measuring_requests(in_cluster: int, public: int) -> None:
    async def measured(port: int, **verify: str) -> float:
        target = targets.verify_target(make_spec(verify=verify), running(), around(port))
        assert target is not None
        return await HttpProber(client=client()).request(target.target)

    assert await measured(in_cluster) > 0
    assert await measured(public, host=OWN_NAME) > 0
    with pytest.raises(Unavailable, match="answered 400"):
        await measured(public)


async def test_drain_signals(in_cluster: int) -> None:
    async def signal(**http: str) -> None:
        spec = make_spec(drain={"signal": {"http": {"path": "/drain", "port": in_cluster, **http}}})
        target = targets.signal_target(spec, make_pod(ip="127.0.0.1"))
        assert target is not None
        await HttpDrainer(client=client()).signal(target, headers=())

    await signal(host=SERVICE_NAME)
    with pytest.raises(Refused, match="answered with 400"):
        await signal()
