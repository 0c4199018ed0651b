"""Builders of policies that fire: specs with policies, folded checks of policies, past restarts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from resilience.api.reasons import HealthState
from resilience.api.status import Status
from resilience.api.status_restarts import PastRestart, RestartsStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.check_state import CheckState
from resilience.core.model.observation import Pod
from tests.support.factories import LIVE_CHECK, make_check, make_spec

HUNG: Final = {"name": "stuck", "check": {"name": "live", "failures": 4}}
LEAKS: Final = {"name": "leak", "memory": {"above": "90%", "for": "5m"}}
SPINS: Final = {"name": "spin", "cpu": {"above": "1", "for": "5m"}}
GROWS: Final = {"name": "slope", "memorySlope": {"limitWithin": "2h"}}
AGED: Final = {"name": "aged", "uptime": {"above": "10h"}}
FLAPS: Final = {"name": "flappy", "containerRestarts": {"above": 2, "within": "10m"}}
DATABASE: Final = {"name": "db", "scope": "Dependency", "tcp": {"host": "db", "port": 5432}}


def policy_spec(*policies: dict[str, Any], checks: Any = (LIVE_CHECK,), **restart: Any) -> ResilientServiceSpec:
    """These policies, in the profile Test: cool-down 1 s, 50 restarts an hour; `restart` by its API names."""
    return make_spec(restart={"policies": list(policies)} | restart, health={"checks": list(checks)})


def fires(
    policy: dict[str, Any], *pods: Pod, state: HealthState = HealthState.UNHEALTHY, passing: Sequence[Pod] = ()
) -> dict[str, CheckState]:
    """The check of a policy, in this state at these pods, and passing at others."""
    name = f"policy/{policy['name']}"
    by_pod = {pod.uid: HealthState.HEALTHY for pod in passing} | {pod.uid: state for pod in pods}
    words = {pod.uid: f"saw {pod.name}" for pod in pods}
    return {name: make_check(name, state if pods else HealthState.HEALTHY, by_pod=by_pod, messages_by_pod=words)}


def past(policy: dict[str, Any], *at: datetime, futile: bool = False) -> Status:
    """A status with past restarts by the policy."""
    name = policy["name"]
    recent = [PastRestart(at=moment, policies=[name], futile=[name] if futile else []) for moment in at]
    return Status(observed_generation=1, restarts=RestartsStatus(recent=recent))
