"""The local cluster's programs with their arguments, in the order in which they are started.

Must not start anything. The model is kubernetes/kubernetes hack/local-up-cluster.sh.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.cluster import binaries, config, metrics
from tests.cluster.network import (
    NODE_IP,
    NODE_IP6,
    POD_RANGE,
    POD_RANGE6,
    SERVICE_RANGE,
    SERVICE_RANGE6,
    families,
)
from tests.cluster.nodes import FIRST, Node
from tests.cluster.paths import AUDIT_LOG, PKI, STATE

_ETCD_CLIENT = "http://127.0.0.1:2379"
_ETCD_PEER = "http://127.0.0.1:2380"
# The defaults (20 and 30) make a release of a few Deployments at once take minutes.
_FAST = ("--kube-api-qps=100", "--kube-api-burst=200")


# About the share of the CPU that all pods together have (see `cgroups`): clients lose requests while the proxy waits.
PROXY_NICE = -9
# A third of that: while the API server waits, the operator's answer to a fault waits, too.
API_NICE = -5


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A program to run inside a node's network namespace."""

    name: str
    argv: tuple[str | Path, ...]
    node: Node = FIRST
    # Its nice value among all sessions of the machine: what it does is little, and everything else waits for it.
    nice: int = 0


def etcd() -> Component:
    """Without fsync: what a crash of the machine would lose, `down` would have deleted."""
    return Component(
        name="etcd",
        argv=(
            binaries.program("etcd"),
            f"--data-dir={STATE}/etcd",
            f"--listen-client-urls={_ETCD_CLIENT}",
            f"--advertise-client-urls={_ETCD_CLIENT}",
            f"--listen-peer-urls={_ETCD_PEER}",
            "--unsafe-no-fsync",
        ),
        nice=API_NICE,
    )


def api_server() -> Component:
    return Component(
        name="apiserver",
        argv=(
            binaries.program("kube-apiserver"),
            f"--etcd-servers={_ETCD_CLIENT}",
            *("--secure-port=6443", "--bind-address=0.0.0.0", f"--advertise-address={NODE_IP}"),
            f"--service-cluster-ip-range={_listed(SERVICE_RANGE, SERVICE_RANGE6)}",
            *("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"),
            "--allow-privileged=true",
            f"--client-ca-file={PKI}/ca.crt",
            *(f"--tls-cert-file={PKI}/apiserver.crt", f"--tls-private-key-file={PKI}/apiserver.key"),
            f"--kubelet-client-certificate={PKI}/apiserver-kubelet.crt",
            f"--kubelet-client-key={PKI}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={PKI}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP,Hostname",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={PKI}/sa.pub",
            f"--service-account-signing-key-file={PKI}/sa.key",
            f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={PKI}/front-proxy.crt",
            f"--proxy-client-key-file={PKI}/front-proxy.key",
            "--enable-aggregator-routing=true",
            *(f"--audit-policy-file={config.AUDIT_POLICY}", f"--audit-log-path={AUDIT_LOG}"),
        ),
        nice=API_NICE,
    )


def controller_manager() -> Component:
    """Without --root-ca-file no pod gets its token volume."""
    return Component(
        name="kcm",
        argv=(
            binaries.program("kube-controller-manager"),
            *_own_kubeconfig("kcm"),
            f"--service-account-private-key-file={PKI}/sa.key",
            f"--root-ca-file={PKI}/ca.crt",
            "--use-service-account-credentials=true",
            # After an outage of the API server its watches may begin anew so late that it takes healthy nodes for dead
            # with the default (50s), and takes every endpoint away.
            "--node-monitor-grace-period=120s",
            *(f"--cluster-signing-cert-file={PKI}/ca.crt", f"--cluster-signing-key-file={PKI}/ca.key"),
            *("--allocate-node-cidrs=true", f"--cluster-cidr={_listed(POD_RANGE, POD_RANGE6)}"),
            f"--service-cluster-ip-range={_listed(SERVICE_RANGE, SERVICE_RANGE6)}",
            *_FAST,
        ),
    )


def scheduler() -> Component:
    return Component(
        name="scheduler",
        argv=(binaries.program("kube-scheduler"), *_own_kubeconfig("scheduler"), *_FAST),
    )


def containerd(node: Node) -> Component:
    return Component(
        name=node.process("containerd"), argv=("containerd", "--config", config.containerd(node)), node=node
    )


def kubelet(node: Node) -> Component:
    return Component(
        name=node.process("kubelet"),
        argv=(
            binaries.program("kubelet"),
            f"--config={config.kubelet(node)}",
            f"--kubeconfig={node.pki}/kubelet.kubeconfig",
            f"--root-dir={node.folder}/kubelet",
            f"--hostname-override={node.name}",
            f"--node-ip={_listed(node.address, NODE_IP6) if node == FIRST else node.address}",
        ),
        node=node,
    )


def kube_proxy(node: Node) -> Component:
    argv = (binaries.program("kube-proxy"), f"--config={config.proxy(node)}")
    return Component(name=node.process("proxy"), argv=argv, node=node, nice=PROXY_NICE)


def coredns() -> Component:
    """A process on the node's address: that saves the cluster two pods and their image."""
    return Component(name="coredns", argv=(binaries.program("coredns"), "-conf", config.COREDNS))


def metrics_server() -> Component:
    """A process for the same reason. The kubelet's certificate is of the kubeconfig's own authority: it is verified."""
    return Component(
        name=metrics.NAME,
        argv=(
            binaries.program("metrics-server"),
            *_kubeconfigs("admin"),
            *(f"--bind-address={NODE_IP}", f"--secure-port={metrics.PORT}", f"--cert-dir={STATE}/metrics-server"),
            *(metrics.ADDRESSES, *metrics.PACE),
        ),
    )


def _listed(first: str, second: str) -> str:
    return ",".join(families(first, second))


def _own_kubeconfig(name: str) -> tuple[str, ...]:
    return (*_kubeconfigs(name), "--bind-address=127.0.0.1", "--leader-elect=false")


def _kubeconfigs(name: str) -> tuple[str, ...]:
    options = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return tuple(f"--{option}={PKI}/{name}.kubeconfig" for option in options)


# The first node's programs. Ended in this order: the kubelet first, or it would start again what is being ended.
NAMES = ("kubelet", "metrics-server", "proxy", "coredns", "scheduler", "kcm", "apiserver", "etcd", "containerd")


def names(node: Node) -> tuple[str, ...]:
    """Of all programs of a node, in the order of NAMES."""
    return NAMES if node == FIRST else tuple(node.process(program) for program in ("kubelet", "proxy", "containerd"))
