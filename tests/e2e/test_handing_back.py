"""Handing back what nobody describes any more: an unreadable spec, a finalizer taken off, a namespace that ends."""

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pytest_kind import KindCluster

from tests.e2e.test_release_faults import STEPS, at
from tests.e2e.test_release_lifecycle import given_back
from tests.support.counts import PROOF, Figures, count
from tests.support.kube import Kube, KubectlError, Object, wait_until
from tests.support.release import NAME, NAMESPACE, Release
from tests.support.rollouts import Endpoints, adopted, release, rollout, serves, shop, template
from tests.support.shop_manifests import shop as plain_shop
from tests.support.space import Space
from tests.support.traffic import traffic

# The API server's regular expressions know no space but ASCII's, so it takes this path; ours refuse it. The rest of the
# specification is in force.
UNREADABLE: Object = {"verify": {"path": "/readyz\u00a0"}}
CAUGHT = STEPS if PROOF else ["green Warm"]
SLOW = rollout(blueGreen={"warmPeriod": "20s"})


@pytest.fixture
def doomed(cluster: KindCluster, release: Release) -> Iterator[Space]:
    """A namespace that the test deletes itself."""
    everywhere, space = Kube(cluster), Space(cluster, f"e2e-{uuid.uuid4().hex[:6]}")
    everywhere.kubectl("create", "namespace", space.namespace)
    yield space
    everywhere.delete("namespace", space.namespace, "--ignore-not-found", "--wait=false")


def make_unreadable(space: Space) -> None:
    space.patch("rsvc", "shop", {"spec": UNREADABLE})
    space.wait_for("Stalled", "True", reason="InvalidSpec")


def take_finalizer_off(space: Space) -> None:
    space.delete("rsvc", "shop", "--wait=false")
    space.patch("rsvc", "shop", {"metadata": {"finalizers": None}})


def test_at_rest_an_unreadable_spec_is_no_reason_to_stay_paused(operator: Release, space: Space) -> None:
    # given
    adopted(space, *shop("v1"))
    make_unreadable(space)
    # when
    space.delete("rsvc", "shop")
    # then
    assert given_back(space)
    space.apply(template("v2"))
    wait_until(lambda: serves(space) == {"v2"}, what="the Deployment's own rolling update", timeout=60)


@pytest.mark.parametrize("step", CAUGHT)
def test_a_spec_that_became_unreadable_in_a_release_is_handed_back(operator: Release, space: Space, step: str) -> None:
    # given
    adopted(space, *shop("v1", replicas=2, rollout=SLOW))
    with Endpoints(space) as endpoints:
        space.apply(template("v2", replicas=2))
        at(space, step)
        make_unreadable(space)
        # when
        space.delete("rsvc", "shop")
        # then: the second Deployment and the pin are gone, and whatever served kept serving
        assert given_back(space)
        assert endpoints.fewest() >= 2, endpoints.story()
    wait_until(lambda: serves(space) == {"v2"}, what="the wanted template", timeout=60)


@pytest.mark.parametrize("step", CAUGHT)
def test_a_finalizer_taken_off_in_a_release_leaves_nothing_behind(operator: Release, space: Space, step: str) -> None:
    # given
    adopted(space, *shop("v1", replicas=2, rollout=SLOW))
    with Endpoints(space) as endpoints:
        space.apply(template("v2", replicas=2))
        at(space, step)
        # when
        take_finalizer_off(space)
        # then
        wait_until(lambda: given_back(space), what="the hand-back", timeout=60)
        assert endpoints.fewest() >= 2, endpoints.story()
    assert any("GivenBack" in event for event in space.events())


def troubles(operator: Release, since: str, namespace: str) -> list[Object]:
    """The operator's log lines about this namespace that are no mere information."""
    lines = [line for line in operator.logs(since).splitlines() if line.startswith("{") and namespace in line]
    return [entry for entry in map(json.loads, lines) if entry.get("level") in ("warning", "error", "critical")]


def test_a_namespace_that_is_deleted_in_a_release_ends_quietly(operator: Release, doomed: Space) -> None:
    # given
    adopted(doomed, *shop("v1", rollout=SLOW))
    doomed.apply(template("v2"))
    at(doomed, "green Warm")
    since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    # when
    Kube(doomed.cluster).delete("namespace", doomed.namespace)
    # then
    assert len(found := troubles(operator, since, doomed.namespace)) <= 3, found


@pytest.mark.load
def test_a_namespace_of_many_services_ends_and_holds_up_nobody_else(
    operator: Release, space: Space, doomed: Space, figures: Figures
) -> None:
    # given: many services in one namespace, and one in another
    names = [f"shop-{number}" for number in range(count(10, proof=100))]
    doomed.apply(*(item for name in names for item in plain_shop(name, replicas=0)))
    wait_until(lambda: all("phase" in doomed.status(name) for name in names), what="a look at each of them")
    adopted(space, *shop("v1"))
    everywhere = Kube(doomed.cluster)
    with traffic(space.url()) as clients:
        # when: the namespace goes while the other service is released
        began = time.monotonic()
        everywhere.delete("namespace", doomed.namespace, "--wait=false")
        released = release(space, template("v2"))
        # then
        wait_until(lambda: everywhere.find("namespaces", doomed.namespace) is None, what="its end", timeout=60)
        ended_after = time.monotonic() - began
    figures.write(services=len(names), seconds_until_gone=round(ended_after, 1), **clients.figures())
    assert released["result"] == "Succeeded"
    assert clients.failed == 0, clients.failures()


def may(kube: Kube, *what: str) -> bool:
    """The operator's ServiceAccount may do this."""
    account = f"--as=system:serviceaccount:{NAMESPACE}:{NAME}"
    try:
        return kube.kubectl("auth", "can-i", *what, account).strip() == "yes"
    except KubectlError:
        return False


@pytest.mark.exclusive
def test_upgrading_to_some_namespaces_and_back(
    operator: Release, space: Space, doomed: Space, other_space: Space
) -> None:
    # given: it looks after everything
    assert may(other_space, "list", "pods")
    # when: it is told to look after two namespaces
    operator.install(namespaces=[space.namespace, doomed.namespace])
    try:
        # then: it works there, and has no rights elsewhere
        other_space.apply(*plain_shop())
        adopted(doomed, *shop("v1", rollout=SLOW))
        assert "finalizers" not in doomed.get("resilientservices", "shop")["metadata"]
        assert may(space, "list", "pods")
        for verb in ("list", "patch"):
            assert not may(other_space, verb, "pods")
            assert not may(other_space, verb, "pods", "--all-namespaces")
            assert not may(other_space, verb, "resilientservices.resilience.dev")
        assert "status" not in other_space.get("resilientservices", "shop")
        # and a namespace that goes in the middle of a release holds up nothing
        doomed.apply(template("v2"))
        at(doomed, "green Warm")
        everywhere = Kube(doomed.cluster)
        everywhere.delete("namespace", doomed.namespace, "--wait=false")
        space.start(*plain_shop())
        assert space.restart()["result"] == "Succeeded"
        wait_until(lambda: everywhere.find("namespaces", doomed.namespace) is None, what="its end", timeout=60)
        # and a resource that goes there is handed back although nothing held it
        space.delete("rsvc", "shop")
        wait_until(lambda: given_back(space), what="the hand-back")
    finally:
        operator.install()
    # then: all is looked after again
    other_space.wait_running()
