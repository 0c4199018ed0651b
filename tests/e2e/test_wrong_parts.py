"""A typo in each part of a specification during a release: it ends, nobody loses a request, and status names each."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from pytest_kind import KindCluster

from tests.support.counts import Figures
from tests.support.kube import KubectlError, wait_until
from tests.support.release import Release
from tests.support.rollouts import adopted, at_rest, checks, in_flight, reached, rollout, serves, shop, template
from tests.support.shop_manifests import resilient
from tests.support.space import Space
from tests.support.traffic import LIGHT, traffic

pytestmark = [pytest.mark.load, pytest.mark.long]

CRD: Final = "resilientservices.resilience.dev"
SPEC: Final = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties"
# Words of a later version, which its definition takes and this version of the operator does not read.
LATER: Final = (
    (f"{SPEC}/health/properties/checks/items/properties/scope/enum/-", "Node"),
    (f"{SPEC}/restart/properties/policies/items/properties/memory/properties/of/enum/-", "Node"),
    (f"{SPEC}/degradation/properties/flags/items/properties/preset/enum/-", "Slow"),
    (f"{SPEC}/rollout/properties/onFailure/enum/-", "Retry"),
)
AVAILABILITY: Final = f"{SPEC}/slo/properties/availability"


def sound(space: Space, *, warm: str = "15s") -> dict[str, Any]:
    """Something in each part, all of it right; `warm` is the time for something to go wrong in."""
    cache = {"name": "cache", "scope": "Dependency", "tcp": {"host": f"shop.{space.namespace}.svc", "port": 80}}
    return {
        "health": {**checks(), "checks": [*checks()["checks"], cache]},
        "restart": {"policies": [{"name": "old", "uptime": {"above": "720h"}}]},
        "degradation": {"flags": [{"name": "cache-lost", "check": "cache"}]},
        "alerts": {"routes": [{"matchers": ['severity="critical"'], "receiver": "nobody"}]},
        "slo": {"availability": "99.9%"},
        "rollout": rollout(blueGreen={"warmPeriod": warm}),
    }


def wrong(space: Space) -> dict[str, Any]:
    """The same, and something wrong in each part."""
    right = sound(space)
    check = {"name": "typo", "scope": "Node", "http": {"path": "/", "port": "http"}}
    policy = {"name": "typo", "memory": {"above": "90%", "of": "Node"}}
    flag = {"name": "typo", "check": "cache", "preset": "Slow"}
    route = {"matchers": ['service=~"pay("'], "receiver": "nobody"}
    return {
        "health": right["health"] | {"checks": [check, *right["health"]["checks"]]},
        "restart": {"policies": [policy, *right["restart"]["policies"]]},
        "degradation": {"flags": [flag, *right["degradation"]["flags"]]},
        "alerts": {"routes": [route, *right["alerts"]["routes"]]},
        "slo": {"availability": "100%"},
        "rollout": right["rollout"] | {"onFailure": "Retry"},
    }


NAMED: Final = (
    "spec.health.checks[0].scope",
    "spec.restart.policies[0].memory.of",
    "spec.degradation.flags[0].preset",
    "spec.alerts.routes[0].matchers[0]",
    "spec.slo.availability",
    "spec.rollout.onFailure",
)


@contextmanager
def as_later(cluster: KindCluster, space: Space) -> Iterator[None]:
    """The definition takes words that this operator does not know. It only takes more: no other test is concerned."""
    before = json.loads(cluster.kubectl("get", "crd", CRD, "-o", "json"))["spec"]
    wider = [
        *({"op": "add", "path": path, "value": word} for path, word in LATER),
        {"op": "remove", "path": f"{AVAILABILITY}/x-kubernetes-validations"},
    ]
    cluster.kubectl("patch", "crd", CRD, "--type=json", "-p", json.dumps(wider))
    try:
        yield
    finally:
        # What was written with these words goes first: the definition would refuse its next change.
        space.apply(resilient(**sound(space, warm="1s")))
        back = json.dumps([{"op": "replace", "path": "/spec", "value": before}])
        # It is longer than an argument may be.
        cluster.kubectl("patch", "crd", CRD, "--type=json", "--patch-file=/dev/stdin", input=back)


def test_a_release_ends_with_something_wrong_in_each_part(
    operator: Release, cluster: KindCluster, space: Space, figures: Figures
) -> None:
    # given
    adopted(space, *shop("v1", replicas=2, **sound(space)))
    with as_later(cluster, space), traffic(space.url(), **LIGHT) as clients:
        space.apply(template("v2", replicas=2))
        reached(space, "Warm")

        # when: the API server knows the wider definition a moment after it has taken it
        wait_until(lambda: _applied(space), what="the API server to take words of a later version")

        # then: all six are named, and the release ends
        space.wait_for("SpecValid", "False", reason="InvalidSpec")
        assert in_flight(space)
        wait_until(lambda: not in_flight(space), what="the end of the release", timeout=120)
        assert space.status()["lastRollout"]["result"] == "Succeeded"
        assert serves(space) == {"v2"}
        at_rest(space)
        explained = space.status()["explanation"]
        assert all(path in explained for path in NAMED), explained

        # and: a restart is begun and ended, and no further release begins
        assert space.restart()["result"] == "Succeeded"
        space.apply(template("v3", replicas=2))
        wait_until(
            lambda: "no release begins" in space.status()["rollout"].get("message", ""), what="the release to wait"
        )
        assert serves(space) == {"v2"}
    figures.write(**clients.figures())
    assert clients.failed == 0, clients.failures()

    # and: mended, it begins
    wait_until(lambda: serves(space) == {"v3"} and not in_flight(space), what="the release of v3", timeout=120)
    assert [event for event in space.events() if "InvalidSpec" in event]


def _applied(space: Space) -> bool:
    try:
        space.apply(resilient(**wrong(space)))
    except KubectlError:
        return False
    return True
