"""Specifications with something wrong in one part, as the API server lets it through or a later version means it."""

import copy
from dataclasses import dataclass, field
from typing import Any, Final

from resilience.adapters.kube import parse
from resilience.core.model.observation import Resource
from tests.support.factories import KEY
from tests.support.release_model import ReleaseModel

Spec = dict[str, Any]
SOUND: Final[Spec] = {
    "profile": "Test",
    "targetRef": {"kind": "Deployment", "name": KEY.name},
    "service": {"name": "checkout", "port": "http"},
    "probes": {"management": "Observe"},
    "health": {
        "checks": [
            {"name": "ready", "http": {"path": "/readyz"}},
            {"name": "live", "scope": "Pod", "http": {"path": "/livez", "port": "http"}},
            {"name": "cache", "scope": "Dependency", "redis": {"address": "redis:6379"}},
        ]
    },
    "restart": {"policies": [{"name": "old", "uptime": {"above": "1h"}}]},
    "degradation": {"flags": [{"name": "redis-degraded", "check": "cache"}]},
    "alerts": {"routes": [{"matchers": ['severity="critical"'], "receiver": "night"}], "defaultReceiver": "team"},
    "slo": {"availability": "99.9%"},
    "rollout": {
        "strategy": "BlueGreen",
        "progressDeadline": "40s",
        "before": {"checks": ["ready"], "for": "1s"},
        "after": {"checks": ["ready"], "for": "2s"},
        "blueGreen": {"warmPeriod": "3s"},
    },
}


# Without what the small cluster of releases does not have.
RELEASED: Final[Spec] = SOUND | {"degradation": {}}


@dataclass(frozen=True, slots=True)
class Damage:
    """A wrong value: the list that gets a wrong item, or the field that gets a wrong value."""

    path: tuple[str, ...]
    value: Any
    # The path and value that status has to name.
    named: tuple[str, str]

    @property
    def part(self) -> str:
        """The part of the specification that is wrong."""
        return self.path[0]

    def of(self, spec: Spec) -> Spec:
        """The specification with this damage."""
        damaged = copy.deepcopy(spec)
        holder = damaged
        for step in self.path[:-1]:
            holder = holder.setdefault(step, {})
        last = self.path[-1]
        if isinstance(holder.get(last), list):
            holder[last].insert(0, self.value)
        else:
            holder[last] = self.value
        return damaged


ONE_IN_EACH: Final = (
    Damage(
        ("health", "checks"),
        {"name": "typo", "http": {"path": 7}},
        ("spec.health.checks[0].http.path", "7"),
    ),
    Damage(
        ("restart", "policies"),
        {"name": "typo", "memory": {"above": "much"}},
        ("spec.restart.policies[0].memory.above", '"much"'),
    ),
    Damage(
        ("degradation", "flags"),
        {"name": "typo", "check": "cache", "minDegraded": "soon"},
        ("spec.degradation.flags[0].minDegraded", '"soon"'),
    ),
    Damage(
        ("alerts", "routes"),
        {"matchers": ['service=~"pay("'], "receiver": "typo"},
        ("spec.alerts.routes[0].matchers[0]", r'"service=~\"pay(\""'),
    ),
    Damage(("slo", "availability"), "100%", ("spec.slo.availability", '"100%"')),
    Damage(("rollout", "strategy"), "Canary", ("spec.rollout.strategy", '"Canary"')),
)
MORE: Final = (
    Damage(
        ("health", "checks"),
        {"name": "later", "ldap": {"host": "x"}},
        ("spec.health.checks[0]", "none of http"),
    ),
    Damage(("health", "checks"), "typo", ("spec.health.checks[0]", "valid dictionary")),
    Damage(
        ("restart", "policies"),
        {"name": "later", "threads": {"above": 5}},
        ("spec.restart.policies[0]", "none of memory"),
    ),
    Damage(("restart", "priority"), "high", ("spec.restart.priority", '"high"')),
    Damage(("degradation", "flags"), {"name": "typo"}, ("spec.degradation.flags[0].check", "Field required")),
    Damage(
        ("alerts", "routes"),
        {"receiver": "typo", "muteTimes": [{"schedule": "99 25 * * *", "duration": "1h"}]},
        ("spec.alerts.routes[0].muteTimes[0].schedule", '"99 25 * * *"'),
    ),
    Damage(("alerts", "repeatAfter"), "soon", ("spec.alerts.repeatAfter", '"soon"')),
    Damage(("slo", "window"), "a month", ("spec.slo.window", '"a month"')),
    Damage(("verify",), {"path": 7}, ("spec.verify.path", "7")),
    Damage(("rollout", "before"), {"checks": []}, ("spec.rollout.before.checks", "at least 1 item")),
    Damage(("rollout", "blueGreen"), {"warmPeriod": "soon"}, ("spec.rollout.blueGreen.warmPeriod", '"soon"')),
    Damage(("drain",), {"maxWait": "soon"}, ("spec.drain.maxWait", '"soon"')),
)


def damaged(*damages: Damage, spec: Spec = SOUND) -> Spec:
    """The specification with each of these."""
    for damage in damages:
        spec = damage.of(spec)
    return spec


def written(spec: Spec, *, status: Any = None, annotations: Any = None, version: str = "2") -> Resource:
    """A resource with this specification, as the reader makes it of what the API server gives back."""
    meta = {
        "namespace": KEY.namespace,
        "name": KEY.name,
        "uid": "resource-uid",
        "resourceVersion": version,
        "generation": 2,
        "creationTimestamp": "2026-02-28T12:00:00Z",
        "finalizers": ["resilience.dev/give-back"],
        "annotations": dict(annotations or {}),
    }
    known = {"observedGeneration": 1, "handled": []} if status is None else status
    return parse.resource({"metadata": meta, "spec": spec, "status": known})


@dataclass(slots=True)
class WrittenModel(ReleaseModel):
    """The small cluster of releases, whose resource is read from what somebody has written."""

    raw: Spec = field(default_factory=lambda: RELEASED)

    def resource(self) -> Resource:
        return written(
            self.raw,
            status=self.status.to_api(),
            annotations=self.annotations,
            version=str(self.resource_version),
        )
