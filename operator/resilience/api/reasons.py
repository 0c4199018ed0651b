"""Values of the API that machines compare: phases, condition types, reasons, steps and results.

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
    DEGRADED = "Degraded"
    ALERTS_DELIVERED = "AlertsDelivered"
    # Present only while pods cannot leave their Services, or that is not known.
    CAN_LEAVE = "CanLeaveServices"
    # Present only while something in the specification cannot be read.
    SPEC_VALID = "SpecValid"


class Reason(StrEnum):
    """Reasons of conditions and Events."""

    # Stalled: a person has to change something.
    INVALID_SPEC = "InvalidSpec"
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_TAKEN = "TargetTaken"
    NAMESPACE_REFUSED = "NamespaceRefused"
    TOO_MANY = "TooMany"
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    SERVICE_MISMATCH = "ServiceMismatch"
    PORT_NOT_FOUND = "PortNotFound"
    LEAVE_BY_NOT_SELECTED = "LeaveByNotSelected"
    NOT_STALLED = "NothingWrong"
    ROLLOUT_FAILED = "RolloutFailed"
    BLUE_GREEN_IMPOSSIBLE = "BlueGreenImpossible"
    # Ready, Reconciling, Progressing.
    RELEASED = "Released"
    SERVING = "Serving"
    SCALED_TO_ZERO = "ScaledToZero"
    NOT_AVAILABLE = "NotAvailable"
    ROLLING = "RollingUpdate"
    RESTARTING = "Restarting"
    RESTART_BLOCKED = "RestartBlocked"
    RELEASING = "Releasing"
    OVERDUE = "Overdue"
    AWAITING_PROMOTION = "AwaitingPromotion"
    ROLLED_BACK = "RolledBack"
    IDLE = "Idle"
    # Healthy.
    CHECKS_PASS = "ChecksPass"
    CHECKS_WARN = "ChecksWarn"
    CHECKS_FAIL = "ChecksFail"
    CHECKS_UNKNOWN = "ChecksUnknown"
    CHECKS_UNREACHABLE = "ChecksUnreachable"
    NO_CHECKS = "NoChecks"
    # Degraded.
    DEPENDENCY_LOST = "DependencyLost"
    DEPENDENCIES_WORK = "DependenciesWork"
    NO_DEPENDENCIES = "NoDependencies"
    FLAGS_ON = "FlagsOn"
    # AlertsDelivered, and Ready of an AlertReceiver.
    DELIVERED = "Delivered"
    NOBODY_TO_TELL = "NobodyToTell"
    RECEIVER_NOT_FOUND = "ReceiverNotFound"
    NOT_DELIVERED = "NotDelivered"
    RETRYING = "Retrying"
    RECEIVER_REFUSES = "ReceiverRefuses"
    RECEIVER_SUSPENDED = "ReceiverSuspended"
    NOT_TRIED_YET = "NotTriedYet"
    # ProbesSynced.
    APPLIED = "Applied"
    NOT_MANAGED = "NotManaged"
    OBSERVED_ONLY = "ObservedOnly"
    FIELD_CONFLICT = "FieldConflict"
    WAITING_FOR_ROLLOUT = "WaitingForRollout"
    # CanLeaveServices.
    POLICIES_SELECT_PODS = "PoliciesSelectPods"
    POLICIES_NOT_READ = "PoliciesNotRead"
    # Events.
    RESTART_STARTED = "RestartStarted"
    RESTART_SUCCEEDED = "RestartSucceeded"
    RESTART_FAILED = "RestartFailed"
    RESTART_REFUSED = "RestartRefused"
    RESTART_ABORTED = "RestartAborted"
    RESTART_LOOP = "RestartLoop"
    POLICY_BLOCKED = "PolicyBlocked"
    WOULD_RESTART = "WouldRestart"
    REQUEST_IGNORED = "RequestIgnored"
    POD_REPLACED = "PodReplaced"
    POD_NOT_GENTLE = "PodNotGentle"
    POD_GIVEN_BACK = "PodGivenBack"
    PROBES_APPLIED = "ProbesApplied"
    HEALTH_CHANGED = "HealthChanged"
    RELEASE_STARTED = "ReleaseStarted"
    RELEASE_SUCCEEDED = "ReleaseSucceeded"
    RELEASE_FAILED = "ReleaseFailed"
    RELEASE_ABORTED = "ReleaseAborted"
    RELEASE_SUPERSEDED = "ReleaseSuperseded"
    FLAG_ON = "FlagOn"
    FLAG_OFF = "FlagOff"
    FLAGS_NOT_PUBLISHED = "FlagsNotPublished"
    OVERRIDE_INVALID = "OverrideInvalid"
    REPLAY_STARTED = "ReplayStarted"
    REPLAY_ENDED = "ReplayEnded"
    ALERT_ROUTE = "AlertRoute"
    TEST_DELIVERED = "TestDelivered"
    PARTLY_DELIVERED = "PartlyDelivered"
    PIN_LOST = "PinLost"
    READINESS_GATE_UNANSWERED = "ReadinessGateUnanswered"
    POD_STUCK = "PodStuck"
    DEPLOYMENT_RESUMED = "DeploymentResumed"
    ADOPTED = "Adopted"
    GIVEN_BACK = "GivenBack"


class Severity(StrEnum):
    """Severity of an alert, in the words of Prometheus' rules."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertName(StrEnum):
    """Names of alerts; each has a page in docs/runbooks."""

    SERVICE_DOWN = "ServiceDown"
    SERVICE_UNHEALTHY = "ServiceUnhealthy"
    HEALTH_UNKNOWN = "HealthUnknown"
    CHECK_WARNING = "CheckWarning"
    USAGE_HIGH = "UsageHigh"
    DEPENDENCY_LOST = "DependencyLost"
    FLAG_OVERRIDDEN = "FlagOverridden"
    QUEUE_BEHIND = "QueueBehind"
    DEAD_LETTERS = "DeadLetters"
    RELEASE_FAILED = "ReleaseFailed"
    PROMOTION_AWAITED = "PromotionAwaited"
    PODS_NEED_ATTENTION = "PodsNeedAttention"
    NOT_PROGRESSING = "NotProgressing"
    RESTART_FAILED = "RestartFailed"
    RESTART_LOOP = "RestartLoop"
    RESTART_BUDGET_SPENT = "RestartBudgetSpent"
    POLICY_BLOCKED = "PolicyBlocked"
    STALLED = "ServiceStalled"
    BUDGET_BURNS = "ErrorBudgetBurns"
    RECOVERY_SLOW = "RecoverySlow"
    # Of the operator itself.
    ALERTS_UNDELIVERED = "AlertsUndelivered"
    HEARTBEAT = "Heartbeat"
    TEST = "Test"


