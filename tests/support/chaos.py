"""Breaks what the operator stands on, in the order of a plan: its process, its clock, its API server.

Must not judge; what a test started is whole again when each disturbance is over.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.cluster import engine, pki
from tests.cluster.images import STEPPING_CLOCK
from tests.support.api_proxy import ApiProxy, Fault, Shares
from tests.support.chaos_plan import Disturbance, Kind, plan
from tests.support.killer import Killer, container_of, freeze_leader, kill_leader
from tests.support.kube import wait_until
from tests.support.ports import server_port
from tests.support.release import Release
from tests.support.spending import pause

# A pass makes about ten requests, and one that fails ends it.
SHARES: Final = Shares(busy=0.015, broken=0.015, conflict=0.04, lost=0.04, cut=0.2)
# For a write of the kind that a leader is to be frozen in; without one it is frozen as it is.
_PATIENCE: Final = 25.0
# For a leader that was thawed to find out, or to do harm.
_THAWED: Final = 5.0
_PYTHON: Final = "/opt/venv/bin/python"
_SET_CLOCK: Final = """
import os, sys
with open("/dev/shm/clock.new", "w") as file:
    file.write(sys.argv[1])
os.rename("/dev/shm/clock.new", "/dev/shm/clock")
"""


@dataclass(slots=True)
class Chaos:
    """Disturbances of one operator, whose way to the API server is the proxy."""

    operator: Release
    killer: Killer
    proxy: ApiProxy
    done: Counter[Kind] = field(default_factory=Counter)
    # Writes in the middle of which a leader was frozen.
    caught: Counter[str] = field(default_factory=Counter)
    # Pods whose clock is ahead.
    _ahead: set[str] = field(default_factory=set)

    def run(self, *, seed: int, seconds: float, over: Callable[[], bool]) -> None:
        """Follows the plan for so many seconds, and until each kind and fault has come once, or until it is `over`."""
        print(f"chaos with seed {seed}")
        until = time.monotonic() + seconds
        self.proxy.shares = SHARES
        try:
            for disturbance in plan(seed):
                if over() or (time.monotonic() > until and self._had_everything()):
                    return
                pause(disturbance.pause)
                print(f"{time.strftime('%H:%M:%S')} {disturbance}")
                self._make(disturbance)
                self.done[disturbance.kind] += 1
        finally:
            self.proxy.shares = Shares()

    def _had_everything(self) -> bool:
        return set(self.done) == set(Kind) and set(self.proxy.counts) == set(Fault)

    def settle(self) -> None:
        """Sets the clocks right, and waits until all replicas are ready and one leads."""
        for pod in self.operator.pods():
            if pod["metadata"]["name"] in self._ahead:
                self._set_clock(pod["metadata"]["name"], 0)
        self.operator.settle()

    def _make(self, disturbance: Disturbance) -> None:
        match disturbance.kind:
            case Kind.KILLED:
                self._kill(gone=disturbance.gone)
            case Kind.AWAY:
                self._stop_api_server(disturbance.seconds)
            case Kind.STEPPED:
                self._step(disturbance.offset, seconds=disturbance.seconds)
            case Kind.FROZEN:
                self._freeze(disturbance.write, before=disturbance.before)

    def _kill(self, *, gone: bool) -> None:
        hit = kill_leader(self.operator, self.killer)
        if gone:
            self.operator.kube.delete("pod", hit, "--grace-period=0", "--force")
            self._another_leader(hit)
        else:
            self.operator.renew(hit)

    def _stop_api_server(self, seconds: float) -> None:
        cluster = engine.current()
        cluster.stop_api_server()
        try:
            pause(seconds)
        finally:
            cluster.start_api_server()
        # Whoever could not renew the Lease has ended, and the kubelet makes it wait longer each time.
        self._renew_restarted()

    def _step(self, offset: int, *, seconds: float) -> None:
        leader = self.operator.leader()
        if leader in self._ahead:
            self._set_clock(leader, 0)
            return
        self._set_clock(leader, offset)
        if seconds:
            pause(seconds)
            self._set_clock(leader, 0)

    def _set_clock(self, pod: str, offset: int) -> None:
        def inside(*words: str) -> str:
            return self.operator.kube.kubectl("exec", pod, "--", _PYTHON, "-c", *words)

        container_of(self.operator, pod)
        inside(_SET_CLOCK, f"{offset:+d}")
        off = float(inside("import time; print(time.time())").split()[-1]) - time.time()
        assert abs(off - offset) < 5, f"the clock of {pod} is {off:.0f} s ahead, not {offset} s"
        self._ahead = self._ahead | {pod} if offset else self._ahead - {pod}

    def _freeze(self, write: str, *, before: bool) -> None:
        trap, container = self.proxy.set(write, before=before), ""
        try:
            trap.caught.wait(_PATIENCE)
            leader, container = freeze_leader(self.operator, self.killer)
            self._another_leader(leader)
        finally:
            # A write that was on its way arrives late, while another one leads.
            self.proxy.let_go(trap)
            pause(1)
            if container:
                self.killer.thaw(container)
        self.caught[trap.what or "none"] += 1
        pause(_THAWED)
        self._renew_restarted()

    def _another_leader(self, before: str) -> None:
        wait_until(lambda: self.operator.leader() != before, what="another leader", timeout=60)

    def _renew_restarted(self) -> None:
        for pod, restarts in self.operator.restarts().items():
            if restarts:
                self.operator.renew(pod)


@contextmanager
def chaotic(operator: Release, killer: Killer, *, seed: int, folder: Path) -> Iterator[Chaos]:
    """The operator with a clock that can be set, behind a proxy; afterwards it is installed as it was."""
    cluster = engine.current()
    cluster.provide(STEPPING_CLOCK)
    host, port = cluster.host(), server_port()
    for name, text in zip(("ca.crt", "ca.key"), cluster.authority(), strict=True):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    pki.sign_server(folder, name="proxy", address=host, authorities=folder)
    repository, _, tag = STEPPING_CLOCK.tag.rpartition(":")
    with ApiProxy(
        upstream=str(operator.kube.cluster.api.url),
        authority=folder / "ca.crt",
        certificate=folder / "proxy.crt",
        key=folder / "proxy.key",
        port=port,
        seed=seed,
    ) as proxy:
        way = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
        try:
            # Without the mark of this tree: a session that finds these pods installs its own.
            operator.install(
                image={"repository": repository, "tag": tag, "pullPolicy": "Never"},
                extraEnv=[{"name": name, "value": value} for name, value in way.items()],
                podAnnotations={},
            )
            yield Chaos(operator, killer, proxy)
        finally:
            operator.install()
            operator.settle()
