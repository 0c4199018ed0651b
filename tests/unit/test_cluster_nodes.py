"""Nodes of the test cluster do not get in each other's way: only a cluster would say so otherwise."""

import ipaddress
from pathlib import Path

import pytest

from tests.cluster import components, kind, network, nodes
from tests.cluster.nodes import FIRST, MOST, Node
from tests.cluster.shell import ClusterError

ALL = [Node(number=number) for number in range(1, MOST + 1)]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder, and no network namespaces."""
    monkeypatch.setattr(nodes, "STATE", tmp_path / "state")
    monkeypatch.setattr(nodes, "NAMESPACES", tmp_path / "netns")
    return tmp_path


def test_addresses_of_links_lie_in_networks_of_their_own() -> None:
    links = [ipaddress.ip_network(node.link) for node in ALL]

    assert not any(one.overlaps(other) for one in links for other in links if one is not other)
    for node, link in zip(ALL, links, strict=True):
        assert [node.gateway, node.address] == [str(host) for host in link.hosts()]


def own(node: Node) -> list[object]:
    """Values that no other node may have."""
    return [node.name, node.namespace, node.folder, node.pki, node.socket, node.cni_network, node.process("kubelet")]


def test_nodes_share_nothing_that_only_one_can_use() -> None:
    for values in zip(*(own(node) for node in ALL), strict=True):
        assert len(set(values)) == MOST


def test_the_path_of_no_socket_is_too_long() -> None:
    assert max(len(f"{node.socket}.ttrpc") for node in ALL) <= 107


def test_the_first_node_hangs_on_the_machine() -> None:
    assert FIRST.gateway == network.HOST_IP
    assert FIRST.address == network.NODE_IP


def test_all_programs_of_a_further_node_are_ended() -> None:
    node = Node(number=2)
    started = (components.kubelet(node), components.kube_proxy(node), components.containerd(node))

    assert {component.name for component in started} == set(components.names(node))
    assert not set(components.names(node)) & set(components.names(FIRST))


def test_a_node_is_known_by_its_folder_or_by_its_namespace(state: Path) -> None:
    for name in ("state/node3", "state/node3.part", "netns/kt", "netns/kt2", "netns/kt3", "netns/cni-1"):
        (state / name).mkdir(parents=True)

    assert nodes.known() == [FIRST, Node(number=2), Node(number=3)]
    assert nodes.named("node3") == Node(number=3)


def test_without_a_cluster_only_the_first_node_is_known(state: Path) -> None:
    assert nodes.known() == [FIRST]


def test_an_unknown_node_is_refused_with_the_names_that_are_known(state: Path) -> None:
    with pytest.raises(ClusterError, match="no node node7; there are node1"):
        nodes.named("node7")


def test_the_smallest_number_that_is_free_is_used_next() -> None:
    assert nodes.unused([FIRST, Node(number=2), Node(number=4)]) == Node(number=3)


def test_there_are_no_more_nodes_than_addresses() -> None:
    with pytest.raises(ClusterError, match="64 nodes are the most"):
        nodes.unused(ALL)


@pytest.mark.parametrize(("count", "roles"), [(1, ["control-plane"]), (3, ["control-plane", "worker", "worker"])])
def test_kind_gets_one_control_plane_and_workers(count: int, roles: list[str]) -> None:
    assert kind.configuration(count)["nodes"] == [{"role": role} for role in roles]
