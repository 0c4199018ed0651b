"""Pods whose resources are not their template's: resized in place, by the VPA, or by a LimitRange's defaults.

A share is of what the pod itself has. From the manifest by way of the real policies to the verdict on a figure.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, cast

import pytest

from resilience.api.reasons import HealthState
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import targets
from resilience.core.health.thresholds import Outcome
from resilience.core.model.context import Context
from resilience.core.model.probes import CheckTarget, SlopeProbe
from resilience.core.model.usage import ContainerUsage, PodUsage
from resilience.core.read_depth import Depth, read_depth
from resilience.core.restarts import policies
from resilience.ports import Contents, Network
from resilience.runtime.checking.usage_checker import MeasuringChecker
from tests.support.factories import NOW, make_check, make_context, make_resource, make_seen, make_spec
from tests.variety import manifests
from tests.variety.manifests import Object

MEBI: Final = 2**20
CONTAINER: Final = "containers: [{name: app, image: 'shop:1', resources: {limits: {memory: %s}}}]"
BARE: Final = "containers: [{name: app, image: 'shop:1'}]"
SPEC: Final = make_spec(
    restart={"policies": [{"name": "leak", "memory": {"above": "90%", "for": "20s"}}]},
    health={"checks": [{"name": "usage", "scope": "Pod", "usage": {"memory": {"critical": "90%"}}}]},
)
NOTHING: Final = make_spec()
USAGE_CHECK: Final = make_spec(
    health={"checks": [{"name": "usage", "scope": "Pod", "usage": {"memory": {"critical": "90%"}}}]}
)


def template(limit: str) -> Object:
    return manifests.template(CONTAINER % limit if limit else BARE)


class Figures:
    """metrics-server: the one pod uses so much memory."""

    def __init__(self, mebi: int) -> None:
        self._used = ContainerUsage(cpu_cores=0.1, memory_bytes=mebi * MEBI)

    async def pods(self, namespace: str) -> Mapping[str, PodUsage]:
        return {"a": PodUsage(timestamp=NOW, window=timedelta(seconds=15), containers={"app": self._used})}


def seen_with(spec: ResilientServiceSpec, *, of_template: str, of_pod: str, **seen: Any) -> Context:
    """A pass over a pod whose container has this limit, in its specification and as the kubelet reports it."""
    raw = manifests.pod(template(of_pod))
    reported = {"name": "app", "resources": raw["spec"]["containers"][0].get("resources", {})}
    raw["status"]["containerStatuses"] = [reported | {"ready": True, "restartCount": 0}]
    workload = manifests.read_workload(manifests.deployment(template(of_template), replicas=1))
    return make_context(make_resource(spec), make_seen(manifests.read_pod(raw), workload=workload, **seen))


def watched(of_template: str, of_pod: str) -> list[CheckTarget]:
    """The targets that are measured."""
    context = seen_with(SPEC, of_template=of_template, of_pod=of_pod)
    health = targets.check_targets(context.spec, context.effective, context.observation)
    return [*policies.targets(context), *health]


async def outcomes(of_template: str, of_pod: str, *, used: int) -> dict[str, Outcome]:
    """The verdicts of the policy and of the check on so many MiB."""
    checker = MeasuringChecker(cast(Network, None), Figures(used), cast(Contents, None), now=lambda: NOW)
    results: dict[str, Outcome] = {}
    for target in watched(of_template, of_pod):
        results[target.check] = (await checker.check(target.probe, timeout=timedelta(seconds=5))).outcome
    return results


def both(outcome: Outcome) -> dict[str, Outcome]:
    return {"policy/leak": outcome, "usage": outcome}


@pytest.mark.parametrize(("used", "outcome"), [(60, Outcome.PASS), (120, Outcome.FAIL)])
async def test_a_pod_as_its_template_has_it(used: int, outcome: Outcome) -> None:
    assert await outcomes("128Mi", "128Mi", used=used) == both(outcome)


@pytest.mark.parametrize(
    ("of_pod", "used", "outcome"),
    [("512Mi", 163, Outcome.PASS), ("64Mi", 60, Outcome.FAIL)],
    ids=["at 32 % of its own", "at 94 % of its own"],
)
async def test_a_pod_that_was_resized(of_pod: str, used: int, outcome: Outcome) -> None:
    assert await outcomes("128Mi", of_pod, used=used) == both(outcome)


@pytest.mark.parametrize(("used", "outcome"), [(60, Outcome.PASS), (120, Outcome.FAIL)])
async def test_a_limit_that_only_the_pod_has(used: int, outcome: Outcome) -> None:
    """A LimitRange's default is written into pods, never into the template."""
    assert await outcomes("", "128Mi", used=used) == both(outcome)


async def test_while_a_resize_waits_the_pod_has_what_the_kubelet_reports() -> None:
    """The specification has what is wanted, which a full node may never give."""
    raw = manifests.pod(template("512Mi"))
    raw["status"]["containerStatuses"] = [{"name": "app", "resources": {"limits": {"memory": "128Mi"}}}]

    assert manifests.read_pod(raw).resources["app"].limits == {"memory": 128 * MEBI}


async def test_a_pod_whose_kubelet_reports_nothing_has_what_its_specification_says() -> None:
    assert manifests.read_pod(manifests.pod(template("64Mi"))).resources["app"].limits == {"memory": 64 * MEBI}


def test_growth_is_foreseen_to_the_limit_of_the_pod() -> None:
    spec = make_spec(restart={"policies": [{"name": "oom", "memorySlope": {"limitWithin": "2h"}}]})
    (target,) = policies.targets(seen_with(spec, of_template="", of_pod="512Mi"))

    assert isinstance(target.probe, SlopeProbe)
    assert target.probe.limit == 512 * MEBI


@pytest.mark.parametrize(("of_pod", "measurable"), [("128Mi", True), ("", False)])
def test_a_limit_that_pods_get_from_a_limit_range_can_be_compared_with(of_pod: str, measurable: bool) -> None:
    assert (policies.unmeasurable(seen_with(SPEC, of_template="", of_pod=of_pod)) == "") is measurable


@pytest.mark.parametrize(("resized", "fires"), [(False, True), (True, False)])
def test_a_verdict_from_before_a_resize_restarts_nothing(resized: bool, fires: bool) -> None:
    """The policy fired at the old limit, and the pass that it causes reads the new one."""
    before = seen_with(SPEC, of_template="128Mi", of_pod="128Mi")
    asked = {target.pod_uid: target.probe for target in policies.targets(before) if target.check == "policy/leak"}
    by_pod = dict.fromkeys(asked, HealthState.UNHEALTHY)
    unhealthy = make_check("policy/leak", HealthState.UNHEALTHY, by_pod=by_pod, probes_by_pod=asked)
    now = seen_with(
        SPEC, of_template="128Mi", of_pod="512Mi" if resized else "128Mi", checks={"policy/leak": unhealthy}
    )

    assert bool(policies.firing(now)) is fires


@pytest.mark.parametrize(("spec", "depth"), [(SPEC, Depth.LIMITS), (USAGE_CHECK, Depth.PODS), (NOTHING, Depth.WATCHES)])
def test_pods_are_read_where_their_limits_matter(spec: ResilientServiceSpec, depth: Depth) -> None:
    context = seen_with(spec, of_template="128Mi", of_pod="128Mi")
    # Nothing is in flight: the template is the one that serves.
    workload = replace(context.workload, template=replace(context.workload.template, fingerprint=""))

    assert read_depth(context.resource, workload) is depth
