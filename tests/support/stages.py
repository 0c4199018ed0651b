"""Stages of a release, built by hand: two colours of pods, one Service, and the step of the release.

A test names only what it is about; pins, slices and counts are as they should be at the step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_SERVING, LABEL_TRACK
from resilience.api.reasons import Colour, HealthState, ReleaseStep
from resilience.api.status import Status
from resilience.api.status_rollout import RolloutStatus, StepTime, Version
from resilience.core.model.actions import AdvanceGreen
from resilience.core.model.observation import Green, Observation, Pod, PodsView, Resource
from resilience.core.model.workload import ReplicaSet, Template, Workload
from resilience.core.rollouts import gates, rollout
from resilience.core.rollouts.context import RolloutContext
from tests.support.factories import (
    LABELS,
    NOW,
    READY_CHECK,
    make_check,
    make_container,
    make_context,
    make_endpoint,
    make_pod,
    make_resource,
    make_service,
    make_spec,
    make_workload,
)

# Fingerprints of templates, and the hashes that their pods carry; green's are hashed with its own label.
OLD, NEW, LATER = "t-old", "t-new", "t-later"
HASHES: Final = {OLD: "h-old", NEW: "h-new", LATER: "h-later"}
GREEN_HASH: Final = "h-green"
GREEN_LABELS: Final = LABELS | {LABEL_TRACK: "green"}
SIZE: Final = 2
MINUTE: Final = timedelta(minutes=1)

_PINNED_TO_BLUE: Final = (ReleaseStep.PREPARING, ReleaseStep.SCALING, ReleaseStep.DISCARDING)


def own_pods(template: str = OLD, count: int = SIZE, **fields: Any) -> tuple[Pod, ...]:
    """The target's own pods with this template."""
    labels = LABELS | {"pod-template-hash": HASHES[template]}
    return tuple(make_pod(f"{template}-{number}", **{"labels": labels} | fields) for number in range(count))


def green_pods(count: int = SIZE, **fields: Any) -> tuple[Pod, ...]:
    labels = GREEN_LABELS | {"pod-template-hash": GREEN_HASH}
    return tuple(make_pod(f"green-{number}", **{"labels": labels} | fields) for number in range(count))


def version(template: str = NEW) -> Version:
    return Version(hash=template, image=f"shop:{template}")


def running(template: str = NEW, *, ago: timedelta = MINUTE, **fields: Any) -> Status:
    """Status while a release of this template is in flight."""
    began = NOW - ago
    steps = [StepTime(name="Preparing", since=began)]
    known = {"candidate": version(template), "started_at": began, "serving": version(OLD), "steps": steps}
    return Status(observed_generation=1, rollout=RolloutStatus.model_validate(known | fields))


def to(step: ReleaseStep, towards: Colour = Colour.GREEN, replicas: int | None = None) -> AdvanceGreen:
    """The action that leads to this step."""
    return AdvanceGreen(step, towards, NOW, replicas)


def checked(
    state: HealthState = HealthState.HEALTHY, *, ago: int = 60, pods: Sequence[Pod] = (), **fields: Any
) -> dict[str, Any]:
    """Fields of an observation: the gate's check has had this state at the pods (green's by default) for `ago` s."""
    by_pod = {pod.uid: state for pod in pods or green_pods()}
    silent = state is HealthState.UNKNOWN
    usual: dict[str, Any] = {"since": NOW - timedelta(seconds=ago), "by_pod": by_pod, "silent": silent}
    return {"checks": {gates.PREFIX + "ready": make_check(state=state, **usual | fields)}}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Choices of a test; the mappings are fields of the view of that name."""

    step: ReleaseStep | None = None
    towards: Colour = Colour.GREEN
    # Templates: the user's, the one that the target's own pods serve with (empty when not held), the failed one.
    wanted: str = NEW
    serving: str = OLD
    failed: str = ""
    # The template of green.
    kept: str = NEW
    own: Sequence[Pod] | None = None
    green: Sequence[Pod] = field(default_factory=green_pods)
    # The hash that the Service is pinned to; None for the right one at the step.
    pin: str | None = None
    # Pods that the slices list; None for those that the Service selects.
    listed: Sequence[Pod] | None = None
    ago: timedelta = MINUTE
    rollout: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    workload: Mapping[str, Any] = field(default_factory=dict)
    of_green: Mapping[str, Any] = field(default_factory=dict)
    view: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, Any] = field(default_factory=dict)
    status: Status = field(default_factory=running)
    annotations: Mapping[str, str] = field(default_factory=dict)
    leaving: bool = False
    writing: bool = False

    @property
    def pods(self) -> Sequence[Pod]:
        """The target's own pods."""
        if self.own is not None:
            return self.own
        return own_pods(self.serving or self.wanted) if self.towards is Colour.GREEN else own_pods(self.wanted)


