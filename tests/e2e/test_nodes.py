"""More than one node: pods reach each other across nodes, and what happens to a node happens to its own pods alone."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
import requests
from pytest_kind import KindCluster

from tests.cluster import engine
from tests.cluster.nodes import Node
from tests.support.kube import Kube, KubectlError, Object, wait_until
from tests.support.nodes import HOSTNAME, TOLERATION, Nodes
from tests.support.shop_manifests import deployment, service
from tests.support.space import Space, opened

# Asked from inside a pod: a status, or what went wrong.
_ASK = """
import urllib.request
try:
    print(urllib.request.urlopen({url!r}, timeout=5).status)
except OSError as error:
    print(error)
"""


@pytest.fixture
def nodes(cluster: KindCluster, loaded: None) -> Nodes:
    return Nodes(cluster)


@pytest.fixture
def plain_space(cluster: KindCluster) -> Iterator[Space]:
    """A namespace; nothing here needs the operator."""
    with opened(cluster) as space:
        yield space


def preferring(node: str, name: str) -> list[Object]:
    """A shop that runs on this node as long as it can."""
    here = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [node]}]}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": here}]}
    pod = {"affinity": {"nodeAffinity": preferred}, "tolerations": [TOLERATION]}
    return [deployment(name, pod=pod), service(name)]


def settled(space: Space, name: str) -> Object:
    """The shop's one pod, once it is ready."""
    space.kubectl("rollout", "status", f"deployment/{name}", "--timeout=30s")
    (pod,) = space.shop_pods(name)
    return pod


def address(pod: Object) -> str:
    return f"http://{pod['status']['podIP']}:8080/readyz"


def answers(pod: Object) -> bool:
    """To this machine, which reaches the pods of all nodes."""
    try:
        return requests.get(address(pod), timeout=2).status_code == 200
    except requests.RequestException:
        return False


def kubelet_answers(space: Space, node: str) -> bool:
    """To the API server."""
    try:
        return space.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/healthz", "--request-timeout=2s") == "ok"
    except KubectlError:
        return False


def assert_reaches(space: Space, pod: Object, other: Object, name: str) -> None:
    """By the other's address, and by the name of its Service."""
    for url in (address(other), f"http://{name}.{space.namespace}.svc.cluster.local/readyz"):
        heard = space.inside(pod["metadata"]["name"], _ASK.format(url=url)).strip()
        assert heard == "200", f"{pod['metadata']['name']} asked {url}: {heard}"


def assert_silent_during(outage: AbstractContextManager[None], space: Space, pod: Object) -> None:
    """Pod and kubelet of a node while something happens to it; afterwards all is as before."""
    node = pod["spec"]["nodeName"]
    with outage:
        assert not answers(pod)
        assert not kubelet_answers(space, node)
    wait_until(lambda: answers(pod) and kubelet_answers(space, node), what=f"{node} to be back", timeout=10)
    assert [one["metadata"]["uid"] for one in space.shop_pods("far")] == [pod["metadata"]["uid"]]


def traces(name: str) -> list[str]:
    """All that a removed node of the local cluster has left on this machine."""
    node = Node(number=int(name.removeprefix("node")))
    paths = [node.folder, node.namespace_file, *Path("/sys/fs/cgroup").glob(f"*/{node.namespace}")]
    left = [str(path) for path in paths if path.exists()]
    left += [line for line in Path("/proc/mounts").read_text().splitlines() if f"{node.folder}/" in line]
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        # A process may end while it is looked at.
        with suppress(OSError):
            words = command_line.read_bytes().decode(errors="replace").replace("\0", " ")
            left += [words] if f"{node.folder}/" in words else []
    return left


@pytest.mark.xdist_group("nodes")
@pytest.mark.load
@pytest.mark.long
def test_what_happens_to_a_node_happens_to_its_pods_alone(nodes: Nodes, plain_space: Space) -> None:
    # given: a shop on each of two nodes
    first, space = nodes.names()[0], plain_space
    with nodes.another() as second:
        space.apply(*preferring(first, "near"), *preferring(second, "far"))
        near, far = settled(space, "near"), settled(space, "far")
        assert [near["spec"]["nodeName"], far["spec"]["nodeName"]] == [first, second]
        # then: they reach each other, and this machine reaches both
        assert_reaches(space, near, far, "far")
        assert_reaches(space, far, near, "near")
        assert answers(near) and answers(far)

        # when the node hangs, or is cut off, then its pod does not answer, and does again afterwards
        for outage in (nodes.frozen(second), nodes.cut_off(second)):
            assert_silent_during(outage, space, far)
            assert answers(near)

        # when it is drained, then the pod moves
        nodes.drain(second)
        assert settled(space, "far")["spec"]["nodeName"] == first
        assert answers(near)
        nodes.uncordon(second)

    # then: of a node that was removed, nothing is left
    if not engine.uses_kind():
        assert Kube(space.cluster).find("nodes", second) is None
        assert traces(second) == []
