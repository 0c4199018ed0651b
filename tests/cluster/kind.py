"""The same cluster in Docker: kind, through pytest-kind, under the name that its own fixture uses.

Must not be loaded where no Docker engine answers.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pytest_kind import KindCluster

from tests.cluster import binaries, metrics
from tests.cluster.golang import go
from tests.cluster.images import Image
from tests.cluster.paths import GO_MODULE, cache
from tests.cluster.progress import Progress
from tests.cluster.shell import find, run, succeeds, wait_for

# pytest-kind's defaults (2022) are too old for the Kubernetes that the operator needs.
VERSION = "v0.33.0"
# pytest-kind's own default for --cluster-name: what `up` made, its fixture finds.
NAME = "pytest-kind"
# kind's defaults for pods and Services.
SUBNETS = ("10.244.0.0/16", "10.96.0.0/16")
_NODE = f"{NAME}-control-plane"
_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_STOPPED = "/etc/kubernetes/kube-apiserver.yaml"


@dataclass(frozen=True, slots=True)
class Kind:
    """The cluster in this machine's Docker engine."""

    progress: Progress

    def up(self) -> None:
        """Create it unless it is there."""
        tools(progress=self.progress)
        with self.progress.step(f"kind cluster {NAME}"):
            self._cluster().create()
            self._route("replace")
        add_metrics(kubeconfig=self.kubeconfig(), progress=self.progress)

    def down(self) -> None:
        """Delete it; Docker's image cache stays."""
        if self.status()["cluster"]:
            self._route("del")
        run(kind_path(), "delete", "cluster", "--name", NAME)

    def status(self) -> dict[str, bool]:
        """What of it works, by name."""
        listed = run(kind_path(), "get", "clusters").split()
        there = NAME in listed
        return {
            "cluster": there,
            "API": there and self._api_ready(),
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

    def stop_api_server(self) -> None:
        """Take its static pod's manifest away; returns when nothing answers any more."""
        run("docker", "exec", _NODE, "sh", "-c", f"test ! -e {_MANIFEST} || mv {_MANIFEST} {_STOPPED}")
        wait_for("end of the API server", lambda: not self._api_ready())

    def start_api_server(self) -> None:
        """Put the manifest back and wait until the API server is ready."""
        run("docker", "exec", _NODE, "sh", "-c", f"test ! -e {_STOPPED} || mv {_STOPPED} {_MANIFEST}")
        wait_for("API server", self._api_ready)

    def build_image(self, image: Image) -> str:
        """Build with Docker, whose own cache sees what has not changed. Returns the tag."""
        command = ("docker", "build", "--tag", image.tag, "--file", image.dockerfile, image.context)
        self.progress.run(f"build {image.tag}", *command)
        return image.tag

    def load(self, image: Path | str) -> None:
        """Hand an archive, or an image that Docker has, to the node; kind skips what the node has."""
        kind = "image-archive" if isinstance(image, Path) else "docker-image"
        run(kind_path(), "load", kind, "--name", NAME, str(image))

    def provide(self, image: Image) -> None:
        """Build and load."""
        self.load(self.build_image(image))

    def _api_ready(self) -> bool:
        return _answers("/readyz", kubeconfig=self.kubeconfig())

    def _route(self, verb: str) -> None:
        """Let this machine reach pods and Services by their addresses, as the tests do.

        The node's own image does it in the machine's network, for whoever may use Docker is not always root.
        """
        node = run("docker", "inspect", _NODE).strip()
        found = json.loads(node)[0]
        address = found["NetworkSettings"]["Networks"]["kind"]["IPAddress"]
        for subnet in SUBNETS:
            command = f"ip route {verb} {subnet} via {address} || test {verb} = del"
            run(
                *("docker", "run", "--rm", "--network", "host", "--cap-add", "NET_ADMIN"),
                *("--entrypoint", "sh", found["Config"]["Image"], "-c", command),
            )

    def _cluster(self) -> KindCluster:
        return KindCluster(NAME, kind_path=kind_path(), kubectl_path=binaries.program("kubectl"))


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
