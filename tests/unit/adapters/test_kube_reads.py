"""The collections that the reader lists, and the selectors that it sends with them."""

from collections.abc import Sequence
from typing import Any, Final, cast

import pytest

from resilience.adapters.kube.reader import KubeReader
from resilience.adapters.kube.transport import Transport
from resilience.core.model.flags import FlagsMap
from resilience.core.model.observation import Key
from tests.support.transport import FakeTransport

OURS: Final = "resilience.dev/managed=true"
FLAGS: Final = "/api/v1/configmaps?resilience.dev/flags-of"
KEY: Final = Key("shop", "checkout")
OWNER: Final = {"kind": "ResilientService", "name": "checkout"}
RESOURCES: Final = "/apis/resilience.dev/v1alpha1"


def config_map(name: str = "checkout-flags", *, owner: Any = OWNER, x: str = "true") -> dict[str, Any]:
    meta = {"namespace": "shop", "name": name, "labels": {"resilience.dev/flags-of": "checkout"}}
    return {"metadata": meta | {"ownerReferences": [owner] if owner else []}, "data": {"x": x}}


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
    transport = FakeTransport(held={FLAGS: [config_map("copy", x="false"), config_map(), config_map("copy-flags")]})

    marked = await reader(transport, ()).marked()

    assert [(key, held.data) for key, held in marked.flags.items()] == [(KEY, {"x": "true"})]


@pytest.mark.parametrize(
    "flags",
    [
        config_map(owner=None),
        config_map(owner={"kind": "ResilientService", "name": "other"}),
        config_map(owner={"kind": "Deployment", "name": "checkout"}),
        config_map(x="true" * 100_000),
    ],
    ids=["nobody's", "another's", "not a resource's", "too long"],
)
async def test_data_that_the_operator_did_not_write_are_not_kept_but_the_map_is_known(flags: Any) -> None:
    marked = await reader(FakeTransport(held={FLAGS: [flags]}), ()).marked()

    # It is ours by its label: the leader writes it again.
    assert marked.flags == {KEY: FlagsMap({}, ours=True)}


async def test_nothing_is_asked_of_a_resource_that_cannot_exist() -> None:
    """The name comes from the claim on a workload, which its owner may edit."""
    transport = FakeTransport()

    assert [await reader(transport, ()).resource(Key("shop", name)) for name in ("..", "..%2Fx", "a?b", "")] == 4 * [
        None
    ]
    assert transport.read == []
