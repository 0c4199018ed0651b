"""Words of the API that machines compare: phases, condition types, reasons, steps and results.

They are part of the contract: renaming one breaks somebody's alert.
"""

from enum import StrEnum


class Phase(StrEnum):
    """A service in one word, for people; derived from the conditions."""

    INITIALIZING = "Initializing"
    DEPLOYING = "Deploying"
    RUNNING = "Running"
    FAILED = "Failed"
    CRASHED = "Crashed"
    SUSPENDED = "Suspended"


class HealthState(StrEnum):
    """State of a check or of a service."""

    HEALTHY = "Healthy"
    WARNING = "Warning"
    UNHEALTHY = "Unhealthy"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """Types of `status.conditions`."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    PROBES_SYNCED = "ProbesSynced"


class Reason(StrEnum):
    """Reasons of conditions and Events."""

    # Stalled: a person has to change something.
    INVALID_SPEC = "InvalidSpec"
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_TAKEN = "TargetTaken"
    NAMESPACE_REFUSED = "NamespaceRefused"
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    SERVICE_MISMATCH = "ServiceMismatch"
    PORT_NOT_FOUND = "PortNotFound"
    NOT_STALLED = "NothingWrong"
    # Ready, Reconciling, Progressing.
    RELEASED = "Released"
    SERVING = "Serving"
    SCALED_TO_ZERO = "ScaledToZero"
    NOT_AVAILABLE = "NotAvailable"
    ROLLING = "RollingUpdate"
    RESTARTING = "Restarting"
    RESTART_BLOCKED = "RestartBlocked"
    IDLE = "Idle"
    # Healthy.
    CHECKS_PASS = "ChecksPass"
    CHECKS_WARN = "ChecksWarn"
    CHECKS_FAIL = "ChecksFail"
    CHECKS_UNKNOWN = "ChecksUnknown"
    NO_CHECKS = "NoChecks"
    # ProbesSynced.
    APPLIED = "Applied"
    NOT_MANAGED = "NotManaged"
    OBSERVED_ONLY = "ObservedOnly"
    FIELD_CONFLICT = "FieldConflict"
    WAITING_FOR_ROLLOUT = "WaitingForRollout"
    # Events.
    RESTART_STARTED = "RestartStarted"
    RESTART_SUCCEEDED = "RestartSucceeded"
    RESTART_FAILED = "RestartFailed"
    RESTART_REFUSED = "RestartRefused"
    RESTART_ABORTED = "RestartAborted"
    REQUEST_IGNORED = "RequestIgnored"
    POD_REPLACED = "PodReplaced"
    POD_NOT_GENTLE = "PodNotGentle"
    POD_GIVEN_BACK = "PodGivenBack"
    PROBES_APPLIED = "ProbesApplied"
    HEALTH_CHANGED = "HealthChanged"


class ReplaceStep(StrEnum):
    """Where one pod's replacement stands; for Deployment pods also the value of the label `resilience.dev/retiring`."""

    REPLACING = "replacing"
    LEAVING = "leaving"
    LEFT = "left"
    DRAINING = "draining"
    DELETING = "deleting"


class RestartOutcome(StrEnum):
    """How a restart ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    REFUSED = "Refused"
    ABORTED = "Aborted"
    UNNEEDED = "Unneeded"


class Request(StrEnum):
    """Requests by annotation: `resilience.dev/<request>-requested-at`, any new string is a new request."""

    RESTART = "restart"
    ABORT = "abort"
    ADOPT = "adopt"
