"""Checks that the application has never answered, at any pod: they say nothing about its pods.

The operator may stand outside a service mesh that demands mutual TLS, outside a network policy, or in front of a wrong
port. An answer, also a bad one, ends this for good: what answered before and fails now has broken. A check that is
edited to ask for something else begins anew.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from resilience.api.checks import Check, Scope
from resilience.api.reasons import HealthState
from resilience.api.status import HealthStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health.ports import check_port
from resilience.core.model.check_state import CheckState

# Reason of such a check.
UNREACHABLE: Final = "Unreachable"
# The ways out, for people.
RECIPE: Final = (
    "let the operator in (a mesh with STRICT mTLS: PERMISSIVE on this port; a network policy: its namespace), correct "
    "port or scheme, or leave it to a kubelet probe; see docs/operations/meshes.md"
)
_PROOF: Final = (HealthState.HEALTHY, HealthState.WARNING, HealthState.UNHEALTHY)


def unreachable(state: CheckState) -> CheckState:
    """The state of a check that was never answered: Unknown instead of Unhealthy, at each pod alike."""
    if state.state is not HealthState.UNHEALTHY:
        return state
    return replace(
        state,
        state=HealthState.UNKNOWN,
        reason=UNREACHABLE,
        message=f"{state.message}; it has never passed at any pod, which says nothing about the pods: {RECIPE}",
        by_pod={
            uid: HealthState.UNKNOWN if pod_state is HealthState.UNHEALTHY else pod_state
            for uid, pod_state in state.by_pod.items()
        },
        messages_by_pod={},
        silent=True,
    )


def is_unreachable(state: CheckState | None) -> bool:
    """The check runs, and was never answered."""
    return state is not None and state.state is HealthState.UNKNOWN and state.reason == UNREACHABLE


def unproven(spec: ResilientServiceSpec, health: HealthStatus) -> frozenset[str]:
    """Names of the checks of Services and pods that are not known to have been answered, according to status.

    A check that is Unhealthy in status was answered, or it would be Unknown. A dependency needs no proof: whether the
    service can reach it is the very question.
    """
    stated = {check.name: check for check in health.checks if check.state in _PROOF}
    return frozenset(
        check.name
        for check in spec.health.checks
        if _asks_pods(check)
        and not _has_passed(check, spec, health)
        and not (check.name in stated and _is_same(stated[check.name].asks, question(check, spec)))
    )


def passed(spec: ResilientServiceSpec, before: HealthStatus, states: Mapping[str, CheckState]) -> list[str] | None:
    """Checks of the spec that have passed as they are now, by status and by what is known now; None without any."""
    asked = [(check.name, check.asks) for check in before.checks if check.state in _PROOF[:2]]
    asked += [(name, state.question) for name, state in states.items() if state.ever_passed]
    entries = [
        _entry(check, spec)
        for check in spec.health.checks
        if _has_passed(check, spec, before)
        or any(name == check.name and _is_same(asks, question(check, spec)) for name, asks in asked)
    ]
    return sorted(entries) or None


def question(check: Check, spec: ResilientServiceSpec) -> str:
    """Identity of the type and address that a check asks pods or the Service for; empty for other checks.

    Expectations and thresholds are no part of it: whoever answered is reached, whatever is made of the answer.
    """
    if not _asks_pods(check):
        return ""
    service = spec.service.name if spec.service is not None and check.scope is Scope.SERVICE else ""
    place: list[object] = [check.scope, service, check_port(check, spec)]
    if check.http is not None:
        place += ["http", check.http.path, check.http.scheme_, check.http.host]
    elif check.grpc is not None:
        place += ["grpc", check.grpc.service]
    else:
        place += ["tcp"]
    return hashlib.sha256(repr([str(part) for part in place]).encode()).hexdigest()[:8]


def _entry(check: Check, spec: ResilientServiceSpec) -> str:
    asks = question(check, spec)
    return f"{check.name}@{asks}" if asks else check.name


def _has_passed(check: Check, spec: ResilientServiceSpec, health: HealthStatus) -> bool:
    """Status has the check as one that has passed; the version before wrote names alone."""
    return not {check.name, _entry(check, spec)}.isdisjoint(health.passed or ())


def _is_same(asked: str, asks: str) -> bool:
    """The check still asks the same, as far as is known: the version before did not record it."""
    return asked in ("", asks)


def _asks_pods(check: Check) -> bool:
    return check.scope is not Scope.DEPENDENCY and check.prometheus is None and check.usage is None
