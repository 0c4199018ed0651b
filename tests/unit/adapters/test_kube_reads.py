"""The collections that the reader lists, and the selectors that it sends with them."""

from collections.abc import Sequence
from typing import Any, Final, cast

import pytest

from resilience.adapters.kube.reader import KubeReader
from resilience.adapters.kube.transport import Transport
from resilience.core.model.observation import Key
from tests.support.transport import FakeTransport

OURS: Final = "resilience.dev/managed=true"
RESOURCES: Final = "/apis/resilience.dev/v1alpha1"


def reader(transport: FakeTransport, namespaces: Sequence[str]) -> KubeReader:
    return KubeReader(transport=cast(Transport, transport), namespaces=namespaces)


@pytest.mark.parametrize(("namespaces", "where"), [((), ""), (("shop",), "/namespaces/shop")], ids=["all", "one"])
async def test_each_kind_is_listed_by_its_own_label(namespaces: tuple[str, ...], where: str) -> None:
    transport = FakeTransport()

    await reader(transport, namespaces).marked()
    await reader(transport, namespaces).resources(lambda resource: resource)

    assert sorted(transport.read) == [
        f"/api/v1{where}/configmaps?resilience.dev/flags-of",
        f"/api/v1{where}/services?{OURS}",
        f"/apis/discovery.k8s.io/v1{where}/endpointslices?{OURS}",
        # Nobody labels a ResilientService.
        f"{RESOURCES}{where}/resilientservices",
    ]


async def test_flags_are_kept_by_the_service_that_they_are_of() -> None:
    meta: dict[str, Any] = {"namespace": "shop", "name": "checkout-flags"}
    flags = {"metadata": meta | {"labels": {"resilience.dev/flags-of": "checkout"}}, "data": {"a": "true"}}
    transport = FakeTransport(held={"/api/v1/configmaps?resilience.dev/flags-of": [flags]})

    marked = await reader(transport, ()).marked()

    assert [(key, found.data) for key, found in marked.flags.items()] == [(Key("shop", "checkout"), {"a": "true"})]
