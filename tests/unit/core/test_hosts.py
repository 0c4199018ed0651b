"""The Host and the headers that requests of the operator and of the kubelet say."""

from dataclasses import replace
from typing import Any

import pytest

from resilience.api.checks import Scheme
from resilience.api.names import FIELD_MANAGER
from resilience.api.v1alpha1 import Gate
from resilience.core.health import hosts, targets
from resilience.core.model.probes import HttpTarget
from resilience.core.model.profiles import resolve
from resilience.core.model.service import ServicePort
from resilience.core.model.workload import ContainerPort
from resilience.core.rollouts import gates
from tests.support.factories import make_container, make_pod, make_seen, make_service, make_spec
from tests.support.stages import running
from tests.unit.core.test_template_and_targets import READY, managed, plan

OWN = "shop.example.org"
HEADERS = [{"name": "X-Forwarded-Proto", "value": "https"}]
HTTPS_SERVICE = make_service(ports=(ServicePort("http", 443, "http"),))
ODD_SERVICE = make_service(ports=(ServicePort("http", 8080, "http"),))


@pytest.mark.parametrize(
    ("port", "scheme", "name"),
    [
        (80, Scheme.HTTP, "checkout.shop.svc"),
        (443, Scheme.HTTPS, "checkout.shop.svc"),
        (443, Scheme.HTTP, "checkout.shop.svc:443"),
        (80, Scheme.HTTPS, "checkout.shop.svc:80"),
        (8080, Scheme.HTTP, "checkout.shop.svc:8080"),
    ],
)
def test_a_port_is_named_unless_the_scheme_implies_it(port: int, scheme: Scheme, name: str) -> None:
    assert hosts.service_host(make_service(), port, scheme) == name


def asked(http: dict[str, Any], *, scope: str = "Service", gate: bool = False, **seen: Any) -> HttpTarget:
    """The target of the check, or of a gate's check at a pod."""
    spec = make_spec(health={"checks": [{"name": "ready", "scope": scope, "http": {"path": "/", **http}}]})
    observation = make_seen(make_pod(), **seen)
    if gate:
        found = gates.check_targets(Gate(checks=["ready"]), spec, resolve(spec), observation, (make_pod(),))
    else:
        found = targets.check_targets(spec, resolve(spec), observation)
    (only,) = found
    probe: Any = only.probe
    assert isinstance(probe.target, HttpTarget)
    return probe.target


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize(
    ("http", "service", "host"),
    [
        ({}, make_service(), "checkout.shop.svc"),
        ({}, ODD_SERVICE, "checkout.shop.svc:8080"),
        ({"scheme": "HTTPS"}, HTTPS_SERVICE, "checkout.shop.svc"),
        ({"host": OWN}, make_service(), OWN),
    ],
)
def test_through_the_service_it_is_the_services_name_unless_set(http: Any, service: Any, host: str, gate: bool) -> None:
    assert asked(http, gate=gate, services=(service,)).host_header == host


def test_a_headless_service_is_called_by_its_name_and_the_pods_port() -> None:
    assert asked({}, services=(make_service(cluster_ip=""),)).host_header == "checkout.shop.svc:8080"


@pytest.mark.parametrize("gate", [False, True])
def test_a_pod_is_called_by_its_address_as_the_kubelet_does_unless_set(gate: bool) -> None:
    """Charts add the pod's own address to the allowed hosts for the kubelet's sake (kubernetes/kubernetes#14713)."""
    assert asked({"port": "http"}, scope="Pod", gate=gate).host_header == ""
    assert asked({"port": "http", "host": OWN}, scope="Pod", gate=gate).host_header == OWN


def test_a_host_never_changes_the_address() -> None:
    """As openkruise/kruise#2471 asks for: whoever writes a check must not reach the node by it."""
    own = asked({"host": "169.254.169.254"})
    assert (own.host, own.port) == ("10.96.0.1", 80)


