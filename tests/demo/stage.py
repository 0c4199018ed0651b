"""What the acts stand on: kubectl, Helm, the shop, and a picture of the pods while something happens."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.cluster import binaries
from tests.cluster.engine import Cluster
from tests.cluster.paths import PROJECT
from tests.cluster.progress import Progress
from tests.cluster.shell import ClusterError
from tests.support.load import BackgroundLoad
from tests.support.recorder import Recorder

NAMESPACE: Final = "shop"
OPERATOR: Final = "resilience-system"
# Where whoever is on call is told.
HOOK: Final = "/oncall"
_SHOP: Final = PROJECT / "examples" / "shop" / "k8s"
_WAIT: Final = 120.0


@dataclass(frozen=True, slots=True)
class Stage:
    """The cluster and what is shown of it."""

    console: Console
    progress: Progress
    cluster: Cluster
    oncall: Recorder

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """kubectl's output. Raises ClusterError with its complaint."""
        return self._run(str(binaries.program("kubectl")), *words, stdin=stdin)

    def get(self, *words: str) -> dict[str, Any]:
        """An object or a list."""
        answer: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json"))
        return answer

    def show(self, *words: str) -> None:
        """A command as a person types it, and its real output."""
        self.console.print(f"\n[bold]$ kubectl {' '.join(words)}[/]", soft_wrap=True)
        self.console.print(self.kubectl(*words).rstrip(), markup=False, soft_wrap=True)

    def install(self) -> None:
        """The operator by Helm, the shop by kubectl."""
        with self.progress.step("helm install resilience-operator"):
            self._run(
                *(str(binaries.program("helm")), "upgrade", "--install", "resilience-operator"),
                str(PROJECT / "charts" / "resilience-operator"),
                *("--namespace", OPERATOR, "--create-namespace", "--wait", "--timeout", "120s"),
                *("--set", "image.repository=docker.io/library/resilience-operator", "--set", "image.tag=dev"),
                *("--set", "scrapeAnnotations=true"),
            )
        with self.progress.step("kubectl apply -f examples/shop/k8s/shop.yaml -f examples/shop/k8s/redis.yaml"):
            self.kubectl("apply", "-f", str(_SHOP / "shop.yaml"), "-f", str(_SHOP / "redis.yaml"))
            # The nastiest application: it exits at once on SIGTERM, with requests in flight.
            self.kubectl("set", "env", "-n", NAMESPACE, "deploy/shop", "EXIT_ON_SIGTERM=1")
            for name in ("redis", "shop"):
                self.kubectl("rollout", "status", "-n", NAMESPACE, f"deploy/{name}", "--timeout=120s")

    def adopt(self) -> None:
        """The shop's ResilientService, exactly as in examples/."""
        self.kubectl("apply", "-f", str(_SHOP / "resilientservice.yaml"))

    def call(self) -> None:
        """Somebody is on call for the shop: an AlertReceiver that leads to a server of the demo's own."""
        url = f"http://{self.cluster.host()}:{self.oncall.port}{HOOK}"
        self.kubectl("create", "secret", "generic", "oncall", "-n", NAMESPACE, f"--from-literal=url={url}")
        self.kubectl("label", "secret", "oncall", "-n", NAMESPACE, "resilience.dev/readable=true")
        receiver = {
            "apiVersion": "resilience.dev/v1alpha1",
            "kind": "AlertReceiver",
            "metadata": {"name": "oncall", "namespace": NAMESPACE},
            "spec": {"webhook": {"urlFrom": {"secretKeyRef": {"name": "oncall", "key": "url"}}}},
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(receiver))
        alerts = {"spec": {"alerts": {"defaultReceiver": "oncall"}}}
        self.kubectl("patch", "rsvc", "shop", "-n", NAMESPACE, "--type=merge", "-p", json.dumps(alerts))

    def uninstall(self) -> None:
        """The reverse of `install`, for a cluster that was there before."""
        with self.progress.step("cleaning up"):
            self._run(str(binaries.program("helm")), "uninstall", "resilience-operator", "--namespace", OPERATOR)
            self.kubectl("delete", "namespace", NAMESPACE, OPERATOR)

    def resource(self) -> dict[str, Any]:
        """The shop's ResilientService."""
        return self.get("rsvc", "shop", "-n", NAMESPACE)

    def operator_pods(self) -> list[dict[str, Any]]:
        """The operator's replicas."""
        items: list[dict[str, Any]] = self.get("pods", "-n", OPERATOR)["items"]
        return items

    def url(self) -> str:
        """Where the shop's clients go to."""
        return f"http://{self.get('service', 'shop', '-n', NAMESPACE)['spec']['clusterIP']}/"

    def wait(self, what: str, done: Callable[[], bool], *, seconds: float = _WAIT) -> None:
        """Waits with a spinner. Raises TimeoutError."""
        deadline = monotonic() + seconds
        with self.progress.step(what):
            while not done():
                if monotonic() > deadline:
                    raise TimeoutError(f"{what}: not within {seconds:.0f} s; {self._explanation()}")
                sleep(0.3)

    def watch(self, what: str, done: Callable[[], bool], load: BackgroundLoad, *, seconds: float = _WAIT) -> None:
        """Waits with a live picture of the pods and of the load. Raises TimeoutError."""
        deadline = monotonic() + seconds
        self.console.print(f"\n[bold]{what}[/]")
        with Live(console=self.console, refresh_per_second=4) as live:
            while not done():
                if monotonic() > deadline:
                    raise TimeoutError(f"{what}: not within {seconds:.0f} s; {self._explanation()}")
                live.update(self._picture(load))
                sleep(0.5)
            live.update(self._picture(load))

    def _explanation(self) -> str:
        return str(self.resource().get("status", {}).get("explanation", "no status yet"))

    def _picture(self, load: BackgroundLoad) -> Table:
        result = load.result()
        failed = f"[red]{result.failed}[/]" if result.failed else "[green]0[/]"
        rollout = self.resource().get("status", {}).get("rollout", {})
        step = f", {rollout.get('step')} {rollout.get('progress')} %" if "candidate" in rollout else ""
        title = f"{result.sent} requests, {failed} failed{step}"
        table = Table("pod", "state", "step", "colour", title=title, title_justify="left")
        for pod in self.get("pods", "-n", NAMESPACE)["items"]:
            meta, status = pod["metadata"], pod.get("status", {})
            ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))
            state = "ending" if "deletionTimestamp" in meta else "ready" if ready else "starting"
            labels = meta["labels"]
            colour = "[green]green[/]" if labels.get("resilience.dev/track") == "green" else "[blue]blue[/]"
            table.add_row(meta["name"], state, labels.get("resilience.dev/retiring", ""), colour)
        return table

    def _run(self, *argv: str, stdin: str = "") -> str:
        environment = {"KUBECONFIG": str(self.cluster.kubeconfig()), "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise ClusterError(f"{argv[0].rsplit('/', 1)[-1]} {argv[1]}: {done.stderr.strip()}")
        return done.stdout
