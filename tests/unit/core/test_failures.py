"""Failures of a release by class: refusals in the words of API servers, deadlines, and which of many counts."""

from datetime import timedelta

import pytest

from resilience.api.reasons import FailureClass
from resilience.core.failures import classify
from resilience.core.failures.classify import Failure
from tests.support.factories import make_pod, make_workload
from tests.support.faults import IMAGE, broken

CONFIGURATION, AUTHENTICATION = FailureClass.CONFIGURATION, FailureClass.AUTHENTICATION
NETWORK, RESOURCE, UNKNOWN = FailureClass.NETWORK, FailureClass.RESOURCE, FailureClass.UNKNOWN


_QUOTA = (
    'pods "green-x" is forbidden: exceeded quota: team, requested: limits.memory=512Mi, used: limits.memory=2Gi, '
    "limited: limits.memory=2Gi"
)


@pytest.mark.parametrize(
    ("words", "kind", "reason", "advice"),
    [
        (_QUOTA, RESOURCE, "QuotaExceeded", "ResourceQuota team"),
        (
            'pods "x" is forbidden: failed quota: team: must specify limits.cpu for: app; limits.memory for: app',
            CONFIGURATION,
            "ResourcesNotSet",
            "ResourceQuota team",
        ),
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != '
            "false (container "
            '"app" must set securityContext.allowPrivilegeEscalation=false)',
            CONFIGURATION,
            "PodSecurity",
            "restricted:latest",
        ),
        (
            'admission webhook "validate.kyverno.svc-fail" denied the request: the label team is required',
            CONFIGURATION,
            "AdmissionDenied",
            "validate.kyverno.svc-fail",
        ),
        (
            "deployments.apps \"x\" is forbidden: ValidatingAdmissionPolicy 'images' with binding "
            "'images' denied request: no",
            CONFIGURATION,
            "AdmissionDenied",
            "images",
        ),
        (
            'pods "x" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi',
            CONFIGURATION,
            "LimitRange",
            "describe limitrange",
        ),
        (
            'pods "x" is forbidden: error looking up service account shop/app: serviceaccount "app" not found',
            CONFIGURATION,
            "ServiceAccountNotFound",
            "ServiceAccount app",
        ),
        (
            'pods "x" is forbidden: no PriorityClass with name high was found',
            CONFIGURATION,
            "PriorityClassNotFound",
            "PriorityClass high",
        ),
        (
            'Deployment.apps "x" is invalid: spec.template.spec.containers[0].resources.requests: Invalid '
            'value: "2": must '
            "be less than or equal to cpu limit",
            CONFIGURATION,
            "Invalid",
            "correct the field",
        ),
        (
            'deployments.apps is forbidden: User "system:serviceaccount:resilience:operator" cannot create resource '
            '"deployments" in API group "apps" in the namespace "shop"',
            CONFIGURATION,
            "OperatorForbidden",
            "system:serviceaccount:resilience:operator",
        ),
        (
            'Apply failed with 1 conflict: conflict with "helm" using apps/v1: .spec.replicas',
            CONFIGURATION,
            "FieldConflict",
            "helm",
        ),
        (
            'deployments.apps "x" is forbidden: unable to create new content in namespace shop because it '
            "is being terminated",
            CONFIGURATION,
            "NamespaceTerminating",
            "deleted",
        ),
        ('pods "x" is forbidden: no reason at all', CONFIGURATION, "Forbidden", "do what"),
        ("status 418", UNKNOWN, "Refused", "do what"),
    ],
)
def test_what_the_api_server_refuses(words: str, kind: FailureClass, reason: str, advice: str) -> None:
    refused = classify.of_refusal(words)
    found = classify.of_workload(make_workload(trouble=words))

    assert (refused.kind, refused.reason) == (kind, reason) and advice in refused.advice
    assert found is not None and (found.kind, found.reason) == (kind, reason)
    assert words[:100] in refused.message and "Deployment checkout cannot make pods" in found.message


def test_a_webhook_that_is_away_is_waited_for() -> None:
    words = (
        'Internal error occurred: failed calling webhook "validate.kyverno.svc": failed to call webhook: Post '
        '"https://kyverno-svc.kyverno.svc:443/validate": dial tcp 10.96.24.5:443: connect: connection refused'
    )

    assert classify.of_workload(make_workload(trouble=words)) is None
    assert classify.of_refusal(words).is_transient


def test_nothing_is_wrong_with_a_workload_that_says_nothing() -> None:
    assert classify.of_workload(make_workload()) is None


def test_the_worst_counts() -> None:
    short = broken("Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.")
    slow = broken("ErrImagePull", "dial tcp: lookup x: no such host")
    crash = broken("CrashLoopBackOff", "container app ended with exit code 1", restarts=2)
    denied = broken("ErrImagePull", "401 Unauthorized")
    wrong = broken("InvalidImageName")
    pods = [short, slow, crash, denied, wrong]

    seen = [classify.first(make_workload(), pods[:count], image=IMAGE) for count in range(1, 6)]

    expected = [RESOURCE, NETWORK, UNKNOWN, AUTHENTICATION, CONFIGURATION]
    assert [each.kind for each in seen if each is not None] == expected
    assert classify.first(make_workload(), [make_pod()], image=IMAGE) is None
    of_both = classify.first(make_workload(trouble=_QUOTA), [make_pod()], image=IMAGE)
    assert of_both is not None and of_both.may_clear and "kubectl -n shop describe resourcequota team" in of_both.advice


def test_only_network_is_retried_and_only_resources_are_waited_for() -> None:
    made = {kind: Failure(kind, "R", "m", "a") for kind in FailureClass}

    assert {kind for kind, each in made.items() if each.is_transient} == {NETWORK}
    assert {kind for kind, each in made.items() if each.may_clear} == {RESOURCE}


def test_a_deadline_says_how_far_the_pods_are() -> None:
    pods = [make_pod("a"), make_pod("b", ready=False), broken("ReadinessFails", "container app runs")]

    found = classify.timed_out(pods, deadline=timedelta(minutes=10), what="the candidate")
    empty = classify.timed_out([], deadline=timedelta(seconds=90), what="the candidate")

    assert found.kind is FailureClass.TIMEOUT and found.pod == "green-1"
    assert found.message == (
        "the candidate was not complete within 10m: 1 of 3 pods are ready; pod green-1: ReadinessFails: "
        "container app runs"
    )
    assert "progressDeadline" in found.advice and "kubectl logs green-1" in found.advice
    assert "within 1m30s: 0 of 0 pods" in empty.message and empty.pod == ""


def test_what_never_began_says_what_it_waited_for() -> None:
    found = classify.never_began("node n1 is cordoned", deadline=timedelta(minutes=1))

    assert found.kind is FailureClass.TIMEOUT and "node n1 is cordoned" in found.message


def test_a_long_message_keeps_its_end() -> None:
    found = classify.of_refusal("x" * 2000 + " the cause")

    assert len(found.message) <= 500 and found.message.endswith(" the cause")


@pytest.mark.parametrize(("tries", "seconds"), [(0, 1), (1, 2), (2, 4), (4, 16), (5, 30), (99, 30)])
def test_tries_are_spaced(tries: int, seconds: int) -> None:
    assert classify.backoff(tries) == timedelta(seconds=seconds)
