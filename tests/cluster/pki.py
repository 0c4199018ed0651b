"""Keys and certificates of the local cluster and its nodes, and kubeconfigs that carry them.

One CA, one front-proxy CA, one key for ServiceAccount tokens, as in kubernetes/kubernetes hack/local-up-cluster.sh.
Must not be used for anything that lives longer than a test cluster.
"""

import base64
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.network import API_SERVICE_IP, NODE_IP
from tests.cluster.nodes import FIRST, Node
from tests.cluster.paths import KUBECONFIG, PKI
from tests.cluster.shell import run

API_URL = f"https://{NODE_IP}:6443"
_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_DAYS = "3650"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What one program shows: `usage` is serverAuth or clientAuth, `names` a subjectAltName."""

    file: str
    subject: str
    usage: str = "clientAuth"
    names: str = ""
    issuer: str = "ca"


_API_NAMES = ",".join(
    (
        *(f"DNS:kubernetes{end}" for end in ("", ".default", ".default.svc", ".default.svc.cluster.local")),
        "DNS:localhost",
        f"IP:127.0.0.1,IP:{API_SERVICE_IP},IP:{NODE_IP}",
    )
)
CERTIFICATES = (
    Certificate(file="apiserver", subject="/CN=kube-apiserver", usage="serverAuth", names=_API_NAMES),
    Certificate(file="apiserver-kubelet", subject="/O=system:masters/CN=kube-apiserver-kubelet-client"),
    Certificate(file="front-proxy", subject="/CN=front-proxy-client", issuer="front-proxy-ca"),
    Certificate(file="admin", subject="/O=system:masters/CN=admin"),
    Certificate(file="kcm", subject="/CN=system:kube-controller-manager"),
    Certificate(file="scheduler", subject="/CN=system:kube-scheduler"),
    Certificate(file="proxy", subject="/CN=system:kube-proxy"),
)
_WITH_KUBECONFIG = ("admin", "kcm", "scheduler", "proxy")


def up() -> None:
    """Make everything once. The folder appears under its name only when it is complete."""
    if PKI.exists():
        return
    part = PKI.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    for authority in ("ca", "front-proxy-ca"):
        make_authority(part, authority)
    for certificate in CERTIFICATES:
        _sign(part, certificate, authorities=part)
    _node(part, FIRST, authorities=part)
    run("openssl", "genrsa", "-out", part / "sa.key", "2048")
    run("openssl", "rsa", "-in", part / "sa.key", "-pubout", "-out", part / "sa.pub")
    for name in _WITH_KUBECONFIG:
        _kubeconfig(part, name, authorities=part)
    shutil.copy(part / "admin.kubeconfig", KUBECONFIG)
    part.rename(PKI)


def join(node: Node) -> None:
    """Make once what a further node needs."""
    if node.pki.exists():
        return
    part = node.pki.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    _node(part, node, authorities=PKI)
    part.rename(node.pki)


def _node(folder: Path, node: Node, *, authorities: Path) -> None:
    """The kubelet as a server and as a client, signed here: that saves the approval of requests."""
    subject, names = f"/O=system:nodes/CN=system:node:{node.name}", f"DNS:{node.name},IP:{node.address}"
    server = Certificate(file="kubelet-server", subject=subject, usage="serverAuth", names=names)
    for certificate in (server, Certificate(file="kubelet", subject=subject)):
        _sign(folder, certificate, authorities=authorities)
    _kubeconfig(folder, "kubelet", authorities=authorities)


def sign_server(folder: Path, *, name: str, address: str, authorities: Path) -> None:
    """Make `name`.key and `name`.crt of a server at that address, signed by `ca` of the folder `authorities`."""
    certificate = Certificate(file=name, subject=f"/CN={name}", usage="serverAuth", names=f"IP:{address}")
    _sign(folder, certificate, authorities=authorities)


def make_authority(folder: Path, name: str) -> None:
    """Make the key and the certificate of an authority."""
    run(
        *("openssl", "req", "-x509", *_EC, "-days", _DAYS, "-subj", f"/CN={name}"),
        *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"),
        *("-addext", "basicConstraints=critical,CA:TRUE"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
    )


def _sign(folder: Path, certificate: Certificate, *, authorities: Path) -> None:
    name, issuer = certificate.file, authorities / certificate.issuer
    extensions = ["keyUsage=critical,digitalSignature", f"extendedKeyUsage={certificate.usage}"]
    if certificate.names:
        extensions.append(f"subjectAltName={certificate.names}")
    (folder / f"{name}.ext").write_text("\n".join(extensions))
    run(
        *("openssl", "req", *_EC, "-subj", certificate.subject),
        *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr"),
    )
    run(
        *("openssl", "x509", "-req", "-days", _DAYS, "-in", folder / f"{name}.csr", "-out", folder / f"{name}.crt"),
        *("-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key", "-set_serial", f"0x{os.urandom(8).hex()}"),
        *("-extfile", folder / f"{name}.ext"),
    )


def _kubeconfig(folder: Path, name: str, *, authorities: Path) -> None:
    """Everything inside (`*-data`), so that a copy works anywhere. JSON is YAML."""

    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    cluster = {"server": API_URL, "certificate-authority-data": data(authorities / "ca.crt")}
    user = {"client-certificate-data": data(folder / f"{name}.crt"), "client-key-data": data(folder / f"{name}.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": name}}],
    }
    file = folder / f"{name}.kubeconfig"
    file.touch(mode=0o600)
    file.write_text(json.dumps(content, indent=1))
