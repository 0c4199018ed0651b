"""Pods that reset whoever does not speak TLS, as behind a mesh with STRICT mTLS: no page and no restart, but a word."""

import pytest

from tests.support.counts import PROOF
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.shop_manifests import LISTENS_PROBE, deployment, policies, resilient, service
from tests.support.space import Space, stays

# Answers every request until the file exists, and from then on resets what is no TLS handshake, as a mesh's proxy does.
PORT = """
import os, socket, struct, threading
RESET = struct.pack('ii', 1, 0)
def serve(connection):
    first = connection.recv(4096)
    if os.path.exists('/tmp/strict') or os.environ.get('STRICT'):
        if first[:1] != bytes([0x16]): connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    else:
        connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n')
    connection.close()
server = socket.create_server(('', 8080))
while True: threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
HUNG: Object = {"name": "stuck", "check": {"name": "live", "failures": 3}}


def meshed(*, replicas: int, strict: bool) -> list[Object]:
    """A service whose kubelet probe passes, with a policy that restarts pods whose check fails."""
    pods = deployment(
        replicas=replicas,
        env={"STRICT": "1"} if strict else {},
        probe=LISTENS_PROBE,
        command=["/opt/venv/bin/python", "-c", PORT],
    )
    return [pods, service(), resilient(drain={"preStop": "0s"}, verify=None, restart=policies(HUNG))]


def pages(space: Space) -> list[str]:
    firing = (space.status().get("alerts") or {}).get("firing") or []
    return [alert["name"] for alert in firing if alert["severity"] == "critical"]


def restarts(space: Space) -> bool:
    status = space.status()
    return "restart" in status or "lastRestart" in status


def test_a_check_that_was_never_answered_restarts_and_pages_nobody(operator: Release, space: Space) -> None:
    # given
    space.apply(*meshed(replicas=2, strict=True))
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    # when
    found = space.wait_for("Healthy", "Unknown", reason="ChecksUnreachable")
    before = space.uids()
    # then
    stays(lambda: not restarts(space) and not pages(space), seconds=30 if PROOF else 4, what="no restart and no page")
    assert space.uids() == before
    assert "requires TLS" in found["message"] and "PERMISSIVE" in space.status()["explanation"]
    assert {check["reason"] for check in space.status()["health"]["checks"]} == {"Unreachable"}


@pytest.mark.parametrize("replicas", [2 if PROOF else 1])
def test_control_what_passed_before_does_both(operator: Release, space: Space, replicas: int) -> None:
    # given
    space.start(*meshed(replicas=replicas, strict=False))
    # when: the mesh becomes strict
    for pod in space.shop_pods():
        space.inside(pod["metadata"]["name"], "open('/tmp/strict', 'w')")
    # then
    paged, restarted = False, False

    def both() -> bool:
        nonlocal paged, restarted
        paged, restarted = paged or bool(pages(space)), restarted or restarts(space)
        return paged and restarted

    wait_until(both, what="a page and a restart", timeout=60, every=0.1)