def test_a_url_says_its_own_host_unless_set() -> None:
    for fields, host in (({}, ""), ({"host": OWN}, OWN)):
        spec = make_spec(
            health={"checks": [{"name": "p", "scope": "Dependency", "http": {"url": "https://partner/", **fields}}]}
        )
        (found,) = targets.check_targets(spec, resolve(spec), make_seen())
        probe: Any = found.probe
        assert (probe.target.host, probe.target.host_header) == ("partner", host)


@pytest.mark.parametrize(
    ("verify", "host"), [({}, "checkout.shop.svc"), ({"host": OWN}, OWN), ({"headers": HEADERS}, "checkout.shop.svc")]
)
def test_measuring_requests(verify: Any, host: str) -> None:
    found = targets.verify_target(make_spec(verify=verify), running(), make_seen())

    assert found is not None and found.target.host_header == host
    assert found.target.headers == ((("X-Forwarded-Proto", "https"),) if "headers" in verify else ())


@pytest.mark.parametrize("fields", [{}, {"host": OWN, "headers": HEADERS}])
def test_the_requests_of_a_drain(fields: dict[str, Any]) -> None:
    secret = {"secretKeyRef": {"name": "drain", "key": "headers"}}
    signal = {"http": {"path": "/drain", "port": 8081, "headersFrom": secret, **fields}}
    quiet = {"http": {"path": "/c", "port": 8081, "json": "active", **fields}}
    spec, pod = make_spec(drain={"signal": signal, "quiet": quiet}), make_pod(ip="10.0.0.1")
    wanted = HttpTarget("10.0.0.1", 8081, "/drain")
    if fields:
        wanted = replace(wanted, host_header=OWN, headers=(("X-Forwarded-Proto", "https"),))

    connections = targets.connections_target(spec, pod)

    assert targets.signal_target(spec, pod) == replace(wanted, secret=("drain", "headers"))
    assert connections is not None and connections.target == replace(wanted, path="/c")


def rendered(headers: Any) -> dict[str, Any]:
    return {**READY, "httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTP"} | headers}


# Meshes that rewrite probes know Host in this spelling only (istio/istio#46087), and once only (istio/istio#44291).
HOST = {"name": "Host", "value": OWN}


@pytest.mark.parametrize(
    ("http", "headers"),
    [
        ({}, {}),
        ({"host": OWN}, {"httpHeaders": [HOST]}),
        ({"headers": HEADERS}, {"httpHeaders": HEADERS}),
        ({"host": OWN, "headers": HEADERS}, {"httpHeaders": [HOST, *HEADERS]}),
    ],
)
def test_the_kubelet_says_what_is_set_and_nothing_else(http: Any, headers: Any) -> None:
    spec = managed(health={"checks": [{"name": "ready", "http": {"path": "/readyz", **http}}]})

    assert plan(spec).fields["readinessProbe"] == rendered(headers)


@pytest.mark.parametrize(
    ("live", "owners", "in_sync"),
    [
        (rendered({}), {FIELD_MANAGER}, True),
        (rendered({"httpHeaders": []}), {FIELD_MANAGER}, True),
        # They were set before and are not any more.
        (rendered({"httpHeaders": HEADERS}), {FIELD_MANAGER}, False),
        # Somebody else added them, so applying again would not remove them.
        (rendered({"httpHeaders": HEADERS}), {FIELD_MANAGER, "helm"}, True),
        (rendered({"httpHeaders": HEADERS}), {"helm"}, True),
    ],
)
def test_headers_that_were_removed_are_removed_from_the_template(live: Any, owners: set[str], in_sync: bool) -> None:
    container = make_container(
        ports=(ContainerPort("http", 8080),),
        fields={"readinessProbe": live},
        owners={"readinessProbe": frozenset(owners)},
    )

    found = plan(managed(drain={"preStop": "0s"}), container)

    assert (found.in_sync, found.conflicts) == (in_sync, ())
