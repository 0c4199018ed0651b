"""Content of ConfigMaps and Secrets as a hash, over a transport in memory."""

import asyncio
from typing import Any, cast

import pytest

from resilience.adapters.kube.contents import KubeContents
from resilience.adapters.kube.transport import Transport
from resilience.ports import NotLabelled, Unavailable
from tests.support.transport import FakeTransport

LEASE = "/apis/coordination.k8s.io/v1/namespaces/system/leases/operator"
CONFIG = "/api/v1/namespaces/shop/configmaps/settings"
SECRET = "/api/v1/namespaces/shop/secrets/settings"
READABLE = {"name": "settings", "labels": {"resilience.dev/readable": "true"}}


def read(transport: FakeTransport, kind: str = "ConfigMap") -> str | None:
    transport.held = {LEASE: {"metadata": {"uid": "u-1"}}} | dict(transport.held)
    contents = KubeContents(transport=cast(Transport, transport), lease=("system", "operator"))
    return asyncio.run(contents.fingerprint(namespace="shop", kind=kind, name="settings"))


def config(*, meta: Any = None, **content: Any) -> str | None:
    return read(FakeTransport(held={CONFIG: {"metadata": {"name": "settings"} | (meta or {}), **content}}))


def test_one_request_reads_one_object() -> None:
    transport = FakeTransport(held={CONFIG: {"metadata": {"name": "settings"}, "data": {"a": "1"}}})

    assert len(read(transport) or "") == 64 and transport.read == [CONFIG, LEASE]


@pytest.mark.parametrize(
    "same",
    [
        {"data": {"b": "2", "a": "1"}},
        {"data": {"a": "1", "b": "2"}, "binaryData": {}},
        {"data": {"a": "1", "b": "2"}, "meta": {"resourceVersion": "9", "labels": {"a": "b"}, "managedFields": [{}]}},
    ],
    ids=["order", "empty", "metadata"],
)
def test_what_pods_do_not_read_changes_nothing(same: dict[str, Any]) -> None:
    assert config(**same) == config(data={"a": "1", "b": "2"})


def test_what_pods_read_changes_it() -> None:
    found = [
        config(),
        config(data={"a": "1"}),
        config(data={"a": "2"}),
        config(data={"b": "1"}),
        config(data={"a": "1", "b": ""}),
        config(binaryData={"a": "1"}),
    ]

    assert len(set(found)) == len(found) and None not in found
    assert config(data=None) == config()


def test_without_the_key_nobody_can_try_guesses() -> None:
    held = {CONFIG: {"metadata": {"name": "settings"}, "data": {"a": "1"}}}

    keys = {read(FakeTransport(held={**held, LEASE: {"metadata": {"uid": uid}}})) for uid in ("u-1", "u-2")}

    assert len(keys) == 2


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_an_object_that_is_not_there_has_no_content(kind: str) -> None:
    assert read(FakeTransport(), kind) is None


def test_degradation_flags_never_count_as_changed() -> None:
    flags = {"labels": {"resilience.dev/flags-of": "checkout"}}

    assert config(meta=flags, data={"redis-degraded": "on"}) == config(meta=flags, data={"redis-degraded": "off"})


def test_a_secret_is_read_when_its_owner_allows_it() -> None:
    held = {SECRET: {"metadata": READABLE, "data": {"token": "c2VjcmV0"}}}
    transport = FakeTransport(held=held)

    found = read(transport, "Secret")

    assert transport.read == [SECRET, LEASE]
    assert found is not None and "c2VjcmV0" not in found and len(found) == 64


@pytest.mark.parametrize("labels", [None, {}, {"resilience.dev/readable": "false"}, {"other": "true"}])
def test_a_secret_that_is_not_labelled_is_refused_with_the_way_out(labels: Any) -> None:
    held = {SECRET: {"metadata": {"name": "settings", "labels": labels}, "data": {"token": "c2VjcmV0"}}}

    with pytest.raises(NotLabelled, match=r"kubectl label secret settings resilience\.dev/readable=true") as caught:
        read(FakeTransport(held=held), "Secret")

    assert "c2VjcmV0" not in str(caught.value)


def test_no_answer_is_no_content() -> None:
    with pytest.raises(Unavailable):
        read(FakeTransport(fails={CONFIG: Unavailable("status 503")}))
