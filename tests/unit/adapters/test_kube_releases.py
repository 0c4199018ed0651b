"""Writes of a release over a transport in memory: what is in each body, and what each has as its precondition."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from resilience.adapters.kube.transport import JSON_PATCH
from resilience.api.names import (
    ANNOTATION_DEADLINE,
    ANNOTATION_FAILED,
    ANNOTATION_LEFT,
    ANNOTATION_PAUSED_FOR,
    ANNOTATION_SCALE_UP,
    ANNOTATION_SERVING,
)
from resilience.api.reasons import Colour, ReleaseStep
from resilience.core.model.actions import AdvanceGreen, RestoreTemplate, Resume, RetryPull
from resilience.core.model.autoscaler import Autoscaler
from resilience.core.model.observation import Green
from resilience.core.model.workload import ReplicaSet, Workload
from tests.support.factories import LABELS, NOW, RS, make_pod, make_service, make_workload
from tests.support.transport import DEPLOYMENTS, SERVICES, TARGET, FakeTransport, only, writer

GREEN = f"{DEPLOYMENTS}/checkout-green"
NO_DEADLINE = 2147483647
AT = "2026-03-01T12:00:00.000Z"


def workload(deadline: str = "") -> Workload:
    """The target at version 7, with what was kept of the user's deadline."""
    return make_workload(resource_version="7", annotations={ANNOTATION_DEADLINE: deadline} if deadline else {})


def green(**fields: Any) -> Green:
    made = make_workload(name="checkout-green", uid="green-uid", resource_version="3")
    return replace(Green(made, "h", (), ReleaseStep.WARM, Colour.GREEN, NOW, NOW), **fields)


@pytest.mark.parametrize(
    ("target", "deadline", "spec"),
    [
        (workload(), "600", {"paused": True, "progressDeadlineSeconds": NO_DEADLINE}),
        (
            replace(workload(), progress_deadline_seconds=90),
            "90",
            {"paused": True, "progressDeadlineSeconds": NO_DEADLINE},
        ),
        # Known from an earlier time: what is there now is ours.
        (replace(workload(deadline="90"), progress_deadline_seconds=NO_DEADLINE), None, {"paused": True}),
        # What was kept of it is lost; or the user himself wants none.
        (
            replace(workload(), progress_deadline_seconds=NO_DEADLINE, deadline_by_operator=True),
            "600",
            {"paused": True, "progressDeadlineSeconds": NO_DEADLINE},
        ),
        (
            replace(workload(), progress_deadline_seconds=NO_DEADLINE),
            str(NO_DEADLINE),
            {"paused": True, "progressDeadlineSeconds": NO_DEADLINE},
        ),
    ],
)
async def test_holding_keeps_the_users_deadline_once(target: Workload, deadline: str | None, spec: Any) -> None:
    transport = FakeTransport()

    await writer(transport).hold(target, serving="t-old")

    notes = {ANNOTATION_SERVING: "t-old", ANNOTATION_PAUSED_FOR: None, ANNOTATION_LEFT: None}
    kept = {} if deadline is None else {ANNOTATION_DEADLINE: deadline}
    body = {"metadata": {"annotations": notes | kept, "resourceVersion": "7"}, "spec": spec}
    assert only(transport) == ("patch", TARGET, body)


HPA = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/hpa"


def scaled_up_by(policy: str | None) -> dict[str, Any]:
    return {"behavior": {"scaleUp": {"selectPolicy": policy}}}


@pytest.mark.parametrize(
    ("policy", "before", "limited", "note", "spec"),
    [
        ("", None, True, "", scaled_up_by("Disabled")),
        ("Min", None, True, "Min", scaled_up_by("Disabled")),
        ("Disabled", "", False, None, {"behavior": None}),
        ("Disabled", "Min", False, None, scaled_up_by("Min")),
        # Somebody has chosen another one meanwhile.
        ("Max", "Min", False, None, None),
    ],
)
async def test_an_autoscaler_gets_back_what_it_had(
    policy: str, before: str | None, limited: bool, note: str | None, spec: Any
) -> None:
    transport = FakeTransport()
    found = Autoscaler("hpa", 1, resource_version="7", runs_up=True, scale_up=policy, scale_up_before=before)

    await writer(transport).limit_autoscaler(found, namespace="shop", limited=limited)

    body = {"metadata": {"resourceVersion": "7", "annotations": {ANNOTATION_SCALE_UP: note}}}
    assert only(transport) == ("patch", HPA, body | ({"spec": spec} if spec else {}))


