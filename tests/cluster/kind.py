"""The same cluster in Docker: kind, through pytest-kind, under the name that its own fixture uses.

Must not be loaded where no Docker engine answers.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, cast

from pytest_kind import KindCluster

from tests.cluster import binaries, metrics
from tests.cluster.golang import go
from tests.cluster.images import Image
from tests.cluster.paths import GO_MODULE, cache
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError, find, run, succeeds, wait_for

# pytest-kind's defaults (2022) are too old for the Kubernetes that the operator needs.
VERSION = "v0.33.0"
# pytest-kind's own default for --cluster-name: what `up` made, its fixture finds.
NAME = "pytest-kind"
# kind's defaults for pods and Services.
SUBNETS = ("10.244.0.0/16", "10.96.0.0/16")
_NODE = f"{NAME}-control-plane"
_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_STOPPED = "/etc/kubernetes/kube-apiserver.yaml"
_QUEUE = ("tc", "qdisc", "replace", "dev", "eth0", "root")
_TAINT = "node-role.kubernetes.io/control-plane"


@dataclass(frozen=True, slots=True)
class Kind:
    """The cluster in this machine's Docker engine."""

    progress: Progress

    def up(self, *, count: int = 1) -> None:
        """Create it unless it is there. Raises ClusterError when it is there with fewer nodes: kind cannot add any."""
        tools(progress=self.progress)
        there = _names()
        if 0 < len(there) < count:
            remedy = f"run `python -m tests.cluster down`, then `up --nodes {count}`"
            raise ClusterError(f"the kind cluster has {len(there)} of {count} nodes, and kind cannot add any: {remedy}")
        with self.progress.step(f"kind cluster {NAME}"):
            with NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(json.dumps(configuration(count)))
                file.flush()
                self._cluster().create(file.name)
            for name in _names():
                wait_for(f"node {name}", partial(self._node_ready, name), seconds=180, every=1)
            # With workers, kind keeps pods off the first node; here every node takes them.
            succeeds(*self._kubectl(), "taint", "node", _NODE, f"{_TAINT}:NoSchedule-")
            self._route()
        add_metrics(kubeconfig=self.kubeconfig(), progress=self.progress)

    def down(self) -> None:
        """Delete it; Docker's image cache stays."""
        if _names():
            self._on_machine(*(f"ip route flush root {subnet}" for subnet in SUBNETS))
        run(kind_path(), "delete", "cluster", "--name", NAME)

    def status(self) -> dict[str, bool]:
        """What of it works, by name."""
        names = _names()
        there = bool(names)
        return {
            "cluster": there,
            "API": there and self._api_ready(),
            **{name: self._node_ready(name) for name in names},
            "metrics": there and _answers(metrics.GROUP, kubeconfig=self.kubeconfig()),
        }

    def kubeconfig(self) -> Path:
        """The one that pytest-kind writes, below the current folder."""
        return Path(self._cluster().kubeconfig_path).resolve()

    def host(self) -> str:
        """The gateway of kind's network, which is this machine."""
        form = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
        gateways = run("docker", "network", "inspect", "kind", "--format", form).split()
        return next(each for each in gateways if ":" not in each)

    def authority(self) -> tuple[str, str]:
        """Certificate and key of the authority that pods trust as the API server's, as kubeadm keeps them."""
        folder = "/etc/kubernetes/pki"
        certificate, key = (run("docker", "exec", _NODE, "cat", f"{folder}/ca.{end}") for end in ("crt", "key"))
        return certificate, key

    def stop_api_server(self) -> None:
        """Take its static pod's manifest away; returns when nothing answers any more."""
        run("docker", "exec", _NODE, "sh", "-c", f"test ! -e {_MANIFEST} || mv {_MANIFEST} {_STOPPED}")
        wait_for("end of the API server", lambda: not self._api_ready())

    def start_api_server(self) -> None:
        """Put the manifest back and wait until the API server is ready."""
        run("docker", "exec", _NODE, "sh", "-c", f"test ! -e {_STOPPED} || mv {_STOPPED} {_MANIFEST}")
        wait_for("API server", self._api_ready)

    def add_node(self, *, taint: str = "") -> str:
        """Raises ClusterError: kind cannot."""
        count = len(_names()) + 1
        remedy = f"run `python -m tests.cluster down`, then `up --nodes {count}`"
        raise ClusterError(f"kind cannot add a node to a cluster: {remedy}")

    def remove_node(self, name: str) -> None:
        """Raises ClusterError: what kind cannot add, it had better keep."""
        raise ClusterError(f"kind cannot add {name} again later, so it is not removed: `down` removes all nodes")

    def freeze(self, name: str) -> None:
        """Stop everything on it, its kubelet and its pods included. Raises ClusterError for the control plane's."""
        run("docker", "pause", _worker(name))

    def thaw(self, name: str) -> None:
        """Undo `freeze`."""
        run("docker", "unpause", _worker(name))

    def cut(self, name: str) -> None:
        """Lose every packet that it sends, which includes every answer. Raises ClusterError for the control plane's."""
        run("docker", "exec", _worker(name), *_QUEUE, "pfifo", "limit", "0")

    def mend(self, name: str) -> None:
        """Undo `cut`."""
        run("docker", "exec", _worker(name), *_QUEUE, "noqueue")

    def build_image(self, image: Image) -> str:
        """Build with Docker, whose own cache sees what has not changed. Returns the tag."""
        if image.base is not None:
            self.build_image(image.base)
        command = ("docker", "build", "--tag", image.tag, "--file", image.dockerfile, image.context)
        self.progress.run(f"build {image.tag}", *command)
        return image.tag

    def load(self, image: Path | str) -> None:
        """Hand an archive, or an image that Docker has, to all nodes; kind skips those that have it."""
        kind = "image-archive" if isinstance(image, Path) else "docker-image"
        run(kind_path(), "load", kind, "--name", NAME, str(image))

    def provide(self, image: Image) -> None:
        """Build and load."""
        self.load(self.build_image(image))

    def _api_ready(self) -> bool:
        return _answers("/readyz", kubeconfig=self.kubeconfig())

    def _node_ready(self, name: str) -> bool:
        condition = '{.status.conditions[?(@.type=="Ready")].status}'
        try:
            return run(*self._kubectl(), "get", "node", name, "--output", f"jsonpath={condition}") == "True"
        except ClusterError:
            return False

    def _route(self) -> None:
        """Let this machine reach pods and Services by their addresses, as the tests do.

        Each node's pods through that node: the first one would drop the rest of a connection whose answers go past it.
        """
        listed = json.loads(run(*self._kubectl(), "get", "nodes", "--output", "json"))["items"]
        ranges = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in listed}
        addresses = {name: _inspect(name)["NetworkSettings"]["Networks"]["kind"]["IPAddress"] for name in ranges}
        ways = [(subnet, addresses[_NODE]) for subnet in SUBNETS]
        ways += [(pod_range, addresses[name]) for name, pod_range in ranges.items()]
        self._on_machine(*(f"ip route replace {subnet} via {address}" for subnet, address in ways))

    def _on_machine(self, *commands: str) -> None:
        """In the machine's own network, by the node's image: whoever may use Docker is not always root."""
        run(
            *("docker", "run", "--rm", "--network", "host", "--cap-add", "NET_ADMIN"),
            *("--entrypoint", "sh", _inspect(_NODE)["Config"]["Image"], "-ec", "\n".join(commands)),
        )

    def _kubectl(self) -> tuple[str | Path, ...]:
        return binaries.program("kubectl"), "--kubeconfig", self.kubeconfig(), "--request-timeout=3s"

    def _cluster(self) -> KindCluster:
        return KindCluster(NAME, kind_path=kind_path(), kubectl_path=binaries.program("kubectl"))


