"""The shop's manifests as a user would write them, with the changes that a test needs.

Must not talk to a cluster.
"""

from collections.abc import Mapping
from typing import Any

from tests.cluster.images import SHOP

Object = dict[str, Any]

LABEL = "app.kubernetes.io/name"
# Two readiness probes of the user: one requests the application, the other only checks that it listens.
READY_PROBE: Object = {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 2}
LISTENS_PROBE: Object = {"tcpSocket": {"port": "http"}, "periodSeconds": 1}
READY_CHECK: Object = {"name": "ready", "http": {"path": "/readyz", "port": "http"}}
LIVE_CHECK: Object = {"name": "live", "scope": "Pod", "http": {"path": "/livez", "port": "http"}}
SIGNAL: Object = {"http": {"path": "/drain", "port": "admin"}}
QUIET: Object = {"http": {"path": "/api/connections", "port": "admin", "json": "active", "below": 1}}
# No authorities: nothing here speaks TLS, and aiohttp reads all of them at each start, which took a third of it.
ALWAYS: Object = {"EXIT_ON_SIGTERM": "1", "SSL_CERT_FILE": "/dev/null"}
DRAIN: Object = {"preStop": "0s", "signal": SIGNAL, "quiet": QUIET, "maxWait": "30s"}


def selects(name: str) -> dict[str, str]:
    return {LABEL: name}


def container(env: Mapping[str, Any], **fields: Any) -> Object:
    values = {**ALWAYS, **env}
    named: list[Object] = [
        {"name": key, "valueFrom": value} if isinstance(value, dict) else {"name": key, "value": value}
        for key, value in values.items()
    ]
    named.append({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    return {
        "name": "shop",
        "image": SHOP.tag,
        "imagePullPolicy": "Never",
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 8081}],
        "env": named,
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        **fields,
    }


def template(
    name: str,
    *,
    env: Mapping[str, Any] | None = None,
    probe: Object | None = READY_PROBE,
    pod: Object | None = None,
    **fields: Any,
) -> Object:
    """`probe` is the user's own readiness probe, `pod` further fields of the pod, the others those of the container."""
    probes = {"readinessProbe": probe} if probe else {}
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 10,
        "containers": [container(env or {}, **probes, **fields)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        **(pod or {}),
    }
    return {"metadata": {"labels": selects(name)}, "spec": spec}


def workload(kind: str, name: str, *, spec: Object | None = None, **of_template: Any) -> Object:
    """A Deployment, StatefulSet or DaemonSet; `spec` contains its fields besides selector and template."""
    usual: Object = {"selector": {"matchLabels": selects(name)}, "template": template(name, **of_template)}
    if kind == "StatefulSet":
        usual |= {"serviceName": name}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": selects(name)},
        "spec": usual | (spec or {}),
    }


def deployment(name: str = "shop", *, replicas: int = 1, spec: Object | None = None, **of_template: Any) -> Object:
    return workload("Deployment", name, spec={"replicas": replicas} | (spec or {}), **of_template)


def service(name: str = "shop", *, selector: Mapping[str, str] | None = None) -> Object:
    """A Service that the machine that runs the tests reaches, too."""
    port = {"name": "http", "port": 80, "targetPort": "http"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "NodePort", "selector": dict(selector or selects(name)), "ports": [port]},
    }


def resilient(name: str = "shop", *, kind: str = "Deployment", target: str | None = None, **spec: Any) -> Object:
    """A ResilientService; a field that is None is left out."""
    usual: Object = {
        "profile": "Test",
        "targetRef": {"kind": kind, "name": target or name},
        "service": {"name": target or name, "port": "http"},
        "health": {"interval": "1s", "timeout": "900ms", "checks": [READY_CHECK, LIVE_CHECK]},
        "drain": DRAIN,
        "verify": {"requestsPerSecond": 20, "path": "/readyz"},
    } | spec
    return {
        "apiVersion": "resilience.dev/v1alpha1",
        "kind": "ResilientService",
        "metadata": {"name": name},
        "spec": {key: value for key, value in usual.items() if value is not None},
    }


def policies(*entries: Object, **restart: Any) -> Object:
    """`spec.restart` with these policies and nothing that delays a test."""
    return {"coolDown": "1s", "budget": {"max": 100, "per": "1h"}, "policies": list(entries)} | restart


def shop(name: str = "shop", *, replicas: int = 1, env: Mapping[str, Any] | None = None, **spec: Any) -> list[Object]:
    """Deployment, Service and ResilientService; `spec` changes the last."""
    return [deployment(name, replicas=replicas, env=env), service(name), resilient(name, **spec)]


def budget(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": selects(name)}, **spec},
    }


def autoscaler(name: str, *, least: int, most: int, silent: bool = False) -> Object:
    """An autoscaler that follows the CPU and stays at `least`; a silent one knows no metric and never scales.

    A shop is one process and cannot use four cores. With a smaller value, a slow machine would decide the number of
    pods.
    """
    metric: Object = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "4"}},
    }
    if silent:
        external = {"metric": {"name": "orders"}, "target": {"type": "AverageValue", "averageValue": "10"}}
        metric = {"type": "External", "external": external}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [metric],
        },
    }
