"""The operator is upgraded and rolled back (`helm upgrade`, `helm rollback`) at each step of its work, under load.

The other version has another image, definition, setting and values. It writes words for steps, and a field of status,
that this tree's version does not know, and the other way round.
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cluster import engine
from tests.cluster.images import LATER
from tests.cluster.paths import cache
from tests.cluster.shell import exclusive
from tests.support.chart import PROJECT, with_values
from tests.support.counts import PROOF, Figures
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.rollouts import GREEN, Endpoints, adopted, at_rest, ended, serves, shop, template, trace
from tests.support.shop_manifests import shop as plain_shop
from tests.support.space import Space
from tests.support.traffic import traffic
from tests.support.versions import WORDS, Versions, later_chart
from tests.support.witness import Sighting, Witness

OUT = ("Preparing", "Scaling", "Switching", "Overlapping", "Warm", "Draining")
HOME = ("Preparing", "Switching", "Overlapping", "Draining")
STEPS = (*(f"green {step}" for step in OUT), *(f"blue {step}" for step in HOME))
OF_PODS = ("replacing", "leaving", "left", "draining", "deleting")
# Each step once on the way to the later version, and once on the way back.
RELEASES = list(zip(STEPS, reversed(STEPS), strict=True)) if PROOF else [("green Overlapping", "green Warm")]
RESTARTS = list(zip(OF_PODS, reversed(OF_PODS), strict=True)) if PROOF else [("leaving", "draining")]
ALL_VALUES = sorted((PROJECT / "tests/chart/values").glob("*.yaml"))
EARLIER_VALUES = ALL_VALUES if PROOF else ALL_VALUES[:1]


@pytest.fixture(scope="session")
def later_image(loaded: None) -> None:
    """The image of the later version, on the cluster's nodes."""
    with exclusive(cache() / "images.lock"):
        engine.current().provide(LATER)


@pytest.fixture
def versions(operator: Release, later_image: None, tmp_path: Path) -> Iterator[Versions]:
    """Ways to the later version and back."""
    versions = Versions(operator, later_chart(tmp_path))
    yield versions
    versions.close()


def at(space: Space, step: str) -> None:
    """Waits until green carries the step, in the words of either version, or a later one."""

    def probe() -> bool:
        found: Object = space.find("deployments", GREEN) or {"metadata": {}}
        notes = found["metadata"].get("annotations") or {}
        word = str(notes.get("resilience.dev/release-step"))
        now = f"{notes.get('resilience.dev/release-towards')} {WORDS.get(word, word)}"
        return now in STEPS and STEPS.index(now) >= STEPS.index(step)

    wait_until(probe, what=f"step {step}", timeout=60, every=0.01)


def started(space: Space) -> int:
    """Number of releases that were announced."""
    return sum("ReleaseStarted" in event for event in space.events())


@pytest.mark.exclusive
@pytest.mark.long
@pytest.mark.parametrize(("up", "back"), RELEASES)
def test_the_operator_is_upgraded_and_rolled_back_in_releases(
    versions: Versions, space: Space, figures: Figures, up: str, back: str
) -> None:
    # given: a shop under blue-green, under load
    adopted(space, *shop("v0", replicas=2))
    # A Deployment that still rolls when it is first seen counts as a release, too.
    known, results = started(space), []
    with Witness(space) as witness, Endpoints(space) as endpoints, traffic(space.url()) as clients:
        began = time.monotonic()
        for version, step in (("v1", up), ("v2", back)):
            # when: one version of the operator follows the other at this step
            (versions.prepare_upgrade if version == "v1" else versions.prepare_rollback)()
            before = trace(space)
            space.apply(template(version, replicas=2))
            at(space, step)
            leader = versions.go()
            # then: the release ends as if nothing had been
            results.append(ended(space, before))
            versions.finish(leader)
    figures.write(durations=[result["duration"] for result in results], **clients.figures())
    assert [result["result"] for result in results] == ["Succeeded", "Succeeded"], results
    assert clients.failed == 0, clients.failures()
    assert endpoints.fewest() >= 2, endpoints.story()
    # and nothing was done twice: each version started twice, as in any release
    assert len(witness.names(since=began)) == 8
    assert started(space) - known <= 2
    assert serves(space) == {"v2"}
    at_rest(space)


def reached(step: str, pod: Sighting) -> bool:
    return pod.deleting if step == "deleting" else WORDS.get(pod.step, pod.step) == step


@pytest.mark.exclusive
@pytest.mark.parametrize(("up", "back"), RESTARTS)
def test_the_operator_is_upgraded_and_rolled_back_in_restarts(
    versions: Versions, space: Space, figures: Figures, up: str, back: str
) -> None:
    # given: a shop under load
    space.start(*plain_shop())
    results = []
    with Witness(space) as witness, traffic(space.url()) as clients:
        first = time.monotonic()
        for step, prepare in ((up, versions.prepare_upgrade), (back, versions.prepare_rollback)):
            # when: one version of the operator follows the other at this step
            prepare()
            began = time.monotonic()
            value = space.request("restart")
            witness.wait(partial(reached, step), what=f"a pod that is {step}", since=began)
            leader = versions.go()
            # then: the restart ends as if nothing had been
            results.append(space.ended(value, timeout=60))
            versions.finish(leader)
    figures.write(durations=[result["duration"] for result in results], **clients.figures())
    assert [result["result"] for result in results] == ["Succeeded", "Succeeded"], results
    assert len(witness.names(since=first)) == 2, "exactly one replacement each"
    assert clients.failed == 0, clients.failures()
    assert witness.fewest_serving() >= 1
    assert space.retiring() == []


@pytest.mark.exclusive
@pytest.mark.parametrize("values", EARLIER_VALUES, ids=lambda path: path.stem)
def test_an_upgrade_reuses_the_values_of_an_earlier_chart(
    operator: Release, space: Space, figures: Figures, tmp_path: Path, values: Path
) -> None:
    """With a user as OpenShift chooses them, whom the image does not know."""
    # given: the operator with these values, and a shop under load that restarts
    operator.install(chart=with_values(tmp_path, values))
    try:
        space.start(*plain_shop())
        with Witness(space) as witness, traffic(space.url()) as clients:
            began = time.monotonic()
            value = space.request("restart")
            witness.wait(partial(reached, "leaving"), what="a pod that leaves", since=began)
            # when: it is upgraded with what the release has
            operator.reuse_values(podSecurityContext={"runAsUser": 1000660000, "runAsGroup": 0})
            result = space.ended(value, timeout=60)
        # then: the restart ends as if nothing had been
        figures.write(duration=result["duration"], **clients.figures())
        assert result["result"] == "Succeeded", result
        assert clients.failed == 0, clients.failures()
        assert len(witness.names(since=began)) == 1, "exactly one replacement"
        assert {pod["spec"]["securityContext"]["runAsUser"] for pod in operator.pods()} == {1000660000}
        assert not any(operator.restarts().values()), "no replica crashed"
    finally:
        operator.install()
