"""Objects of a service of the fleet: for this operator, and for Argo Rollouts with the same pods."""

from typing import Any, Final, Protocol

from resilience.adapters.kube.paths import collection
from resilience.api.names import PLURAL

Json = dict[str, Any]
PORT: Final = 8080
# Seconds for which both versions stay when traffic has changed over.
WARM: Final = 5
ROLLOUTS: Final = "/apis/argoproj.io/v1alpha1"


class Kind(Protocol):
    """A way to look after a service."""

    # Paths for all namespaces: of what holds the template, and of what says how its release went.
    templates: str
    reports: str

    def made(self, namespace: str, name: str) -> list[tuple[str, Json]]:
        """Paths of collections, and the objects to create there, in this order."""

    def is_ready(self, template: Json) -> bool:
        """Its pods are all available in the version that is wanted."""

    def is_looked_after(self, report: Json) -> bool:
        """The controller has seen it, and is content."""

    def ended(self, report: Json) -> str:
        """The release that ended last, and all is at rest; empty otherwise. It differs from release to release."""


class Ours:
    """A Deployment, a Service and a ResilientService."""

    templates = "/apis/apps/v1/deployments"
    reports = f"/apis/resilience.dev/v1alpha1/{PLURAL}"

    def __init__(self, *, replicas: int, strategy: str, checks: bool) -> None:
        self._replicas, self._strategy, self._checks = replicas, strategy, checks

    def made(self, namespace: str, name: str) -> list[tuple[str, Json]]:
        """See `Kind`."""
        looked_after = resource(namespace, name, strategy=self._strategy, checks=self._checks)
        return [
            (collection("deployments", namespace), deployment(namespace, name, replicas=self._replicas)),
            (collection("services", namespace), service(namespace, name)),
            (collection(PLURAL, namespace), looked_after),
        ]

    def is_ready(self, template: Json) -> bool:
        """See `Kind`."""
        spec, status = template["spec"], template.get("status") or {}
        observed = status.get("observedGeneration") == template["metadata"]["generation"]
        counts = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas")]
        return bool(observed and counts == [spec["replicas"]] * 3)

    def is_looked_after(self, report: Json) -> bool:
        """See `Kind`."""
        status = report.get("status") or {}
        if not self._checks:
            return bool(status.get("phase") == "Running")
        return bool(status.get("health", {}).get("state") == "Healthy")

    def ended(self, report: Json) -> str:
        """See `Kind`: the trace id."""
        return str(((report.get("status") or {}).get("lastRollout") or {}).get("traceId", ""))


class Argos:
    """A Rollout with the template of the Deployment, and a Service."""

    templates = reports = f"{ROLLOUTS}/rollouts"

    def __init__(self, *, replicas: int, strategy: str) -> None:
        self._replicas, self._strategy = replicas, strategy

    def made(self, namespace: str, name: str) -> list[tuple[str, Json]]:
        """See `Kind`."""
        rollout = deployment(namespace, name, replicas=self._replicas)
        rollout |= {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
        blue_green = {
            "activeService": name,
            "autoPromotionEnabled": True,
            "autoPromotionSeconds": WARM,
            "scaleDownDelaySeconds": WARM,
        }
        # A canary without steps is a rolling update.
        rollout["spec"]["strategy"] = {"blueGreen": blue_green} if self._strategy == "BlueGreen" else {"canary": {}}
        return [
            (collection("services", namespace), service(namespace, name)),
            (f"{ROLLOUTS}/namespaces/{namespace}/rollouts", rollout),
        ]

    def is_ready(self, template: Json) -> bool:
        """See `Kind`."""
        return bool(self.ended(template))

    def is_looked_after(self, report: Json) -> bool:
        """See `Kind`."""
        return bool(self.ended(report))

    def ended(self, report: Json) -> str:
        """See `Kind`: the hash of the template, once no pod of another one is left."""
        status = report.get("status") or {}
        version = status.get("currentPodHash", "")
        is_at_rest = (
            status.get("phase") == "Healthy"
            and status.get("observedGeneration") == str(report["metadata"]["generation"])
            and status.get("stableRS") == version
            and status.get("replicas") == report["spec"]["replicas"]
        )
        return version if is_at_rest else ""


def deployment(namespace: str, name: str, *, replicas: int) -> Json:
    """Pods that are ready as soon as they are scheduled."""
    container = {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": PORT}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "nodeSelector": {"type": "kwok"},
                    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
                    "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": False,
                    "containers": [container],
                },
            },
        },
    }


def service(namespace: str, name: str) -> Json:
    """Headless: what kube-proxy makes of a thousand Services is not what is measured."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"name": "http", "port": PORT}]},
    }


def resource(namespace: str, name: str, *, strategy: str = "RollingUpdate", checks: bool = True) -> Json:
    """One plain HTTP check every 10 s, or none."""
    health = {"health": {"checks": [{"name": "ready", "http": {"path": "/"}}]}} if checks else {}
    quick = {"blueGreen": {"warmPeriod": f"{WARM}s"}} if strategy == "BlueGreen" else {}
    return {
        "apiVersion": "resilience.dev/v1alpha1",
        "kind": "ResilientService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "profile": "Production",
            "targetRef": {"kind": "Deployment", "name": name},
            "service": {"name": name, "port": "http"},
            "probes": {"management": "Observe"},
            **health,
            "slo": {"availability": "99.9%"},
            "rollout": {"strategy": strategy, **quick},
        },
    }
