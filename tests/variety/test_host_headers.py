"""Applications that check the Host header (Django's ALLOWED_HOSTS, Rails, ASP.NET) and answer 400 to a bare address.

What goes through the Service says the Service's name, as clients in the cluster do; what the user sets wins. From the
spec by way of the real targets to a real server on loopback.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from typing import Any, Final, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.drain import HttpProber
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.http import HttpClient
from resilience.api.names import ANNOTATION_CLAIM, ANNOTATION_SERVING
from resilience.api.reasons import ReleaseStep
from resilience.api.v1alpha1 import Gate, ResilientServiceSpec
from resilience.core.health import targets
from resilience.core.health.thresholds import Outcome
from resilience.core.model.actions import AdvanceGreen
from resilience.core.model.observation import Observation
from resilience.core.model.probes import CheckTarget, NetworkProbe
from resilience.core.model.profiles import resolve
from resilience.core.model.service import ServicePort
from resilience.core.model.traffic import Traffic
from resilience.core.model.workload import ContainerPort
from resilience.core.ownership import managed_probes
from resilience.core.rollouts import gates
from resilience.ports import Unavailable
from tests.support.factories import READY_CHECK, make_container, make_pod, make_seen, make_service, make_spec
from tests.support.preconditions import require
from tests.support.secrets import no_secrets
from tests.support.stages import OLD, Scenario, look, running
from tests.variety.claims import decided

# The names of Service checkout in namespace shop, as its clients write them.
SERVICE_NAMES: Final = ("checkout", "checkout.shop", "checkout.shop.svc", "checkout.shop.svc.cluster.local")
OWN_NAME: Final = "shop.example.org"
EVERY_NAME: Final = ("127.0.0.1", *SERVICE_NAMES)
TIMEOUT: Final = timedelta(seconds=5)


@asynccontextmanager
async def application(names: Iterable[str]) -> AsyncIterator[int]:
    """Its port. It answers 400 to whoever calls it by another name than these."""
    allowed = frozenset(names)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.host.partition(":")[0] in allowed else 400)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        require(server.port is not None, "the server has no port")
        yield int(server.port or 0)


def around(port: int) -> Observation:
    """A Service and a pod that both are the application."""
    pod = make_pod(ip="127.0.0.1", ports=(ContainerPort("http", port),))
    service = make_service(cluster_ip="127.0.0.1", ports=(ServicePort("http", port, port),))
    return make_seen(pod, services=(service,))


def client() -> HttpClient:
    return HttpClient(guard=AddressGuard(allowed=[ip_network("127.0.0.0/8")]), version="1.2.3")


def checks(spec: ResilientServiceSpec, seen: Observation, *, gate: bool) -> tuple[CheckTarget, ...]:
    """The targets of health, or those of a release's gate at each candidate."""
    if not gate:
        return targets.check_targets(spec, resolve(spec), seen)
    require(seen.pods is not None, "no pods")
    pods = seen.pods.pods if seen.pods is not None else ()
    return gates.check_targets(Gate(checks=["ready"]), spec, resolve(spec), seen, pods)


async def checked(names: Iterable[str], *, gate: bool = False, **http: str) -> Outcome:
    """The outcome of the http check at an application that answers to these names."""
    spec = make_spec(health={"checks": [{"name": "ready", "http": {"path": "/readyz", **http}}]})
    async with application(names) as port:
        asked = checks(spec, around(port), gate=gate)
        require(len(asked) == 1, f"{len(asked)} targets")
        checker = NetworkChecker(client=client(), loop_lag=lambda since: 0.0, credentials=no_secrets())
        return (await checker.check(cast(NetworkProbe, asked[0].probe), timeout=TIMEOUT)).outcome


async def measured(names: Iterable[str], **verify: str) -> str:
    """The failure of one measuring request; empty when it was answered well."""
    spec = make_spec(verify={"path": "/", "requestsPerSecond": 1, **verify})
    async with application(names) as port:
        target = targets.verify_target(spec, running(), around(port))
        if target is None:
            raise RuntimeError("nothing is measured")
        try:
            await HttpProber(client=client()).request(target.target)
        except Unavailable as error:
            return str(error)
        return ""


@pytest.mark.parametrize("names", [EVERY_NAME, SERVICE_NAMES], ids=["any", "its own"])
async def test_measuring_requests_call_the_service_by_its_name(names: tuple[str, ...]) -> None:
    assert await measured(names) == ""


@pytest.mark.parametrize("gate", [False, True], ids=["health", "gate"])
@pytest.mark.parametrize("names", [EVERY_NAME, SERVICE_NAMES], ids=["any", "its own"])
async def test_a_check_of_the_service_calls_it_by_its_name(names: tuple[str, ...], gate: bool) -> None:
    assert await checked(names, gate=gate) is Outcome.PASS


async def test_a_check_says_the_host_that_the_user_sets() -> None:
    assert await checked([OWN_NAME], host=OWN_NAME) is Outcome.PASS


async def test_measuring_requests_say_the_host_that_the_user_sets() -> None:
    assert await measured([OWN_NAME], host=OWN_NAME) == ""


@pytest.mark.parametrize(
    ("http", "headers"),
    [({}, None), ({"host": OWN_NAME}, [{"name": "Host", "value": OWN_NAME}])],
    ids=["none", "set"],
)
def test_a_kubelet_probe_has_the_host_that_the_user_sets_and_no_other(http: Any, headers: Any) -> None:
    """A default there would change every template, and so release every service."""
    check = {"name": "ready", "http": {"path": "/readyz", **http}}
    managed = {"management": "Managed", "readiness": {"check": "ready"}}
    spec = make_spec(health={"checks": [check]}, probes=managed)

    plan = managed_probes.plan(
        spec, resolve(spec), make_container(), make_service(), grace_period=timedelta(seconds=30)
    )

    rendered: Any = plan.fields["readinessProbe"]
    assert rendered["httpGet"].get("httpHeaders") == headers


@pytest.mark.parametrize(
    ("traffic", "goes_back"),
    [
        (Traffic(sent=413, failed=20, p99_seconds=0.01, failed_in_row=20), True),
        (Traffic(sent=413, failed=413, p99_seconds=None, failed_in_row=413), False),
    ],
    ids=["since the switch", "from the first on"],
)
def test_what_failed_before_the_release_began_is_no_reason_to_go_back(traffic: Traffic, goes_back: bool) -> None:
    notes = {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}
    resource, seen = look(
        Scenario(
            ReleaseStep.WARM,
            spec={"health": {"checks": [READY_CHECK]}, "verify": {"path": "/", "requestsPerSecond": 10}},
            rollout={"blueGreen": {"warmPeriod": "10m"}},
            workload={"annotations": notes},
            seen={"traffic": traffic},
        )
    )

    decision = decided(resource, seen)

    steps = [action.step for action in decision.actions if isinstance(action, AdvanceGreen)]
    assert (ReleaseStep.REVERTING in steps) is goes_back
