"""Whatever is wrong with one service is said in words that help, and concerns no other service."""

from collections.abc import Iterator

import pytest
from pytest_kind import KindCluster

from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.shop_manifests import LISTENS_PROBE, deployment, resilient, selects, service, shop
from tests.support.space import Space, opened

pytestmark = pytest.mark.xdist_group("bad input")

OWN_PROBE: Object = {"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": 7}
PROBES: Object = {"readiness": {"check": "ready"}, "startup": {"check": "live"}}
BROKEN: list[Object] = [
    resilient("no-target", target="nowhere"),
    *(deployment("no-service"), resilient("no-service")),
    *(deployment("mismatch"), service("mismatch", selector=selects("others")), resilient("mismatch")),
    *(deployment("no-port"), service("no-port")),
    resilient("no-port", service={"name": "no-port", "port": "grpc"}),
    *(deployment("no-container"), service("no-container"), resilient("no-container", container="app")),
    *(deployment("hangs", env={"HANG": "1"}, probe=LISTENS_PROBE), service("hangs")),
    *(deployment("floods", env={"BIG_HEALTH": "1"}, probe=LISTENS_PROBE), service("floods"), resilient("floods")),
    *(deployment("owned", probe=OWN_PROBE), service("owned"), resilient("owned", probes=PROBES)),
]


@pytest.fixture(scope="module")
def restarts_before(release: Release) -> dict[str, int]:
    release.settle()
    return release.restarts()


@pytest.fixture(scope="module")
def bad_space(cluster: KindCluster, restarts_before: dict[str, int]) -> Iterator[Space]:
    """One namespace with everything that is wrong, and one service with which nothing is."""
    with opened(cluster) as space:
        space.apply(*shop("good"), *BROKEN)
        space.wait_running("good")
        yield space


# Resource, reason of Stalled, words of its message.
STALLED = [
    ("no-target", "TargetNotFound", "there is no Deployment nowhere in namespace"),
    ("no-service", "ServiceNotFound", "create it or correct spec.service"),
    ("mismatch", "ServiceMismatch", "does not select the pods of the target; correct its selector"),
    ("no-port", "PortNotFound", "Service no-port has no port grpc; it has http"),
    ("no-container", "ContainerNotFound", "have no container app; they have shop"),
]


@pytest.mark.parametrize(("name", "reason", "words"), STALLED, ids=[case[0] for case in STALLED])
def test_what_a_person_must_mend_is_said(bad_space: Space, name: str, reason: str, words: str) -> None:
    found = bad_space.wait_for("Stalled", "True", name, reason=reason)
    assert words in found["message"]
    assert words in bad_space.status(name)["explanation"]


def test_a_check_that_hangs_is_unhealthy_after_its_time_out(bad_space: Space) -> None:
    # given: it listens; a pod that starts refuses connections first, and that is not healthy either
    bad_space.kubectl("rollout", "status", "deployment/hangs", "--timeout=60s")
    bad_space.apply(resilient("hangs"))
    # then
    found = bad_space.wait_for("Healthy", "False", "hangs")
    assert "no answer within 900ms" in found["message"]


def test_a_check_that_answers_ten_megabytes_is_read_as_far_as_it_matters(bad_space: Space) -> None:
    bad_space.wait_running("floods")
    assert len(str(bad_space.status("floods"))) < 10_000


def test_a_probe_that_somebody_else_owns_is_left_alone_and_named(bad_space: Space) -> None:
    found = bad_space.wait_for("ProbesSynced", "False", "owned", reason="FieldConflict")
    assert "readinessProbe of container shop belongs to kubectl-client-side-apply" in found["message"]

    # when: the rest is asked for
    value = bad_space.request("adopt", "owned")

    # then: the rest is written, and the user's probe is as it was
    wait_until(lambda: bad_space.handled("adopt", "owned").get("value") == value, what="the managed fields")
    bad_space.wait_for("Ready", "True", "owned")
    container = bad_space.get("deployments", "owned")["spec"]["template"]["spec"]["containers"][0]
    assert "startupProbe" in container
    assert OWN_PROBE["httpGet"].items() <= container["readinessProbe"]["httpGet"].items()
    assert container["readinessProbe"]["periodSeconds"] == 7
    assert bad_space.condition("ProbesSynced", "owned")["reason"] == "FieldConflict"


def test_the_others_are_not_affected(bad_space: Space) -> None:
    assert bad_space.restart("good")["result"] == "Succeeded"
    bad_space.wait_running("good")


def test_what_is_mended_is_noticed(bad_space: Space) -> None:
    # when: what was missing is made
    bad_space.apply(deployment("nowhere"), service("nowhere"), service("no-service"), service("mismatch"))
    # then: nobody has to tell the operator
    bad_space.wait_running("no-target", "no-service", "mismatch")
    for name in ("no-target", "no-service", "mismatch"):
        assert bad_space.condition("Stalled", name)["status"] == "False"


def test_the_operator_did_not_fall_over(release: Release, restarts_before: dict[str, int], bad_space: Space) -> None:
    assert release.restarts() == restarts_before
