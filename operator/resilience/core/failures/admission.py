"""Classification of the API server's refusals to create or change an object, by the text of its admission.

Plugins and webhooks share no error code but 403, so the text decides. This module must not decide on actions.
"""

import re
from dataclasses import dataclass
from typing import Final

from resilience.api.reasons import FailureClass

_CONFIGURATION: Final = FailureClass.CONFIGURATION
# Pattern (its group `what` is put into the advice), class, reason, advice; the first pattern that matches counts.
_RULES: Final[tuple[tuple[str, FailureClass, str, str], ...]] = (
    (
        r"exceeded quota: (?P<what>[^,\s]+)",
        FailureClass.RESOURCE,
        "QuotaExceeded",
        "raise ResourceQuota {what} or free what it counts: kubectl{n} describe resourcequota {what}",
    ),
    (
        r"insufficient quota|object count quota|quota (?:exceeded|reached)",
        FailureClass.RESOURCE,
        "QuotaExceeded",
        "raise the quota or free what it counts: kubectl{n} describe resourcequota",
    ),
    (
        r"failed quota: (?P<what>[^:\s]+)",
        _CONFIGURATION,
        "ResourcesNotSet",
        "set the requests and limits that ResourceQuota {what} requires in the pod template",
    ),
    (
        r'violates PodSecurity "(?P<what>[^"]+)"',
        _CONFIGURATION,
        "PodSecurity",
        "change securityContext in the pod template as the message says, or the namespace's level, now {what}",
    ),
    (
        r'admission webhook "(?P<what>[^"]+)" denied',
        _CONFIGURATION,
        "AdmissionDenied",
        "change the pod template as the policy behind webhook {what} requires",
    ),
    (
        r"ValidatingAdmissionPolicy '(?P<what>[^']+)'",
        _CONFIGURATION,
        "AdmissionDenied",
        "change the template as ValidatingAdmissionPolicy {what} requires",
    ),
    (
        r'failed calling webhook "(?P<what>[^"]+)"',
        FailureClass.NETWORK,
        "WebhookUnavailable",
        "restore the server of webhook {what}: "
        "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations",
    ),
    (
        r"(?:maximum|minimum) \S+ usage per|limit to request ratio per",
        _CONFIGURATION,
        "LimitRange",
        "bring requests and limits of the pod template into the LimitRange: kubectl{n} describe limitrange",
    ),
    (
        r'serviceaccount "(?P<what>[^"]+)" not found',
        _CONFIGURATION,
        "ServiceAccountNotFound",
        "create ServiceAccount {what}, or correct serviceAccountName in the pod template",
    ),
    (
        r"no PriorityClass with name (?P<what>\S+)",
        _CONFIGURATION,
        "PriorityClassNotFound",
        "create PriorityClass {what}, or correct priorityClassName in the pod template",
    ),
    (
        r'User "(?P<what>[^"]+)" cannot',
        _CONFIGURATION,
        "OperatorForbidden",
        "grant {what} this permission; the operator's chart has the roles that it needs",
    ),
    (
        r'conflicts? with "(?P<what>[^"]+)"',
        _CONFIGURATION,
        "FieldConflict",
        "have {what} give up the fields that the message names",
    ),
    (
        r"being terminated",
        _CONFIGURATION,
        "NamespaceTerminating",
        "the namespace is being deleted; nothing can be released",
    ),
    (r"\bis invalid\b", _CONFIGURATION, "Invalid", "correct the field of the template that the message names"),
    (r"is forbidden|denied", _CONFIGURATION, "Forbidden", "do what the message says, or have its rule changed"),
    (
        r"timed? ?out|timeout|deadline exceeded|connection refused|no such host",
        FailureClass.NETWORK,
        "ApiUnavailable",
        "check whether the API server and its webhooks answer: kubectl get --raw /readyz?verbose",
    ),
)
_PATTERNS: Final = tuple((re.compile(pattern, re.I), kind, reason, advice) for pattern, kind, reason, advice in _RULES)


@dataclass(frozen=True, slots=True)
class AdmissionRefusal:
    """Class, reason and advice for a refusal of the API server."""

    kind: FailureClass
    reason: str
    advice: str


def read(words: str, *, option: str = "") -> AdmissionRefusal:
    """The classification of a refusal. `option`: kubectl's option for the namespace, with a space before it."""
    for pattern, kind, reason, advice in _PATTERNS:
        if match := pattern.search(words):
            return AdmissionRefusal(kind, reason, advice.format(what=match.groupdict().get("what", ""), n=option))
    return AdmissionRefusal(FailureClass.UNKNOWN, "Refused", "do what the message says, then release again")
