"""Adds further nodes to the running cluster and takes them away again, one at a time.

Every step may find its work done, half done or undone. Must not touch the control plane or another node.
"""

from tests.cluster import (
    api,
    binaries,
    cgroups,
    components,
    config,
    ending,
    imports,
    network,
    outage,
    pki,
    processes,
)
from tests.cluster.nodes import Node
from tests.cluster.paths import KUBECONFIG
from tests.cluster.progress import Progress
from tests.cluster.shell import run


def healthy(node: Node) -> bool:
    """True when there is nothing to do: all of its programs run, and it takes pods."""
    programs = all(processes.running(name) for name in components.names(node))
    return programs and not node.going.exists() and api.node_ready(node) and api.proxy_ready(node)


def join(node: Node, *, progress: Progress, taint: str = "") -> None:
    """Have a further node take pods (that tolerate `taint`: `key=value:effect`), with every image of the first one."""
    with progress.step(f"{node.name}: network and certificates"):
        node.folder.mkdir(parents=True, exist_ok=True)
        network.join(node)
        cgroups.up(node)
        pki.join(node)
        config.write_node(node, taint=taint)
        # A test that was killed may have left it so.
        network.mend(node)
        outage.thaw(node)
    with progress.step(f"{node.name}: containerd and images"):
        _bring_images(node)
    with progress.step(f"{node.name}: kubelet and proxy"):
        processes.start(components.kubelet(node))
        processes.expect(node.process("kubelet"), "range for its pods", lambda: api.pod_range(node) != "")
        # Not before the kubelet: it asks for its Node object, and then again only after a second.
        processes.start(components.kube_proxy(node))
        pod_range = api.pod_range(node)
        network.route(node, pod_range)
        config.write_pod_ranges(node, pod_range)
        processes.expect(node.process("kubelet"), "node", lambda: api.node_ready(node))
        processes.expect(node.process("proxy"), "Service rules", lambda: api.proxy_ready(node))


def leave(node: Node, *, progress: Progress) -> None:
    """Remove a further node and its pods, as if the machine had been taken away and somebody had said so."""
    with progress.step(f"{node.name}: removal"):
        ending.stop(node)
        _forget(node)
        ending.clear(node)


def _forget(node: Node) -> None:
    """The pods last, or new ones would be sent to the node; nobody is left who could confirm their end."""
    delete = (binaries.program("kubectl"), "--kubeconfig", KUBECONFIG, "delete", "--ignore-not-found")
    of_node = f"--field-selector=spec.nodeName={node.name}"
    run(*delete, "node", node.name)
    run(*delete, "pods", "--all-namespaces", of_node, "--force", "--grace-period=0", "--wait=false")


def _bring_images(node: Node) -> None:
    is_new = imports.begin(node)
    _start_containerd(node)
    if imports.complete(node) and is_new:
        processes.kill(node.process("containerd"))
        imports.make_template(node)
        _start_containerd(node)


def _start_containerd(node: Node) -> None:
    processes.start(components.containerd(node))
    processes.expect(node.process("containerd"), "containerd", lambda: imports.answers(node))
