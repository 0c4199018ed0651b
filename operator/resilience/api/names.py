"""Names that the operator writes into other people's objects: labels, annotations, finalizer, field manager."""

from typing import Final

GROUP: Final = "resilience.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "resilientservices"
KIND: Final = "ResilientService"
RECEIVER_PLURAL: Final = "alertreceivers"
RECEIVER_KIND: Final = "AlertReceiver"

FINALIZER: Final = f"{GROUP}/give-back"
FIELD_MANAGER: Final = "resilience-operator"

# On targets and their Services (EndpointSlices inherit it): our watches select it.
LABEL_MANAGED: Final = f"{GROUP}/managed"
LABEL_MANAGED_VALUE: Final = "true"
# On a target: `<name>/<uid>` of the ResilientService that manages it.
ANNOTATION_CLAIM: Final = f"{GROUP}/claimed-by"
# On a pod that is being replaced: the step (a fixed word), then when the step began, in RFC 3339.
LABEL_RETIRING: Final = f"{GROUP}/retiring"
ANNOTATION_STEP_SINCE: Final = f"{GROUP}/retiring-since"
ANNOTATION_TAKEN_AT: Final = f"{GROUP}/taken-over-at"
# Overwrites a label of the pod when the pod leaves a Service.
LEFT_VALUE: Final = "left"

# Pins a Service during a rollout: Deployments put it on every pod.
LABEL_TEMPLATE_HASH: Final = "pod-template-hash"
# On Secrets that their owner lets the operator read.
LABEL_READABLE: Final = f"{GROUP}/readable"
# On green's pods and on green itself: a fixed word.
LABEL_TRACK: Final = f"{GROUP}/track"
TRACK_GREEN: Final = "green"
# On green: name of the Deployment that it stands in for, and state of the rollout.
ANNOTATION_GREEN_OF: Final = f"{GROUP}/green-of"
ANNOTATION_RELEASE_STEP: Final = f"{GROUP}/release-step"
ANNOTATION_RELEASE_TOWARDS: Final = f"{GROUP}/release-towards"
ANNOTATION_RELEASE_SINCE: Final = f"{GROUP}/release-since"
ANNOTATION_RELEASE_STARTED: Final = f"{GROUP}/release-started-at"
ANNOTATION_PULL_RETRIES: Final = f"{GROUP}/pull-retries"
# On a Deployment under BlueGreen: the template that serves (only while the operator keeps it paused), and the user's
# progressDeadlineSeconds.
ANNOTATION_SERVING: Final = f"{GROUP}/serving-template"
ANNOTATION_DEADLINE: Final = f"{GROUP}/progress-deadline-seconds"
# On a Deployment: the template that failed and is not tried again, and why something of ours was left behind.
ANNOTATION_FAILED: Final = f"{GROUP}/failed-template"
ANNOTATION_PAUSED_FOR: Final = f"{GROUP}/paused-for-template"
ANNOTATION_LEFT: Final = f"{GROUP}/left-as-it-is"
# On a pod: time of its drain signal, although it is not being replaced one by one.
ANNOTATION_SIGNALLED: Final = f"{GROUP}/drain-signalled-at"
# On a HorizontalPodAutoscaler while a release keeps it from scaling up: the selectPolicy that it had before.
ANNOTATION_SCALE_UP: Final = f"{GROUP}/scale-up-policy"
# On a Service whose selector an Apply manager owns: its owner accepts that a release pins it.
ANNOTATION_ACCEPT_PIN: Final = f"{GROUP}/accept-selector-pin"
# On a Service while a release pins it: a template hash in the selector of any other Service is its owner's own.
ANNOTATION_PINNED: Final = f"{GROUP}/pinned"
# On the preview Service that we made: name of the Deployment.
ANNOTATION_PREVIEW_OF: Final = f"{GROUP}/preview-of"

# On the ConfigMap with a service's flags: name of the ResilientService. What our watch of ConfigMaps selects.
LABEL_FLAGS_OF: Final = f"{GROUP}/flags-of"
# On a pod: the flags as they were published last. A change makes the kubelet bring mounted files up to date at once.
ANNOTATION_FLAGS: Final = f"{GROUP}/flags"


# On an Event: the trace id that it shares with lines of the log and with status.
ANNOTATION_TRACE: Final = f"{GROUP}/trace"
# On a ResilientService: labels of an alert, as `severity="critical", check="db"`, whose route is to be explained.
ANNOTATION_EXPLAIN_ALERT: Final = f"{GROUP}/explain-alert"


def flags_config_map(resource: str) -> str:
    """Name of the ConfigMap with the flags of a ResilientService."""
    return f"{resource}-flags"


def override_annotation(flag: str) -> str:
    """The annotation key by which a person sets a flag for a time, e.g. `resilience.dev/override.redis-degraded`."""
    return f"{GROUP}/override.{flag}"


def request_annotation(request: str) -> str:
    """The annotation key by which a person requests something, e.g. `resilience.dev/restart-requested-at`."""
    return f"{GROUP}/{request}-requested-at"