def configuration(count: int) -> dict[str, object]:
    """For kind: one node with the control plane, the others workers. JSON is YAML."""
    roles = ["control-plane", *(["worker"] * (count - 1))]
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [{"role": role} for role in roles]}


def _names() -> list[str]:
    """Of the nodes, which are their containers' names, too. None where there is no cluster."""
    if NAME not in run(kind_path(), "get", "clusters").split():
        return []
    return sorted(run(kind_path(), "get", "nodes", "--name", NAME).split())


def _inspect(container: str) -> dict[str, Any]:
    (details,) = json.loads(run("docker", "inspect", container))
    return cast(dict[str, Any], details)


def _worker(name: str) -> str:
    if name == _NODE:
        raise ClusterError(f"{name} carries the control plane: without it there is no cluster; choose a worker")
    return name


def add_metrics(*, kubeconfig: Path, progress: Progress) -> None:
    """Have metrics-server in the cluster, and answering. Its node pulls the image."""
    if _answers(metrics.GROUP, kubeconfig=kubeconfig):
        return
    with progress.step("metrics-server"):
        metrics.apply(metrics.for_pods(), kubeconfig=kubeconfig)
        wait_for("metrics-server", lambda: _answers(metrics.GROUP, kubeconfig=kubeconfig), seconds=180, every=1)


def _answers(path: str, *, kubeconfig: Path) -> bool:
    kubectl = (binaries.program("kubectl"), "--kubeconfig", kubeconfig, "--request-timeout=3s")
    return succeeds(*kubectl, "get", "--raw", path)


def kind_path() -> Path:
    """The program: the machine's own, else the one that `tools` builds."""
    found = find("kind")
    return Path(found) if found else cache() / f"kind-{VERSION}" / "kind"


def tools(*, progress: Progress) -> None:
    """Have kind, and what the tests call themselves."""
    binaries.ensure("kubectl", "helm", "vegeta", progress=progress)
    if not kind_path().exists():
        folder = kind_path().parent
        folder.mkdir(parents=True, exist_ok=True)
        go(
            f"go install kind {VERSION}",
            *("install", f"sigs.k8s.io/kind@{VERSION}"),
            source=GO_MODULE,
            output=folder,
            env={"GOBIN": str(folder), "CGO_ENABLED": "0"},
            progress=progress,
        )
