"""Names that the operator writes into other people's objects: labels, annotations, finalizer, field manager."""

from typing import Final

GROUP: Final = "resilience.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "resilientservices"
KIND: Final = "ResilientService"

FINALIZER: Final = f"{GROUP}/give-back"
FIELD_MANAGER: Final = "resilience-operator"

# On targets and their Services (EndpointSlices inherit it): what our watches select.
LABEL_MANAGED: Final = f"{GROUP}/managed"
LABEL_MANAGED_VALUE: Final = "true"
# On a target: `<name>/<uid>` of the ResilientService that looks after it.
ANNOTATION_CLAIM: Final = f"{GROUP}/claimed-by"
# On a pod that is being replaced: the step (a fixed word), then when the step began, in RFC 3339.
LABEL_RETIRING: Final = f"{GROUP}/retiring"
ANNOTATION_STEP_SINCE: Final = f"{GROUP}/retiring-since"
ANNOTATION_TAKEN_AT: Final = f"{GROUP}/taken-over-at"
# What a label of the pod is overwritten with when the pod leaves a Service.
LEFT_VALUE: Final = "left"


def request_annotation(request: str) -> str:
    """The annotation key by which a person asks for something, e.g. `resilience.dev/restart-requested-at`."""
    return f"{GROUP}/{request}-requested-at"
