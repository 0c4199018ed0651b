"""Configuration files of the local cluster's programs, checked on every `up`.

Must not hold anything that a program can be told on its command line; those are in `components`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import packages
from tests.cluster.network import (
    FIRST_POD_RANGE,
    FIRST_POD_RANGE6,
    NODE_IP,
    POD_RANGE,
    POD_RANGE6,
    families,
)
from tests.cluster.nodes import FIRST, Node
from tests.cluster.paths import PKI, STATE

PAUSE_IMAGE = "localhost/pause:1"
COREDNS = STATE / "Corefile"
DNS_READY_PORT = 8181
PROXY_HEALTH_PORT = 10256
AUDIT_POLICY = STATE / "audit.yaml"
_RESOLV_CONF = STATE / "resolv.conf"


def containerd(node: Node) -> Path:
    return node.folder / "containerd.toml"


def kubelet(node: Node) -> Path:
    return node.folder / "kubelet.yaml"


def proxy(node: Node) -> Path:
    return node.folder / "proxy.yaml"


def write_all() -> None:
    """Write every file that is not as it should be; the programs read them when they start."""
    _write(_RESOLV_CONF, f"nameserver {NODE_IP}\n")
    _write(COREDNS, _coredns())
    _write(AUDIT_POLICY, _json(_audit()))
    write_node(FIRST)
    write_pod_ranges(FIRST, *families(FIRST_POD_RANGE, FIRST_POD_RANGE6))


def write_node(node: Node, *, taint: str = "") -> None:
    """Files for the programs of one node; without a range for its pods it does not become ready.

    `taint`: `key=value:effect`, which the node has from its registration on.
    """
    _cni_folder(node).mkdir(parents=True, exist_ok=True)
    _write(containerd(node), _containerd(node))
    _write(kubelet(node), _json(_kubelet(node) | _taints(taint)))
    _write(proxy(node), _json(_proxy(node)))


def _taints(taint: str) -> dict[str, object]:
    key, _, rest = taint.partition("=")
    value, _, effect = rest.partition(":")
    return {"registerWithTaints": [{"key": key, "value": value, "effect": effect}]} if taint else {}


def write_pod_ranges(node: Node, *pod_ranges: str) -> None:
    """The addresses of the node's pods, one range for each family. containerd watches this file."""
    _write(_cni_folder(node) / "10-bridge.conflist", _json(_cni(node, pod_ranges)))


def _cni_folder(node: Node) -> Path:
    return node.folder / "cni"


def _write(file: Path, text: str) -> None:
    """Leaves an equal file alone: kube-proxy watches its own, and ends when it is written."""
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


def _json(content: dict[str, object]) -> str:
    """JSON is YAML, and needs no quoting rules."""
    return json.dumps(content, indent=1) + "\n"


def _containerd(node: Node) -> str:
    # restrict_oom_score_adj: root may lack CAP_SYS_RESOURCE, and then no sandbox starts without it.
    return f"""\
version = 2
root = "{node.folder}/cd/root"
state = "{node.folder}/cd/state"
[grpc]
  address = "{node.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{packages.cni_folder()}"
    conf_dir = "{_cni_folder(node)}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{node.folder}/runc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{node.folder}/cd/opt"
"""


def _coredns() -> str:
    return f"""\
.:53 {{
    bind {NODE_IP}
    errors
    ready {NODE_IP}:{DNS_READY_PORT}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {PKI}/admin.kubeconfig local
        ttl 5
    }}
    cache 5
}}
"""


def _audit() -> dict[str, object]:
    """Writes by ServiceAccounts, each once, without their bodies."""
    writes = {
        "level": "Metadata",
        "userGroups": ["system:serviceaccounts"],
        "verbs": ["create", "update", "patch", "delete", "deletecollection"],
    }
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [writes, {"level": "None"}],
    }


def _cni(node: Node, pod_ranges: Sequence[str]) -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "dataDir": str(node.folder / "ipam"),
        "ranges": [[{"subnet": pod_range}] for pod_range in pod_ranges],
        "routes": [{"dst": "::/0" if ":" in pod_range else "0.0.0.0/0"} for pod_range in pod_ranges],
    }
    # hairpinMode lets a pod reach itself by its Service.
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return {"cniVersion": "1.0.0", "name": node.cni_network, "plugins": [bridge, portmap]}


def _kubelet(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.namespace}",
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "resolvConf": str(_RESOLV_CONF),
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "volumePluginDir": str(node.folder / "kubelet" / "volumeplugins"),
        "podLogsDir": str(node.folder / "podlogs"),
        "maxOpenFiles": 20000,
        # A changed ConfigMap reaches its mounts with the pod's next look, by default within a minute.
        "syncFrequency": "10s",
        "tlsCertFile": str(node.pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(node.pki / "kubelet-server.key"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(PKI / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "maxPods": 250,
        # No registry to pull from again: an image that is garbage-collected is lost. 100 switches that off.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            **{f"{space}.{what}": "0%" for space in ("nodefs", "imagefs") for what in ("available", "inodesFree")},
            "memory.available": "100Mi",
        },
    }


def _proxy(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(PKI / "proxy.kubeconfig")},
        "hostnameOverride": node.name,
        "healthzBindAddress": f"{node.address}:{PROXY_HEALTH_PORT}",
        "mode": "iptables",
        "clusterCIDR": ",".join(families(POD_RANGE, POD_RANGE6)),
        # These sysctls are not writable in a network namespace; zero leaves them alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }
