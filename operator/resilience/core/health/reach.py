"""Checks that the application has never answered, at any pod: they say nothing about its pods.

The operator may stand outside a service mesh that demands mutual TLS, outside a network policy, or in front of a wrong
port. An answer, also a bad one, ends this for good: what answered before and fails now has broken.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from resilience.api.checks import Check, Scope
from resilience.api.reasons import HealthState
from resilience.api.status import HealthStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
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
    proven = {*(health.passed or ()), *(check.name for check in health.checks if check.state in _PROOF)}
    return frozenset(check.name for check in spec.health.checks if _asks_pods(check) and check.name not in proven)


def passed(spec: ResilientServiceSpec, before: HealthStatus, states: Mapping[str, CheckState]) -> list[str] | None:
    """Names of the checks of the spec that have passed since they were made, by status and by what is known now.

    None when there are none.
    """
    known = {*(before.passed or ()), *(check.name for check in before.checks if check.state in _PROOF[:2])}
    known |= {name for name, state in states.items() if state.ever_passed}
    return sorted(check.name for check in spec.health.checks if check.name in known) or None


def _asks_pods(check: Check) -> bool:
    return check.scope is not Scope.DEPENDENCY and check.prometheus is None and check.usage is None
