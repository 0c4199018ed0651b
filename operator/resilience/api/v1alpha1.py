"""`ResilientService` v1alpha1: the specification, the one source of the CRD's schema.

Fields whose default depends on the profile have none here; `core.model.profiles` resolves them and status shows them.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from resilience.api.alerts import Alerts
from resilience.api.base import ApiModel, rule, rules, validated
from resilience.api.checks import Health
from resilience.api.degradation import Degradation
from resilience.api.http import HttpRequest
from resilience.api.restarts import Restart
from resilience.api.rules import at_least, compared, flag_rules, gate_rules, policy_rules, probe_rules, whole_seconds
from resilience.api.scalars import Duration, HttpPath, Label, LabelKey, ObjectName, Port
from resilience.api.secrets import HeadersFrom
from resilience.api.slo import Slo
from resilience.api.status import Status


class Profile(StrEnum):
    """A set of defaults; see docs/reference/profiles.md."""

    DEVELOPMENT = "Development"
    TEST = "Test"
    PRODUCTION = "Production"


class TargetKind(StrEnum):
    """Kinds of workload that can be managed."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"


class Management(StrEnum):
    """Managed writes probes and the preStop hook into the pod template; Observe only reads them."""

    MANAGED = "Managed"
    OBSERVE = "Observe"


class TargetRef(ApiModel):
    """The workload, in the same namespace."""

    kind: TargetKind = Field(description="Deployment, StatefulSet or DaemonSet.")
    name: ObjectName = Field(description="Name of the workload, in the namespace of this resource.")


class ServiceRef(ApiModel):
    """The Service through which clients reach the workload."""

    name: ObjectName = Field(description="Name of the Service.")
    port: Port = Field(description="Port of the Service, by name or number.")


class ProbeRef(ApiModel):
    """A kubelet probe rendered from a check."""

    check: Label = Field(description="Name of an http, tcp or grpc check.")


class StartupProbeRef(ProbeRef):
    """A startup probe rendered from a check."""

    model_config = validated(at_least("maxDuration", "1s"))

    max_duration: Duration | None = Field(default=None, description="Longest time of a start; default 2m.")


class Probes(ApiModel):
    """The kubelet's probes."""

    management: Management = Field(
        default=Management.MANAGED, description="Managed writes the pod template; Observe writes nothing into it."
    )
    readiness: ProbeRef | None = Field(default=None, description="Removes a pod from its Services while it fails.")
    startup: StartupProbeRef | None = Field(default=None, description="Holds the others back until it passes.")
    liveness: ProbeRef | None = Field(
        default=None, description="Restarts the container, without guard or budget. Off unless set."
    )


class SignalHttp(HttpRequest):
    """Destination of the drain signal."""

    path: HttpPath = Field(description="Path of the POST.")
    port: Port = Field(description="Container port, by name or number.")
    headers_from: HeadersFrom | None = Field(default=None, description="Headers from a Secret.")


class Signal(ApiModel):
    """POSTed to a pod before it is removed: from then on it answers with `Connection: close`."""

    http: SignalHttp


class QuietHttp(HttpRequest):
    """Endpoint where a pod reports the number of its open connections."""

    path: HttpPath = Field(description="Path of the GET.")
    port: Port = Field(description="Container port, by name or number.")
    json_: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        alias="json", description="Field of the JSON answer, nested by dots, that holds the number."
    )
    below: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=1, description="Quiet when the number is below this; the connection of this request does not count."
    )


class Quiet(ApiModel):
    """Request that shows whether the clients of a pod have moved over."""

    http: QuietHttp


class Drain(ApiModel):
    """Draining: a pod's clients move over before it is deleted."""

    model_config = validated(
        compared("preStop", "<", "gracePeriod", "drain.preStop counts towards drain.gracePeriod: make it shorter"),
        whole_seconds("preStop", "drain.preStop must be whole seconds, for the kubelet sleeps no fractions"),
        at_least("gracePeriod", "1s"),
    )

    pre_stop: Duration | None = Field(
        default=None,
        description="preStop sleep, in whole seconds, for ends by others; 0s for none; the default is the profile's.",
    )
    grace_period: Duration | None = Field(
        default=None, description="Grace period of the operator's own deletions; the default is the profile's."
    )
    propagation_delay: Duration | None = Field(
        default=None,
        description="Time from a change of a Service's endpoints to every node's rules, and to load balancers that "
        "send to pods themselves; the default is the profile's.",
    )
    signal: Signal | None = Field(default=None, description="Signal to a pod that it will be deleted.")
    quiet: Quiet | None = Field(
        default=None, description="Request that shows whether the clients of a pod have moved over."
    )
    max_wait: Duration = Field(default=timedelta(seconds=60), description="Longest wait for quiet.")
    leave_by: LabelKey | None = Field(
        default=None,
        description="Key of the label that is overwritten when a pod leaves its Services. It must be in the Service's "
        "selector. Default: one that no network or mesh policy selects the pods by.",
    )


class Verify(HttpRequest):
    """Requests that the operator sends through the Service while it restarts something, to measure what clients see."""

    requests_per_second: Annotated[int, Field(ge=1, le=200)] = Field(default=20, description="Requests per second.")
    path: HttpPath = Field(default="/", description="Path of the GET.")


class Strategy(StrEnum):
    """Release of a new template: by the Deployment controller, or beside the version that serves."""

    ROLLING_UPDATE = "RollingUpdate"
    BLUE_GREEN = "BlueGreen"


