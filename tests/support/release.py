"""The operator as Helm installs it: the chart of this tree with the image built from it."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families
from pytest_kind import KindCluster

from tests.cluster import content
from tests.cluster.images import OPERATOR
from tests.cluster.paths import cache
from tests.cluster.shell import exclusive
from tests.support.chart import CHART, helm
from tests.support.kube import Kube, Object, wait_until

NAMESPACE: Final = "resilience-system"
NAME: Final = "resilience-operator"
_IMAGE: Final = {"repository": "docker.io/library/resilience-operator", "tag": "dev", "pullPolicy": "Never"}
# Tests wait for figures, so they are requested more often than by default.
_POLICIES: Final = {"usageIntervalSeconds": 5}
# Tests have more services begin something at once than most clusters do: the operator's share of the CPU is that of
# thirty shops, or its passes would come seconds late whenever many shops start.
_RESOURCES: Final = {"requests": {"cpu": "300m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
_TREE: Final = "resilience.dev/tree"
_SELECTOR: Final = "app.kubernetes.io/component=operator"
# Of a Deployment's status: all its pods, those of its newest template, and those that have been ready.
_COUNTS: Final = ("replicas", "updatedReplicas", "availableReplicas")


def _digest() -> str:
    """Changes with anything that makes the operator's pods: its image, its chart and its values."""
    image = content.digest(context=OPERATOR.context, dockerfile=OPERATOR.dockerfile, salt="")
    files = sorted(file for file in CHART.rglob("*") if file.is_file())
    return hashlib.sha256(
        b"".join([image.encode(), repr(_RESOURCES).encode(), *(file.read_bytes() for file in files)])
    ).hexdigest()[:12]