OFF: dict[str, Any] = {ANNOTATION_PAUSED_FOR: None}
BACK = OFF | {ANNOTATION_SERVING: None, ANNOTATION_DEADLINE: None}
HELD = replace(workload(deadline="90"), progress_deadline_seconds=NO_DEADLINE)


@pytest.mark.parametrize(
    ("target", "action", "notes", "spec"),
    [
        (HELD, Resume(), OFF, {"paused": None}),
        (HELD, Resume(give_back=True), BACK, {"paused": None, "progressDeadlineSeconds": 90}),
        (HELD, Resume(give_back=True, stay_paused=True), BACK, {"progressDeadlineSeconds": 90}),
        # Somebody set another one meanwhile, or wrote nonsense: theirs stays.
        (replace(HELD, progress_deadline_seconds=120), Resume(give_back=True), BACK, {"paused": None}),
        (replace(HELD, annotations={ANNOTATION_DEADLINE: "x"}), Resume(give_back=True), BACK, {"paused": None}),
        (replace(HELD, annotations={}), Resume(give_back=True), BACK, {"paused": None}),
        (
            replace(workload(deadline="90"), progress_deadline_seconds=90),
            Resume(give_back=True, stay_paused=True),
            BACK,
            None,
        ),
    ],
)
async def test_resuming_gives_back_what_was_kept(target: Workload, action: Resume, notes: Any, spec: Any) -> None:
    transport = FakeTransport()

    await writer(transport).resume(target, action)

    body = {"metadata": {"annotations": notes, "resourceVersion": "7"}} | ({"spec": spec} if spec else {})
    assert only(transport) == ("patch", TARGET, body)


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (
            lambda to: to.pause_failed(workload(), fingerprint="t-new"),
            {
                "metadata": {
                    "annotations": {ANNOTATION_PAUSED_FOR: "t-new", ANNOTATION_FAILED: "t-new"},
                    "resourceVersion": "7",
                },
                "spec": {"paused": True},
            },
        ),
        (
            lambda to: to.scale_target(workload(), replicas=4),
            {"metadata": {"annotations": {}, "resourceVersion": "7"}, "spec": {"replicas": 4}},
        ),
        # Notes are true whatever else has changed.
        (
            lambda to: to.annotate_failed(workload(), fingerprint="t-new"),
            {"metadata": {"annotations": {ANNOTATION_FAILED: "t-new"}}},
        ),
        (
            lambda to: to.annotate_failed(workload(), fingerprint=""),
            {"metadata": {"annotations": {ANNOTATION_FAILED: None}}},
        ),
        (
            lambda to: to.annotate_left(workload(), reason="paused"),
            {"metadata": {"annotations": {ANNOTATION_LEFT: "paused"}}},
        ),
    ],
)
async def test_other_writes_to_the_target(call: Any, body: Any) -> None:
    transport = FakeTransport()

    await call(writer(transport))

    assert only(transport) == ("patch", TARGET, body)


@pytest.mark.parametrize("labels", [LABELS | {"pod-template-hash": "5d4c"}, {"pod-template-hash": "5d4c"}, None])
async def test_the_template_of_a_replica_set_comes_back_with_the_note_of_what_failed(labels: Any) -> None:
    template = {"metadata": {"labels": labels}, "spec": {"containers": []}} if labels else {"spec": {}}
    held = {"/apis/apps/v1/namespaces/shop/replicasets/checkout-5d4c": {"spec": {"template": template}}}
    transport = FakeTransport(held)

    await writer(transport).restore_template(workload(), RestoreTemplate(RS, "t-new"))

    (_, path, patch), wanted = only(transport), {key: value for key, value in (labels or {}).items() if key == "app"}
    assert (path, transport.kinds) == (TARGET, [JSON_PATCH])
    version, note, back = patch
    assert version == {"op": "add", "path": "/metadata/resourceVersion", "value": "7"}
    assert note == {"op": "add", "path": "/metadata/annotations/resilience.dev~1failed-template", "value": "t-new"}
    assert (back["op"], back["path"]) == ("replace", "/spec/template")
    assert back["value"].get("metadata", {}).get("labels", {}) == wanted


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (
            lambda to: to.scale_green(green(), replicas=4),
            {"spec": {"replicas": 4}, "metadata": {"resourceVersion": "3"}},
        ),
        (
            lambda to: to.advance_green(green(), AdvanceGreen(ReleaseStep.WARM, Colour.BLUE, NOW)),
            {
                "metadata": {
                    "annotations": {
                        "resilience.dev/release-step": "Warm",
                        "resilience.dev/release-towards": "blue",
                        "resilience.dev/release-since": AT,
                    },
                    "resourceVersion": "3",
                }
            },
        ),
    ],
)
async def test_green_is_changed_only_as_it_was_read(call: Any, body: Any) -> None:
    transport = FakeTransport()

    await call(writer(transport))

    assert only(transport) == ("patch", GREEN, body)


