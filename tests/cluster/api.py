"""Asks the local cluster's API server a few plain questions, without a client library: `up` must be quick.

Must not change anything in the cluster.
"""

import http.client
import json
import ssl

from tests.cluster import metrics
from tests.cluster.config import DNS_READY_PORT, PROXY_HEALTH_PORT
from tests.cluster.network import NODE_IP
from tests.cluster.nodes import Node
from tests.cluster.paths import PKI

_TIMEOUT = 3.0


def ready() -> bool:
    """Whether the API server says that it is."""
    return _get("/readyz") is not None


def node_ready(node: Node) -> bool:
    """The node takes pods."""
    body = _get(_path(node))
    conditions = json.loads(body)["status"].get("conditions", []) if body else []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def pod_range(node: Node) -> str:
    """Given to the node by the node controller; empty before that. A node that comes again gets another."""
    body = _get(_path(node))
    return str(json.loads(body)["spec"].get("podCIDR", "")) if body else ""


def default_account() -> bool:
    """Whether pods may be created: they need the namespace's ServiceAccount and the CA's ConfigMap."""
    namespace = "/api/v1/namespaces/default"
    return all(_get(f"{namespace}/{what}") for what in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"))


def dns_ready() -> bool:
    """Whether CoreDNS has read all Services."""
    return _answer(http.client.HTTPConnection(NODE_IP, DNS_READY_PORT, timeout=_TIMEOUT), "/ready") is not None


def proxy_ready(node: Node) -> bool:
    """The node's kube-proxy has written rules for all Services."""
    return (
        _answer(http.client.HTTPConnection(node.address, PROXY_HEALTH_PORT, timeout=_TIMEOUT), "/healthz") is not None
    )


def metrics_ready() -> bool:
    """Whether metrics-server answers through the API server; whether it has figures yet is another question."""
    return _get(metrics.GROUP) is not None


def _path(node: Node) -> str:
    return f"/api/v1/nodes/{node.name}"


def _get(path: str) -> bytes | None:
    try:
        trust = ssl.create_default_context(cafile=str(PKI / "ca.crt"))
        trust.load_cert_chain(PKI / "admin.crt", PKI / "admin.key")
    except (FileNotFoundError, ssl.SSLError):
        return None
    return _answer(http.client.HTTPSConnection(NODE_IP, 6443, timeout=_TIMEOUT, context=trust), path)


def _answer(connection: http.client.HTTPConnection, path: str) -> bytes | None:
    """The body of a 200; None for anything else, silence included."""
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if response.status == 200 else None