class FlagState(StrEnum):
    """State of a degradation flag; it is on in Degraded and Recovering."""

    NORMAL = "Normal"
    # A check has failed, not yet often enough.
    SUSPECT = "Suspect"
    DEGRADED = "Degraded"
    # What was lost answers again, and has to prove itself.
    RECOVERING = "Recovering"


class ReplaceStep(StrEnum):
    """Step of one pod's replacement; for Deployment pods also the value of the label `resilience.dev/retiring`."""

    REPLACING = "replacing"
    LEAVING = "leaving"
    LEFT = "left"
    DRAINING = "draining"
    DELETING = "deleting"


class RestartOutcome(StrEnum):
    """Outcome of a restart."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    REFUSED = "Refused"
    ABORTED = "Aborted"
    UNNEEDED = "Unneeded"


class Colour(StrEnum):
    """The user's own Deployment (blue), or the one that stands in for it during a release (green)."""

    BLUE = "blue"
    GREEN = "green"


class ReleaseStep(StrEnum):
    """Step of a blue-green release; also the value of an annotation on green."""

    # Candidate pods start and pass the gate before they get traffic.
    PREPARING = "Preparing"
    # The candidate is promoted and grows to full size.
    SCALING = "Scaling"
    # Services select both colours, until every slice lists both.
    SWITCHING = "Switching"
    # Both serve until every node knows; then the candidate alone.
    OVERLAPPING = "Overlapping"
    # The candidate serves, the previous pods are kept warm, and the gate after the switch is checked.
    WARM = "Warm"
    # The clients that stayed with the previous pods move over.
    DRAINING = "Draining"
    # The candidate failed: the same switch backwards.
    REVERTING = "Reverting"
    # Green is being removed.
    DISCARDING = "Discarding"