def make_stage(step: ReleaseStep | None = None, towards: Colour = Colour.GREEN, **fields: Any) -> RolloutContext:
    """The context of a scenario."""
    made = Scenario(step, towards, **fields)
    resource, observation = look(made)
    base = make_context(resource, observation)
    assert observation.pods is not None
    return rollout.make_context(base, observation.pods, writing=made.writing, leaving=made.leaving)


def look(made: Scenario) -> tuple[Resource, Observation]:
    """The resource, and the observation around it."""
    rollout = {"strategy": "BlueGreen"} | dict(made.rollout)
    spec = make_spec(**{"health": {"checks": [READY_CHECK]}, "rollout": rollout} | dict(made.spec))
    resource = make_resource(spec, status=made.status, annotations=made.annotations)
    selector = LABELS | ({"pod-template-hash": pin} if (pin := _pin(made)) else {})
    service = make_service(selector=selector, pinned=bool(pin))
    green = _green(made)
    pods = (*made.pods, *(green.pods if green is not None else ()))
    listed = [pod for pod in pods if service.selects(pod.labels)] if made.listed is None else made.listed
    observation = Observation(
        workload=_workload(made),
        services=(service,),
        endpoints=tuple(make_endpoint(pod) for pod in listed),
        pods=replace(PodsView(tuple(made.pods), _replica_sets(made), green=green), **made.view),
    )
    return resource, replace(observation, **made.seen)


def _pin(made: Scenario) -> str:
    if made.pin is not None:
        return made.pin
    back = made.towards is Colour.BLUE
    if made.step in (ReleaseStep.WARM, ReleaseStep.DRAINING):
        return HASHES[made.serving] if back else GREEN_HASH
    if made.step in _PINNED_TO_BLUE:
        return GREEN_HASH if back else HASHES[made.serving]
    return ""


def _template(fingerprint: str, labels: Mapping[str, str] = LABELS, **fields: Any) -> Template:
    made = Template(labels=labels, containers=(make_container(image=f"shop:{fingerprint}"),), fingerprint=fingerprint)
    return replace(made, **fields)


def _workload(made: Scenario) -> Workload:
    own = [pod for pod in made.pods if not pod.deleting]
    notes = {ANNOTATION_SERVING: made.serving, ANNOTATION_FAILED: made.failed}
    usual: dict[str, Any] = {
        "replicas": SIZE,
        "current": len(own),
        "updated": sum(pod.labels.get("pod-template-hash") == HASHES[made.wanted] for pod in own),
        "available": sum(pod.available for pod in own),
        "paused": bool(made.serving),
        "annotations": {key: value for key, value in notes.items() if value},
    }
    fields = dict(made.workload)
    template = _template(made.wanted, **fields.pop("template", {}))
    return make_workload(template=template, **usual | fields)


def _replica_sets(made: Scenario) -> tuple[ReplicaSet, ...]:
    replica_sets = []
    for name, own_hash in HASHES.items():
        count = sum(pod.labels.get("pod-template-hash") == own_hash for pod in made.pods)
        if count or name in (made.wanted, made.serving):
            current = name == (made.serving or made.wanted)
            replica_sets.append(ReplicaSet(f"rs-{name}", f"uid-{name}", own_hash, count, current, name, {"app": name}))
    return tuple(replica_sets)


def _green(made: Scenario) -> Green | None:
    if made.step is None:
        return None
    fields = dict(made.of_green)
    workload = make_workload(
        replicas=fields.pop("replicas", SIZE), name="checkout-green", template=_template(made.kept, GREEN_LABELS)
    )
    since = NOW - made.ago
    green = Green(workload, GREEN_HASH, tuple(made.green), made.step, made.towards, since, since)
    return replace(green, **fields)