class Release:
    """The one release, in its namespace."""

    def __init__(self, cluster: KindCluster) -> None:
        self.kube = Kube(cluster, NAMESPACE)
        # The tag says nothing about the image behind it: pods of another tree must not stay.
        self._tree = _digest()

    def ensure(self) -> None:
        """Installs this tree's operator unless it is there: it outlives a session that keeps its cluster."""
        with exclusive(cache() / "release.lock"):
            target = self.kube.find("deployments", NAME)
            template = target["spec"]["template"]["metadata"] if target else {}
            if (template.get("annotations") or {}).get(_TREE) != self._tree:
                self.install()

    def install(self, *, chart: Path = CHART, **values: Any) -> None:
        """Installs or upgrades to exactly these values, and waits until a replica leads."""
        chosen = self._values(**values)
        # A definition that was applied by hand before is taken over, as a user would do it.
        options = ("--install", "--create-namespace", "--take-ownership", "--wait", "--timeout=60s", "--values=-")
        try:
            self._helm("upgrade", NAME, str(chart), *options, stdin=json.dumps(chosen))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error
        self.leader()

    def reuse_values(self, **values: Any) -> None:
        """Upgrades to this tree's chart with the values of before and these, and waits until a replica leads."""
        options = ("--reuse-values", "--wait", "--timeout=60s", "--values=-")
        self._helm("upgrade", NAME, str(CHART), *options, stdin=json.dumps(values))
        self.leader()

    def begin_upgrade(self, chart: Path, **values: Any) -> None:
        """Upgrades to another version, whose pods are not those of this tree; returns at once."""
        chosen = self._values(**{"podAnnotations": {}} | values)
        self._helm("upgrade", NAME, str(chart), "--values=-", stdin=json.dumps(chosen))

    def begin_rollback(self) -> None:
        """Goes back to the version before the last upgrade; returns at once."""
        self._helm("rollback", NAME)

    def _values(self, **values: Any) -> dict[str, Any]:
        return {
            "image": _IMAGE,
            "policies": _POLICIES,
            "scrapeAnnotations": True,
            "podAnnotations": {_TREE: self._tree},
            "resources": _RESOURCES,
            **values,
        }

    def uninstall(self) -> None:
        """Uninstalls as a user does it, hooks included."""
        self._helm("uninstall", NAME, "--wait", "--timeout=90s")

    def test(self) -> str:
        """Runs `helm test`; returns its output."""
        return self._helm("test", NAME, "--timeout=60s")

    def leader(self) -> str:
        """Name of the pod that leads, once one does and exists."""

        def probe() -> str | None:
            holder = ((self.kube.find("leases", NAME) or {}).get("spec") or {}).get("holderIdentity")
            return holder if holder in {pod["metadata"]["name"] for pod in self.pods()} else None

        return wait_until(probe, what="a leader", timeout=40)

    def pods(self) -> list[Object]:
        """The replicas that are not ending."""
        return [pod for pod in self.kube.list("pods", _SELECTOR) if "deletionTimestamp" not in pod["metadata"]]

    def scale(self, replicas: int) -> None:
        """Scales the operator to so many replicas, and waits until all are there or all are gone."""
        self.kube.kubectl("scale", f"deployment/{NAME}", f"--replicas={replicas}")
        wait_until(lambda: len(self.kube.list("pods", _SELECTOR)) == replicas, what=f"{replicas} replicas", timeout=60)
        if replicas:
            self.settle()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Keeps every replica stopped meanwhile."""
        self.scale(0)
        try:
            yield
        finally:
            self.scale(2)

    @property
    def flags_url(self) -> str:
        """URL at which pods read flags."""
        return f"http://{NAME}.{NAMESPACE}.svc:8081"

    def restarts(self) -> dict[str, int]:
        """Container restarts by pod."""
        return {
            pod["metadata"]["name"]: sum(
                container["restartCount"] for container in pod["status"].get("containerStatuses", [])
            )
            for pod in self.pods()
        }

    def renew(self, pod: str) -> None:
        """Replaces a pod that was killed, for the kubelet makes those wait longer each time; it may be gone already."""
        self.kube.delete("pod", pod, "--wait=false", "--ignore-not-found")
        wait_until(lambda: self.leader() != pod, what="another leader", timeout=40)

    def settle(self) -> None:
        """Waits until all replicas are ready and one leads."""
        wait_until(lambda: _rolled_out(self.kube.get("deployments", NAME)), what="all replicas", timeout=60)
        self.leader()

    def requests(self) -> dict[str, float]:
        """Requests of the leader to the API by verb, without watches, since it started."""
        text = self.kube.text(f"/api/v1/namespaces/{NAMESPACE}/pods/{self.leader()}:8080/proxy/metrics")
        counts: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "resilience_operator_api_requests_total":
                    verb = sample.labels["verb"]
                    counts[verb] = counts.get(verb, 0) + sample.value
        return counts

    def logs(self, since: str = "1970-01-01T00:00:00Z") -> str:
        """Last lines of all replicas since that time (RFC 3339), including those that were killed."""
        lines = []
        for pod in self.pods():
            name = pod["metadata"]["name"]
            lines.append(f"--- {name}")
            lines.append(self.kube.kubectl("logs", name, f"--since-time={since}", "--tail=200"))
            if any(container["restartCount"] for container in pod["status"].get("containerStatuses", [])):
                lines += [f"--- {name}, before", self.kube.kubectl("logs", name, "--previous", "--tail=200")]
        return "\n".join(lines)

    def _helm(self, *args: str, stdin: str = "") -> str:
        env = {**os.environ, "KUBECONFIG": str(self.kube.cluster.kubeconfig_path)}
        command = [helm(), *args, "--namespace", NAMESPACE]
        result = subprocess.run(command, input=stdin, capture_output=True, text=True, env=env, check=False)
        assert result.returncode == 0, f"helm {args[0]}: {result.stdout}{result.stderr}"
        return result.stdout


def _rolled_out(target: Object) -> bool:
    """As `kubectl rollout status` has it."""
    status, wanted = target["status"], target["spec"]["replicas"]
    is_known = status.get("observedGeneration", 0) >= target["metadata"]["generation"]
    return is_known and {status.get(each, 0) for each in _COUNTS} == {wanted}
