"""Services and pods with addresses of two families, or of IPv6 alone.

A dual-stack Service has a slice for each family, and they do not change at the same moment: a pod serves when both list
it, and has left when neither does.
"""

from dataclasses import replace
from typing import Any, Final

import pytest

from resilience.adapters.kube import parse
from resilience.adapters.net.http import _url
from resilience.adapters.net.http_wire import request_bytes
from resilience.core.alerting.shared_causes import _cause
from resilience.core.health import dependencies, targets
from resilience.core.model.observation import Observation, Pod
from resilience.core.model.probes import HttpTarget, RedisProbe
from resilience.core.model.service import Endpoint, Service
from resilience.core.replacement import availability
from tests.support.factories import KEY, make_context, make_resource, make_seen, make_spec
from tests.variety import manifests
from tests.variety.manifests import Object

BOTH: Final = ("IPv4", "IPv6")
ADDRESSES: Final = {"IPv4": "10.0.0.7", "IPv6": "fd00::7"}
LIVE: Final = {"name": "live", "scope": "Pod", "http": {"path": "/livez", "port": 8080}}
TEMPLATE: Final = manifests.template("containers: [{name: app, image: 'shop:1', ports: [{containerPort: 8080}]}]")


def service(*families: str) -> Service:
    raw = manifests.service(8080)
    raw["spec"] |= {"ipFamilies": list(families), "clusterIP": {"IPv4": "10.96.0.1", "IPv6": "fd00:96::1"}[families[0]]}
    return parse.service(raw)


def pod(*families: str) -> Pod:
    raw = manifests.pod(TEMPLATE, ip=ADDRESSES[families[0]])
    raw["status"]["podIPs"] = [{"ip": ADDRESSES[family]} for family in families]
    return manifests.read_pod(raw)


def endpoints(family: str, **conditions: bool) -> tuple[Endpoint, ...]:
    """The pod as the slice of this family lists it."""
    entry = {
        "addresses": [ADDRESSES[family]],
        "targetRef": {"kind": "Pod", "name": "a", "uid": "uid-a"},
        "conditions": {"serving": True, "ready": True} | conditions,
    }
    meta: Object = {"name": f"s-{family}", "labels": {"kubernetes.io/service-name": KEY.name}}
    return parse.endpoints(
        {"metadata": meta, "addressType": family, "ports": [{"name": "http", "port": 8080}], "endpoints": [entry]}
    )


def seen(of_service: Service, of_pod: Pod, *listed: str) -> Observation:
    found = tuple(endpoint for family in listed for endpoint in endpoints(family))
    return make_seen(of_pod, services=(of_service,), endpoints=found)


@pytest.mark.parametrize(
    ("of_service", "of_pod", "listed", "serves"),
    [
        (BOTH, BOTH, BOTH, True),
        (BOTH, BOTH, ("IPv4",), False),
        (BOTH, BOTH, ("IPv6",), False),
        (BOTH, BOTH, (), False),
        # A node without the other family gives its pods one address.
        (BOTH, ("IPv4",), ("IPv4",), True),
        (("IPv6",), BOTH, ("IPv6",), True),
        (("IPv6",), ("IPv6",), ("IPv6",), True),
        (("IPv4",), BOTH, ("IPv4",), True),
    ],
)
def test_a_pod_serves_when_every_family_lists_it(
    of_service: tuple[str, ...], of_pod: tuple[str, ...], listed: tuple[str, ...], serves: bool
) -> None:
    found = pod(*of_pod)

    assert availability.is_serving(seen(service(*of_service), found, *listed), found) is serves


@pytest.mark.parametrize("listed", [("IPv4",), ("IPv6",)])
def test_a_pod_has_left_only_when_no_family_lists_it(listed: tuple[str, ...]) -> None:
    left = replace(pod(*BOTH), labels={"app": "left"})

    assert availability.lingers(seen(service(*BOTH), left, *listed), left)
    assert not availability.lingers(seen(service(*BOTH), left), left)


def test_an_api_server_that_names_no_families_is_taken_at_its_word() -> None:
    raw, found = manifests.service(8080), pod("IPv4")

    assert availability.is_serving(seen(parse.service(raw), found, "IPv4"), found)


@pytest.mark.parametrize("families", [BOTH, BOTH[::-1]])
@pytest.mark.parametrize("listed", [BOTH, BOTH[::-1]])
def test_a_pod_is_checked_at_one_address_whatever_the_order_of_slices(
    families: tuple[str, ...], listed: tuple[str, ...]
) -> None:
    context = make_context(
        make_resource(make_spec(health={"checks": [LIVE]})), seen(service(*families), pod(*BOTH), *listed)
    )
    (target,) = targets.check_targets(context.spec, context.effective, context.observation)

    assert target.probe.target.host == ADDRESSES[families[0]]  # type: ignore[union-attr]


@pytest.mark.parametrize(("host", "header"), [("fd00::7", "[fd00::7]:8080"), ("10.0.0.7", "10.0.0.7:8080")])
def test_urls_and_host_headers_have_ipv6_addresses_in_brackets(host: str, header: str) -> None:
    url = _url("HTTP", host, 8080, "/readyz")
    request: Any = request_bytes("GET", url, user_agent="x", headers=(), body=None)

    assert f"Host: {header}\r\n".lower().encode() in bytes(request).lower()


def test_an_ipv6_address_of_a_url_is_read_without_its_brackets() -> None:
    assert HttpTarget.at("http://[fd00::7]:9000/x") == HttpTarget("fd00::7", 9000, "/x")
    assert HttpTarget.at("https://[fd00::7]/x").port == 443


def test_a_redis_at_an_ipv6_address_is_the_one_that_sentinels_name() -> None:
    """They name it without brackets; in texts for people it has them."""
    check = {"name": "cache", "scope": "Dependency", "redis": {"address": "[fd00::7]:6379"}}
    spec = make_spec(health={"checks": [check]})
    probe = dependencies.probe(spec.health.checks[0], spec, namespace="shop")

    assert isinstance(probe, RedisProbe)
    assert probe.place.addresses == (("fd00::7", 6379),)
    assert _cause(probe, "shop") == "redis [fd00::7]:6379"
