"""Configuration files of the local cluster's programs, checked on every `up`.

Must not hold anything that a program can be told on its command line; those are in `components`.
"""

import json
from pathlib import Path

from tests.cluster import cgroups, packages
from tests.cluster.network import CNI_NETWORK, NODE_IP, NODE_POD_RANGE, POD_RANGE
from tests.cluster.paths import CONTAINERD_SOCKET, PKI, STATE
from tests.cluster.pki import NODE

PAUSE_IMAGE = "localhost/pause:1"
CONTAINERD = STATE / "containerd.toml"
KUBELET = STATE / "kubelet.yaml"
PROXY = STATE / "proxy.yaml"
COREDNS = STATE / "Corefile"
DNS_READY_PORT = 8181
PROXY_HEALTH_PORT = 10256
_CNI = STATE / "cni"
_RESOLV_CONF = STATE / "resolv.conf"


def write_all() -> None:
    """Write every file that is not as it should be; the programs read them when they start."""
    _CNI.mkdir(exist_ok=True)
    _write(_RESOLV_CONF, f"nameserver {NODE_IP}\n")
    _write(CONTAINERD, _containerd())
    _write(COREDNS, _coredns())
    _write(_CNI / "10-bridge.conflist", _json(_cni()))
    _write(KUBELET, _json(_kubelet()))
    _write(PROXY, _json(_proxy()))


def _write(file: Path, text: str) -> None:
    """Leaves an equal file alone: kube-proxy watches its own, and ends when it is written."""
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


def _json(content: dict[str, object]) -> str:
    """JSON is YAML, and needs no quoting rules."""
    return json.dumps(content, indent=1) + "\n"


def _containerd() -> str:
    # restrict_oom_score_adj: root may lack CAP_SYS_RESOURCE, and then no sandbox starts without it.
    return f"""\
version = 2
root = "{STATE}/cd/root"
state = "{STATE}/cd/state"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{packages.cni_folder()}"
    conf_dir = "{_CNI}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{STATE}/runc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{STATE}/cd/opt"
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


def _cni() -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "dataDir": str(STATE / "ipam"),
        "ranges": [[{"subnet": NODE_POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    # hairpinMode lets a pod reach itself by its Service.
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return {"cniVersion": "1.0.0", "name": CNI_NETWORK, "plugins": [bridge, portmap]}


def _kubelet() -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.NAME}",
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "resolvConf": str(_RESOLV_CONF),
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "volumePluginDir": str(STATE / "kubelet" / "volumeplugins"),
        "podLogsDir": str(STATE / "podlogs"),
        "maxOpenFiles": 20000,
        "tlsCertFile": str(PKI / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(PKI / "kubelet-server.key"),
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


def _proxy() -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(PKI / "proxy.kubeconfig")},
        "hostnameOverride": NODE,
        "healthzBindAddress": f"{NODE_IP}:{PROXY_HEALTH_PORT}",
        "mode": "iptables",
        "clusterCIDR": POD_RANGE,
        # These sysctls are not writable in a network namespace; zero leaves them alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }
