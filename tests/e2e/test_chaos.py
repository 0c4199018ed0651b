"""Everything breaks at once, again and again, under load, in releases and restarts: nothing is lost or done twice."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count as numbers
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.api_proxy import Fault
from tests.support.chaos import Chaos, chaotic
from tests.support.chaos_plan import Kind
from tests.support.counts import PROOF, Figures, count
from tests.support.killer import Killer
from tests.support.kube import KubectlError, Object, wait_until
from tests.support.release import Release
from tests.support.rollouts import (
    GREEN,
    HASH,
    Endpoints,
    adopted,
    ended,
    in_flight,
    restart_plainly,
    rollout,
    serves,
    shop,
    template,
    trace,
)
from tests.support.shop_manifests import resilient, service
from tests.support.space import Space
from tests.support.traffic import LIGHT, Traffic, traffic
from tests.support.witness import Witness

# At least: each kind of disturbance and each fault of the API server comes once.
SECONDS: Final = count(120, proof=3600)
# The same one every day, another one for each proof; one that failed is repeated by CHAOS_SEED.
SEED: Final = int(os.environ.get("CHAOS_SEED") or (time.time() if PROOF else 1))
REPLICAS: Final = 2
# Each outage of the API server is followed by a wait of up to 90 s, and more of them come meanwhile.
LONGEST: Final = 600.0
# Requests take a moment, so that some are under way whenever a pod ends.
SLOW: Final = {"RESPONSE_DELAY_MS": "50"}
# Kubernetes itself ends the old pods of a rolling update, with every connection that is kept to them, and waits for no
# node: after an outage of the API server kube-proxy comes back up to a minute later (client-go's back-off).
ROLLS: Final[dict[str, Any]] = {
    "lifecycle": {"preStop": {"sleep": {"seconds": 60}}},
    "spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 0}}},
    "pod": {"terminationGracePeriodSeconds": 90},
}
OWNED: Final = ("deployments", "services", "configmaps", "secrets", "horizontalpodautoscalers", "resilientservices")


@dataclass(slots=True)
class Busy:
    """A shop that gets a release and a restart in turn, until it is told to stop; `made` is a release's pods."""

    space: Space
    witness: Witness
    # Fields of the Deployment beside its version.
    fields: dict[str, Any]
    made: int
    stop: threading.Event
    releases: list[Object] = field(default_factory=list)
    restarts: list[Object] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    version: str = "v1"

    def run(self) -> None:
        """Goes on for as long as all of it ends; at least one of each is made."""
        for number in numbers(2):
            if self.stop.is_set() and self.releases and self.restarts:
                return
            began = time.monotonic()
            if number % 2:
                self._restart(f"restart-{number}")
                wanted = REPLICAS
            else:
                self._release(f"v{number}")
                wanted = self.made
            self._compare(f"{number}", self.witness.names(since=began), wanted)

    def last(self) -> tuple[str, str]:
        """The release and the restart that ended last, as status says."""
        status = wait_until(self.space.status, what="status", timeout=60)
        return status["lastRollout"]["traceId"], status["lastRestart"]["request"]

    def _release(self, version: str) -> None:
        before = self._trace()
        persistently(lambda: self.space.apply(template(version, replicas=REPLICAS, **self._fields())))
        self.releases.append(ended(self.space, before, timeout=LONGEST))
        self.version = version

    def _restart(self, value: str) -> None:
        words = ("annotate", "rsvc", "shop", "--overwrite", f"resilience.dev/restart-requested-at={value}")
        persistently(lambda: self.space.kubectl(*words))
        self.restarts.append(self.space.ended(value, timeout=LONGEST))

    def _trace(self) -> str:
        before = wait_until(lambda: [trace(self.space)], what="status", timeout=60)[0]
        if self.releases and before != self.releases[-1]["traceId"]:
            self.wrong.append(f"release {before} was not asked for")
        return before

    def _compare(self, what: str, pods: set[str], wanted: int) -> None:
        green = sum(name.startswith(f"{GREEN}-") for name in pods)
        if len(pods) != wanted or green != wanted - REPLICAS:
            self.wrong.append(f"step {what} made {sorted(pods)}, which should be {wanted}")

    def _fields(self) -> dict[str, Any]:
        return {**self.fields, "env": SLOW}


def persistently(command: Callable[[], object]) -> None:
    """Repeats a command while the API server is away, as a person or a pipeline does; each does the same again."""
    deadline = time.monotonic() + 120
    while True:
        try:
            command()
        except KubectlError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def objects(space: Space) -> dict[str, set[str]]:
    """Names of what anybody might leave behind."""
    return {plural: {item["metadata"]["name"] for item in space.list(plural)} for plural in OWNED}


@pytest.fixture
def chaos(operator: Release, killer: Killer, tmp_path: Path) -> Iterator[Chaos]:
    """The operator behind the proxy, with a clock that can be set."""
    with chaotic(operator, killer, seed=SEED, folder=tmp_path) as chaos:
        yield chaos


def rested(space: Space) -> bool:
    return not in_flight(space) and not space.retiring() and not space.ending()


def assert_whole(busy: Busy, before: dict[str, set[str]]) -> None:
    """Nothing was done twice, and nothing is left behind."""
    space = busy.space
    assert not busy.wrong, busy.wrong
    assert {each["result"] for each in busy.releases} == {"Succeeded"}, busy.releases
    assert {each["result"] for each in busy.restarts} == {"Succeeded"}, busy.restarts
    assert busy.last() == (busy.releases[-1]["traceId"], busy.restarts[-1]["request"])
    assert len({each["traceId"] for each in busy.releases}) == len(busy.releases)
    assert len(space.shop_pods()) == REPLICAS
    assert serves(space) == {busy.version}
    assert space.retiring() == []
    assert HASH not in space.get("services", "shop")["spec"]["selector"]
    assert objects(space) == before


@pytest.mark.exclusive
@pytest.mark.long
def test_releases_and_restarts_go_on_in_chaos(chaos: Chaos, space: Space, other_space: Space, figures: Figures) -> None:
    # given: a shop that is released by blue-green, another one by rolling updates, both under load
    patient = "300s"
    pairs = shop("v1", replicas=REPLICAS, rollout=rollout(progressDeadline=patient))[1:]
    adopted(space, template("v1", replicas=REPLICAS, env=SLOW), *pairs)
    rolled = resilient(rollout={"progressDeadline": patient})
    other_space.start(template("v1", replicas=REPLICAS, env=SLOW, **ROLLS), service(), rolled)
    wait_until(lambda: other_space.status()["rollout"].get("serving"), what="the version that serves")
    before = [objects(each) for each in (space, other_space)]
    stop = threading.Event()

    with ExitStack() as stack:
        clients = stack.enter_context(traffic(space.url(), **LIGHT))
        new_clients = stack.enter_context(traffic(other_space.url(), **{**LIGHT, "kept": 0}))
        witnesses = [stack.enter_context(Witness(each)) for each in (space, other_space)]
        endpoints = [stack.enter_context(Endpoints(each)) for each in (space, other_space)]
        # Clients of the API are one thread's own.
        spaces = [Space(each.cluster, each.namespace) for each in (space, other_space)]
        busy = [
            Busy(spaces[0], witnesses[0], {}, 2 * REPLICAS, stop),
            Busy(spaces[1], witnesses[1], ROLLS, REPLICAS, stop),
        ]
        threads = stack.enter_context(ThreadPoolExecutor(2))
        futures = [threads.submit(each.run) for each in busy]
        # when: leaders, the API server, the way to it and the clock break, one after the other
        try:
            chaos.run(seed=SEED, seconds=SECONDS, over=lambda: any(future.done() for future in futures))
        finally:
            stop.set()
        # then: when it is over, everything ends well
        chaos.settle()
        for future in futures:
            future.result(timeout=2 * LONGEST)
        for one in (space, other_space):
            one.wait_running(timeout=180)
            wait_until(partial(rested, one), what="the end of all releases", timeout=120)

    write_figures(figures, chaos, busy, clients, new_clients)
    for each, known in zip(busy, before, strict=True):
        assert_whole(each, known)
    # and: nobody noticed
    assert clients.failed == 0, clients.failures()
    assert new_clients.failed == 0, new_clients.failures()
    assert all(each.fewest() >= REPLICAS for each in endpoints), [each.story() for each in endpoints]
    assert all(each.fewest_serving() >= REPLICAS for each in witnesses)
    # and: all of it really happened
    assert set(chaos.done) == set(Kind), chaos.done
    assert set(chaos.proxy.counts) == set(Fault), chaos.proxy.counts


def write_figures(figures: Figures, chaos: Chaos, busy: list[Busy], clients: Traffic, new_clients: Traffic) -> None:
    """Numbers of everything that was done and broken."""
    figures.write(
        seed=SEED,
        disturbances={str(kind): times for kind, times in chaos.done.items()},
        frozen_in=dict(chaos.caught),
        faults={str(fault): times for fault, times in chaos.proxy.counts.items()},
        requests_of_the_operator=chaos.proxy.requests,
        releases=[len(each.releases) for each in busy],
        restarts=[len(each.restarts) for each in busy],
        rolling_update={"sent": new_clients.sent, "failed": new_clients.failed},
        **clients.figures(),
    )


@pytest.mark.plain
def test_control_a_plain_restart_of_the_same_shop_loses_requests(space: Space, figures: Figures) -> None:
    # given: the same application, and nobody who looks after it
    space.apply(template("v1", replicas=REPLICAS, env=SLOW), service())
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    # when: it is restarted under the same load, and nothing breaks
    with traffic(space.url(), **LIGHT) as clients:
        restart_plainly(space, count(2, proof=20))
    # then
    figures.write(**clients.figures())
    assert clients.failed > 0