class OnFailure(StrEnum):
    """Reaction to a release that failed."""

    PAUSE = "Pause"
    ROLLBACK = "Rollback"


class Promotion(StrEnum):
    """Promotion of a candidate that passed its gate: by itself, or at the request of a person."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class Gate(ApiModel):
    """Checks that every candidate pod has to pass, all of them for a time without a break."""

    checks: list[Label] = Field(
        min_length=1,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Names of checks in health.checks.",
    )
    for_: Duration = Field(default=timedelta(), alias="for", description="Time that they must pass without a break.")


class BlueGreen(ApiModel):
    """Promotion of a candidate, and its preview."""

    promotion: Promotion = Field(
        default=Promotion.AUTOMATIC,
        description="Automatic, or Manual: wait for the annotation resilience.dev/promote-requested-at.",
    )
    promote_after: Duration = Field(
        default=timedelta(),
        description="Automatic: wait this long after the gate has passed. Manual: promote by itself then; 0s never.",
    )
    warm_period: Duration = Field(
        default=timedelta(seconds=30), description="Time that the previous version is kept ready for a rollback."
    )
    preview_service: ObjectName | None = Field(
        default=None,
        description="A Service, created by the operator, that leads to the candidate before it gets traffic.",
    )
    preview_replicas: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="Candidate pods until it is promoted; never more than the full size."
    )


class Rollout(ApiModel):
    """Releases and replacements."""

    model_config = validated(
        at_least("progressDeadline", "1s"),
        rule(
            "!has(self.strategy) || self.strategy != 'BlueGreen' || !has(self.onFailure) || self.onFailure != 'Pause'",
            "rollout.onFailure: a failed BlueGreen release always goes back; Pause is for RollingUpdate",
        ),
        rule(
            "!has(self.blueGreen) || (has(self.strategy) && self.strategy == 'BlueGreen')",
            "rollout.blueGreen needs rollout.strategy: BlueGreen",
        ),
        rule(
            "!has(self.before) || (has(self.strategy) && self.strategy == 'BlueGreen')",
            "rollout.before needs rollout.strategy: BlueGreen; with RollingUpdate pods get traffic when they are ready",
        ),
    )

    strategy: Strategy = Field(
        default=Strategy.ROLLING_UPDATE, description="RollingUpdate, or BlueGreen (a Deployment with a Service)."
    )
    progress_deadline: Duration = Field(
        default=timedelta(minutes=10),
        description="A replacement or candidate that is not available by then is undone.",
    )
    on_failure: OnFailure | None = Field(
        default=None, description="Rollback (BlueGreen: always) or Pause (default of RollingUpdate)."
    )
    before: Gate | None = Field(default=None, description="Gate before the candidate gets traffic.")
    after: Gate | None = Field(default=None, description="Gate while the candidate serves.")
    blue_green: BlueGreen | None = Field(default=None, description="Settings of BlueGreen.")


class ResilientServiceSpec(ApiModel):
    """Desired state of the service."""

    model_config = validated(
        *probe_rules("readiness", "startup", "liveness"),
        rule(
            "has(self.service) || !has(self.health) || !has(self.health.checks) || "
            "self.health.checks.all(c, has(c.prometheus) || (has(c.scope) && c.scope != 'Service'))",
            "a check of scope Service needs spec.service; set it, or give the check scope: Pod (or Dependency)",
        ),
        rule("!has(self.verify) || has(self.service)", "spec.verify needs spec.service: requests go through it"),
        rule(
            "!has(self.rollout) || !has(self.rollout.strategy) || self.rollout.strategy != 'BlueGreen' ||"
            " (self.targetRef.kind == 'Deployment' && has(self.service))",
            "rollout.strategy BlueGreen needs targetRef.kind Deployment and spec.service",
        ),
        *gate_rules("before", "after"),
        *policy_rules(),
        *flag_rules(),
    )

    profile: Profile = Field(default=Profile.PRODUCTION, description="Profile whose defaults apply.")
    suspend: bool = Field(
        default=False, description="True: observe and report only; operations in flight stay as they are."
    )
    target_ref: TargetRef = Field(
        description="The workload; cannot be changed.",
        json_schema_extra=rules(
            rule("self == oldSelf", "targetRef cannot be changed; make a new ResilientService for another workload")
        ),
    )
    container: Label | None = Field(default=None, description="The main container; default the first.")
    service: ServiceRef | None = Field(default=None, description="The Service that clients use.")
    health: Health = Field(default_factory=Health, description="Health checks.")
    probes: Probes = Field(default_factory=Probes, description="Kubelet probes rendered from checks.")
    drain: Drain = Field(default_factory=Drain, description="Draining: clients move over before a pod is deleted.")
    verify: Verify | None = Field(
        default=None, description="Requests through the Service that measure availability while pods are replaced."
    )
    rollout: Rollout = Field(default_factory=Rollout, description="Releases and replacements.")
    restart: Restart = Field(default_factory=Restart, description="Restarts.")
    degradation: Degradation = Field(
        default_factory=Degradation,
        description="Flags that are published to the application when a dependency is lost.",
    )
    alerts: Alerts = Field(default_factory=Alerts, description="Receivers of alerts, and the pace of notifications.")
    slo: Slo | None = Field(default=None, description="Objectives for the availability of the service.")


class ResilientService(ApiModel):
    """Keeps a service available through releases, restarts, leaks and lost dependencies."""

    spec: ResilientServiceSpec
    status: Status | None = None