class FailureClass(StrEnum):
    """Class of the failure that ended a release; docs/concepts/releases.md describes the consequences of each."""

    CONFIGURATION = "Configuration"
    AUTHENTICATION = "Authentication"
    NETWORK = "Network"
    RESOURCE = "Resource"
    TIMEOUT = "Timeout"
    # A gate or the measured requests said no.
    VERIFICATION = "Verification"
    # A person requested it.
    ABORTED = "Aborted"
    # Nobody knows: a crash, for instance.
    UNKNOWN = "Unknown"


class RolloutOutcome(StrEnum):
    """Outcome of a release."""

    SUCCEEDED = "Succeeded"
    ROLLED_BACK = "RolledBack"
    PAUSED = "Paused"
    FAILED = "Failed"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"


class Request(StrEnum):
    """Requests by annotation: `resilience.dev/<request>-requested-at`, any new string is a new request."""

    RESTART = "restart"
    ABORT = "abort"
    ADOPT = "adopt"
    PROMOTE = "promote"
    RETRY = "retry"
    REPLAY = "replay"


class ReceiverRequest(StrEnum):
    """The same, of an AlertReceiver."""

    TEST = "test"
    REPLAY = "replay"


class RolloutStage(StrEnum):
    """Stage of a rollout as status shows it: steps of a blue-green rollout by direction, and those of others."""

    # Requirements are checked; nothing is changed yet.
    PREFLIGHT = "Preflight"
    PREPARING = "Preparing"
    SCALING = "Scaling"
    SWITCHING = "Switching"
    OVERLAPPING = "Overlapping"
    WARM = "Warm"
    DRAINING = "Draining"
    # Green serves; the target's own pods are replaced without traffic.
    HOPPING_BACK = "HoppingBack"
    # Services lead to the target's own pods again.
    RETURNING = "Returning"
    # Green's clients move over.
    DRAINING_GREEN = "DrainingGreen"
    # The last pins come off.
    FINISHING = "Finishing"
    REVERTING = "Reverting"
    DISCARDING = "Discarding"
    # The workload controller replaces pods.
    ROLLING_UPDATE = "RollingUpdate"
    # All pods are new, and not all are available.
    WAITING_FOR_PODS = "WaitingForPods"
    # All pods are available; the gate decides.
    GATE = "Gate"
    # At rest.
    COMPLETE = "Complete"
    # At rest; the newest template failed and does not serve.
    ROLLED_BACK = "RolledBack"
    # At rest; the rolling update of a failed template is paused.
    PAUSED = "Paused"
    # At rest; the newest template failed and stays.
    FAILED = "Failed"


class RefusalReason(StrEnum):
    """Reason for which the availability guard refuses a step; also a label of a metric."""

    TARGET_GONE = "TargetGone"
    LIMITS_NOT_READ = "LimitsNotRead"
    NOT_OBSERVED = "NotObserved"
    RELEASE_MOVING = "ReleaseMoving"
    ROLLOUT_MOVING = "RolloutMoving"
    STILL_LISTED = "StillListed"
    BELOW_FLOOR = "BelowFloor"
    NOT_CURRENT = "NotCurrent"
    REPLACEMENT_SERVES = "ReplacementServes"
    RECREATE = "Recreate"
    HOST_PORT = "HostPort"
    EXCLUSIVE_VOLUME = "ExclusiveVolume"
    CLAIMS_NOT_READ = "ClaimsNotRead"
    BUDGET_TOO_STRICT = "BudgetTooStrict"
    BUDGET_FULL = "BudgetFull"
    TEMPLATE_CHANGED = "TemplateChanged"
    GREEN_EXISTS = "GreenExists"
    NOTHING_TO_RELEASE = "NothingToRelease"
    NOT_PINNED = "NotPinned"
    UNSETTLED = "Unsettled"
    STILL_SELECTED = "StillSelected"
    STILL_SERVING = "StillServing"
    PORT_NOT_FOUND = "PortNotFound"


class BlockReason(StrEnum):
    """Reason for which policies restart nothing now; refusals of the guard are the others."""

    DEPENDENCY_DOWN = "DependencyDown"
    RESTART_LOOP = "RestartLoop"
    OUTSIDE_WINDOW = "OutsideWindow"
    COOL_DOWN = "CoolDown"
    BUDGET_SPENT = "BudgetSpent"
    SUSPENDED = "Suspended"
    QUEUED = "Queued"
    LAST_REPLICA = "LastReplica"
    # The pod that replaced the last one has not passed what that was restarted for.
    REPLACEMENT_UNPROVEN = "ReplacementUnproven"
