"""The health scripts for Argo CD, run by a real Lua 5.1 with as little around them as Argo CD gives them.

Must not need Argo CD.
"""

from pathlib import Path
from typing import Any

import lupa.lua51 as lua
import pytest
import yaml

from resilience.api import names
from resilience.api.reasons import ConditionType, Phase, Reason

FOLDER = Path(__file__).parents[2] / "examples/gitops/argocd"
NOT_OFFERED = ("string", "math", "io", "os", "debug", "coroutine")

Object = dict[str, Any]


def judged(script: str, resource: Object) -> tuple[str, str | None]:
    """Status and message; both must be words, for Argo CD reads them as JSON."""
    runtime = lua.LuaRuntime(register_eval=False, register_builtins=False)
    for library in NOT_OFFERED:
        runtime.globals()[library] = None
    runtime.globals()["obj"] = runtime.table_from(resource, recursive=True)
    found = dict(runtime.execute((FOLDER / script).read_text()))
    assert set(found) <= {"status", "message"}
    return found["status"], found.get("message")


def condition(kind: ConditionType, status: str, reason: Reason) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": f"why {kind}"}


def service(
    ready: str,
    reason: Reason,
    *,
    stalled: Reason | None = None,
    phase: Phase = Phase.RUNNING,
    suspend: bool | None = None,
    seen: int = 3,
) -> Object:
    """A ResilientService of generation 3."""
    broken = condition(ConditionType.STALLED, "True" if stalled else "False", stalled or Reason.NOT_STALLED)
    said = [condition(ConditionType.READY, ready, reason), broken]
    status = {"observedGeneration": seen, "phase": phase, "explanation": "explained", "conditions": said}
    return {"metadata": {"generation": 3}, "spec": {} if suspend is None else {"suspend": suspend}, "status": status}


def deployment(*, held: bool = False, paused: bool | None = None, replicas: int | None = 3, **status: Any) -> Object:
    """A Deployment of generation 3, with three pods up to date unless `status` says otherwise."""
    counts = {"observedGeneration": 3, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3} | status
    return {
        "metadata": {"generation": 3, "annotations": {names.ANNOTATION_SERVING: "5d4f"} if held else None},
        "spec": {"replicas": replicas, "paused": paused},
        "status": counts,
    }


LATE = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (service("True", Reason.SERVING), ("Healthy", "why Ready")),
        (service("True", Reason.SCALED_TO_ZERO, suspend=False), ("Healthy", "why Ready")),
        (service("False", Reason.ROLLING, phase=Phase.DEPLOYING), ("Progressing", "explained")),
        (service("False", Reason.RELEASING, phase=Phase.DEPLOYING), ("Progressing", "explained")),
        (service("False", Reason.RESTARTING), ("Progressing", "explained")),
        (service("False", Reason.NOT_AVAILABLE, phase=Phase.FAILED), ("Progressing", "explained")),
        (service("False", Reason.AWAITING_PROMOTION, phase=Phase.DEPLOYING), ("Suspended", "explained")),
        (service("True", Reason.SERVING, suspend=True, phase=Phase.SUSPENDED), ("Suspended", "explained")),
        (service("True", Reason.SERVING, suspend=True), ("Suspended", "explained")),
        (service("Unknown", Reason.RELEASED, phase=Phase.SUSPENDED), ("Suspended", "explained")),
        (service("False", Reason.TARGET_NOT_FOUND, stalled=Reason.TARGET_NOT_FOUND), ("Degraded", "why Stalled")),
        (service("False", Reason.ROLLED_BACK, stalled=Reason.ROLLOUT_FAILED), ("Degraded", "why Stalled")),
        (service("True", Reason.SERVING, stalled=Reason.BLUE_GREEN_IMPOSSIBLE), ("Degraded", "why Stalled")),
        (
            service("True", Reason.SERVING, stalled=Reason.SERVICE_NOT_FOUND, suspend=True, phase=Phase.SUSPENDED),
            ("Degraded", "why Stalled"),
        ),
    ],
)
def test_a_service_is_judged_by_its_conditions(resource: Object, expected: tuple[str, str]) -> None:
    assert judged("health.lua", resource) == expected


@pytest.mark.parametrize(
    "resource",
    [
        {"metadata": {"generation": 1}, "spec": {}},
        {"metadata": {"generation": 1}, "spec": {}, "status": {}},
        service("True", Reason.SERVING, seen=2),
        service("False", Reason.INVALID_SPEC, stalled=Reason.INVALID_SPEC, seen=2),
        service("True", Reason.SERVING, phase=Phase.SUSPENDED, seen=2),
    ],
    ids=["no-status", "empty-status", "was-ready", "was-stalled", "was-suspended"],
)
def test_what_was_said_about_an_older_specification_does_not_count(resource: Object) -> None:
    assert judged("health.lua", resource) == ("Progressing", "the operator has not looked at this specification yet")


def test_a_status_without_conditions_is_no_success() -> None:
    resource = {"metadata": {"generation": 1}, "spec": {}, "status": {"observedGeneration": 1}}
    assert judged("health.lua", resource) == ("Progressing", None)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (deployment(), ("Healthy", "3 pods are available")),
        (deployment(paused=True), ("Suspended", "paused")),
        (deployment(paused=True, held=True), ("Healthy", "3 pods are available")),
        (deployment(paused=False, held=True), ("Healthy", "3 pods are available")),
        (
            deployment(paused=True, held=True, updatedReplicas=0),
            ("Progressing", "0 of 3 pods have the newest template"),
        ),
        (
            deployment(paused=True, held=True, availableReplicas=2),
            ("Progressing", "2 of 3 pods are available"),
        ),
        (
            deployment(observedGeneration=2),
            ("Progressing", "the newest specification has not been looked at yet"),
        ),
        (deployment(replicas=2, updatedReplicas=2), ("Progressing", "pods with an older template: 1")),
        (deployment(conditions=LATE, updatedReplicas=1), ("Degraded", "timed out")),
        (deployment(replicas=None, updatedReplicas=0), ("Progressing", "0 of 1 pods have the newest template")),
        (deployment(replicas=4), ("Progressing", "3 of 4 pods have the newest template")),
    ],
)
def test_a_deployment_is_suspended_only_if_somebody_else_paused_it(resource: Object, expected: tuple[str, str]) -> None:
    assert judged("deployment.lua", resource) == expected


def test_a_deployment_that_nobody_has_looked_at_is_in_progress() -> None:
    resource = {"metadata": {"generation": 1}, "spec": {}}
    assert judged("deployment.lua", resource)[0] == "Progressing"


def test_a_deployment_that_is_scaled_to_zero_is_well() -> None:
    resource = deployment(replicas=0)
    resource["status"] = {"observedGeneration": 3}
    assert judged("deployment.lua", resource) == ("Healthy", "0 pods are available")


def test_the_manifest_has_the_scripts_word_for_word() -> None:
    manifest = yaml.safe_load((FOLDER / "argocd-cm.yaml").read_text())
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("ConfigMap", "argocd-cm")
    prefix = "resource.customizations.health."
    assert manifest["data"] == {
        f"{prefix}{names.GROUP}_{names.KIND}": (FOLDER / "health.lua").read_text(),
        f"{prefix}apps_Deployment": (FOLDER / "deployment.lua").read_text(),
    }
