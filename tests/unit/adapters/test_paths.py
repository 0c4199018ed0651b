"""No name becomes anything but one segment of a path."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from resilience.adapters.kube import paths
from resilience.api.v1alpha1 import TargetKind
from resilience.ports import Invalid

MAKERS: Final[tuple[Callable[[str], str], ...]] = (
    paths.namespace_path,
    lambda name: paths.collection("pods", name),
    lambda name: paths.collection(f"{paths.CORE}events", name),
    lambda name: paths.collection(f"{paths.METRICS}pods", name),
    lambda name: paths.within("/apis/cilium.io/v2", "ciliumnetworkpolicies", name),
    lambda name: paths.named("secrets", name, "a"),
    lambda name: paths.named("secrets", "a", name),
    lambda name: paths.resources_path("a", name),
    lambda name: paths.resources_path(name, "a"),
    lambda name: paths.workload_path(TargetKind.DEPLOYMENT, "a", name),
)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../secrets/x",
        "a/b",
        "a?b",
        "a#b",
        "a%2Fb",
        "..%2Fx",
        "a b",
        "a\n",
        "A",
        "-a",
        "a.",
        "é",
        "a" * 254,
    ],
)
@pytest.mark.parametrize("path", MAKERS)
def test_what_no_object_can_be_called_is_no_path(path: Callable[[str], str], name: str) -> None:
    with pytest.raises(Invalid, match="no object can have the name"):
        path(name)


@given(st.text(alphabet="a0-./%?#\\ ~:@", max_size=12))
def test_a_path_has_as_many_segments_whatever_the_name(name: str) -> None:
    try:
        path = paths.named("persistentvolumeclaims", "shop", name)
    except Invalid:
        return
    # As the client sends it.
    assert URL(f"http://x{path}").raw_path_qs == f"/api/v1/namespaces/shop/persistentvolumeclaims/{name}"


@pytest.mark.parametrize("name", ["a", "0", "data-0", "kube-root-ca.crt", "a..b", "a" * 253])
def test_what_an_object_can_be_called_is_its_path(name: str) -> None:
    assert paths.named("configmaps", "shop", name) == f"/api/v1/namespaces/shop/configmaps/{name}"


def test_the_kinds_of_other_groups_have_their_own_paths() -> None:
    assert paths.collection(f"{paths.CORE}events", "shop") == "/api/v1/namespaces/shop/events"
    assert paths.collection("events", None) == "/apis/events.k8s.io/v1/events"
    assert paths.collection(f"{paths.METRICS}pods", "shop") == "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"
    assert paths.namespace_path("shop") == "/api/v1/namespaces/shop"