@pytest.mark.parametrize(("replicas", "spec"), [(None, None), (4, {"replicas": 4})])
async def test_a_step_and_its_size_are_one_write(replicas: int | None, spec: Any) -> None:
    transport = FakeTransport()

    await writer(transport).advance_green(green(), AdvanceGreen(ReleaseStep.SCALING, Colour.GREEN, NOW, replicas))

    assert only(transport)[2].get("spec") == spec


@pytest.mark.parametrize("missing", [frozenset(), frozenset({"/api/v1/namespaces/shop/pods/a"})])
async def test_a_retry_is_counted_before_any_pod_goes(missing: frozenset[str]) -> None:
    transport = FakeTransport(missing=missing)

    await writer(transport).retry_pull(green(), RetryPull((make_pod("a"), make_pod("b")), 2))

    count, first, second = transport.sent
    assert count[:2] == ("patch", GREEN)
    notes = {"annotations": {"resilience.dev/pull-retries": "2"}, "resourceVersion": "3"}
    assert count[2] == {"metadata": notes}
    assert [each[1].rpartition("/")[2] for each in (first, second)] == ["a", "b"]
    assert [each[2]["preconditions"] for each in (first, second)] == [{"uid": "uid-a"}, {"uid": "uid-b"}]


@pytest.mark.parametrize("missing", [frozenset(), frozenset({GREEN})])
async def test_green_is_deleted_with_its_pods_and_only_the_one_that_was_seen(missing: frozenset[str]) -> None:
    transport = FakeTransport(missing=missing)

    await writer(transport).delete_green(green())

    verb, path, options = only(transport)
    assert (verb, path) == ("delete", GREEN)
    assert (options["propagationPolicy"], options["preconditions"]) == ("Foreground", {"uid": "green-uid"})


async def test_green_goes_before_its_pods_when_it_is_being_deleted_already() -> None:
    transport = FakeTransport()

    await writer(transport).delete_green(green(deleting=True))

    verb, path, options = only(transport)
    assert (verb, path) == ("delete", GREEN)
    assert (options["propagationPolicy"], options["preconditions"]) == ("Background", {"uid": "green-uid"})


@pytest.mark.parametrize(("pin", "value", "mark"), [("h-new", "h-new", "true"), ("", None, None)])
async def test_a_service_is_pinned_as_it_was_read_and_marked(pin: str, value: str | None, mark: str | None) -> None:
    transport = FakeTransport()

    await writer(transport).route(make_service(resource_version="9"), template_hash=pin)

    body = {
        "metadata": {"resourceVersion": "9", "annotations": {"resilience.dev/pinned": mark}},
        "spec": {"selector": {"pod-template-hash": value}},
    }
    assert only(transport) == ("patch", f"{SERVICES}/checkout", body)


LATER = NOW + timedelta(microseconds=1500)


@pytest.mark.parametrize(("at", "value"), [(NOW, AT), (LATER, "2026-03-01T12:00:00.001Z"), (None, None)])
async def test_a_signal_is_noted_on_the_pod_that_was_seen(at: Any, value: str | None) -> None:
    transport = FakeTransport()

    await writer(transport).note_signal(make_pod("a", resource_version="5"), namespace="shop", at=at)

    meta = {"resourceVersion": "5", "annotations": {"resilience.dev/drain-signalled-at": value}}
    assert only(transport) == ("patch", "/api/v1/namespaces/shop/pods/a", {"metadata": meta})


async def test_a_replica_set_is_emptied_exactly() -> None:
    transport = FakeTransport()
    old = ReplicaSet("checkout-old", "uid-old", "h-old", 2, False)

    await writer(transport).empty_replica_set(workload(), old)

    path = "/apis/apps/v1/namespaces/shop/replicasets/checkout-old/scale"
    assert only(transport) == ("patch", path, {"metadata": {"uid": "uid-old"}, "spec": {"replicas": 0}})
