"""Pods whose resources are not their template's: resized in place, by the VPA, or by a LimitRange's defaults.

A share is of what the pod itself has. From the manifest by way of the real policies to the verdict on a figure.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, cast

import pytest

from resilience.core.health import targets
from resilience.core.health.thresholds import Outcome
from resilience.core.model.probes import CheckTarget
from resilience.core.model.usage import ContainerUsage, PodUsage
from resilience.core.restarts import policies
from resilience.ports import Contents, Network
from resilience.runtime.checking.usage_checker import MeasuringChecker
from tests.support.factories import NOW, make_context, make_resource, make_seen, make_spec
from tests.variety import manifests
from tests.variety.manifests import Object

TEMPLATES_LIMIT = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="a share of usage is taken of the template's limit, not of the pod's"
)
MEBI: Final = 2**20
CONTAINER: Final = "containers: [{name: app, image: 'shop:1', resources: {limits: {memory: %s}}}]"
BARE: Final = "containers: [{name: app, image: 'shop:1'}]"
SPEC: Final = make_spec(
    restart={"policies": [{"name": "leak", "memory": {"above": "90%", "for": "20s"}}]},
    health={"checks": [{"name": "usage", "scope": "Pod", "usage": {"memory": {"critical": "90%"}}}]},
)


def template(limit: str) -> Object:
    return manifests.template(CONTAINER % limit if limit else BARE)


class Figures:
    """metrics-server: the one pod uses so much memory."""

    def __init__(self, mebi: int) -> None:
        self._used = ContainerUsage(cpu_cores=0.1, memory_bytes=mebi * MEBI)

    async def pods(self, namespace: str) -> Mapping[str, PodUsage]:
        return {"a": PodUsage(timestamp=NOW, window=timedelta(seconds=15), containers={"app": self._used})}


def watched(of_template: str, of_pod: str) -> list[CheckTarget]:
    """The targets that are measured: the pod's container has this limit, in its spec and as the kubelet reports it."""
    raw = manifests.pod(template(of_pod))
    reported = {"name": "app", "resources": raw["spec"]["containers"][0].get("resources", {})}
    raw["status"]["containerStatuses"] = [reported | {"ready": True, "restartCount": 0}]
    workload = manifests.read_workload(manifests.deployment(template(of_template), replicas=1))
    context = make_context(make_resource(SPEC), make_seen(manifests.read_pod(raw), workload=workload))
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


@TEMPLATES_LIMIT
@pytest.mark.parametrize(
    ("of_pod", "used", "outcome"),
    [("512Mi", 163, Outcome.PASS), ("64Mi", 60, Outcome.FAIL)],
    ids=["at 32 % of its own", "at 94 % of its own"],
)
async def test_a_pod_that_was_resized(of_pod: str, used: int, outcome: Outcome) -> None:
    assert await outcomes("128Mi", of_pod, used=used) == both(outcome)


@TEMPLATES_LIMIT
@pytest.mark.parametrize(("used", "outcome"), [(60, Outcome.PASS), (120, Outcome.FAIL)])
async def test_a_limit_that_only_the_pod_has(used: int, outcome: Outcome) -> None:
    """A LimitRange's default is written into pods, never into the template."""
    assert await outcomes("", "128Mi", used=used) == both(outcome)
