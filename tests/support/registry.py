"""An image registry that refuses, each repository in its own way: failed pulls without the internet.

It is a pod on the node's own network, because containerd speaks plain HTTP to localhost alone. Must not contain images.
"""

from typing import Final, Self

from tests.cluster.images import SHOP
from tests.support.kube import Kube, Object
from tests.support.ports import server_port

# The kubelet pulls one image after the other: one that hung forever would block all others.
_SLOW_SECONDS: Final = 20
# An image is `<kind>/...`; an image of any other kind is not found, either.
_KINDS: Final = ("missing", "private", "forbidden", "slow")
_PROGRAM: Final = f"""
import http.server, json, sys, time

REFUSALS = {{
    "private": (401, "UNAUTHORIZED", "authentication required"),
    "forbidden": (403, "DENIED", "requested access to the resource is denied"),
    "missing": (404, "MANIFEST_UNKNOWN", "manifest unknown"),
}}
UNKNOWN = (404, "NAME_UNKNOWN", "repository name not known to registry")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind = self.path.removeprefix("/v2/").partition("/")[0]
        if kind == "slow":
            time.sleep({_SLOW_SECONDS})
            self.close_connection = True
            return
        if self.path == "/v2/":
            self.answer(200, {{}})
            return
        status, code, message = REFUSALS.get(kind, UNKNOWN)
        self.answer(status, {{"errors": [{{"code": code, "message": message}}]}})

    do_HEAD = do_GET

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _manifest(name: str, port: int) -> Object:
    container = {
        "name": "registry",
        "image": SHOP.tag,
        "imagePullPolicy": "Never",
        "command": ["/opt/venv/bin/python", "-c", _PROGRAM, str(port)],
        "ports": [{"containerPort": port}],
        "readinessProbe": {"httpGet": {"host": "127.0.0.1", "path": "/v2/", "port": port}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"hostNetwork": True, "terminationGracePeriodSeconds": 0, "containers": [container]},
    }


class Registry:
    """Refuses pulls while the context is open, at a port of the node that no other registry has."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.port = server_port()
        self._name = f"registry-{self.port}"

    def __enter__(self) -> Self:
        self._kube.apply(_manifest(self._name, self.port))
        self._kube.kubectl("wait", "--for=condition=Ready", f"pod/{self._name}", "--timeout=60s")
        return self

    def __exit__(self, *_: object) -> None:
        self._kube.delete("pod", self._name, "--wait=false")

    def image(self, kind: str) -> str:
        """An image that cannot be pulled.

        `missing` does not exist, `private` accepts no credentials, `forbidden` refuses everybody, `slow` keeps a pull
        waiting, and with it all later pulls of the node, before it hangs up.
        """
        assert kind in _KINDS, kind
        return f"localhost:{self.port}/{kind}/shop:1"
