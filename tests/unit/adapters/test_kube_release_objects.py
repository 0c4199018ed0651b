"""Objects that a release makes: green from the target's template, and the preview Service."""

import json
from typing import Any

import pytest

from resilience.adapters.kube import parse_workload
from resilience.adapters.kube.paths import green_name
from resilience.adapters.kube.transport import JSON_PATCH
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.actions import CreateGreen, PutPreview
from resilience.core.model.workload import Workload
from resilience.ports import Conflict, Refused
from tests.support.factories import LABELS, NOW, make_service
from tests.support.transport import DEPLOYMENTS, SERVICES, TARGET, FakeTransport, only, writer

OURS = {"resilience.dev/managed": "true", "resilience.dev/track": "green"}
OWNER = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "name": "checkout",
    "uid": "target-uid",
    "controller": False,
    "blockOwnerDeletion": False,
}
PREVIEW = f"{SERVICES}/preview"


def template(image: str = "shop:2") -> dict[str, Any]:
    meta = {"labels": LABELS | {"tier": "web"}, "annotations": {"scrape": "true"}}
    return {"metadata": meta, "spec": {"containers": [{"name": "app", "image": image}], "volumes": []}}


def deployment(image: str = "shop:2", **spec: Any) -> dict[str, Any]:
    """As a GitOps tool has it: with labels and annotations by which it knows its own."""
    return {
        "metadata": {
            "namespace": "shop",
            "name": "checkout",
            "uid": "target-uid",
            "resourceVersion": "7",
            "labels": {"argocd.argoproj.io/instance": "shop"},
            "annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/checkout"},
        },
        "spec": {"replicas": 3, "paused": True, "selector": {"matchLabels": LABELS}, "template": template(image)}
        | spec,
    }


def target() -> Workload:
    return parse_workload.workload(TargetKind.DEPLOYMENT, deployment())


async def made(**spec: Any) -> Any:
    transport = FakeTransport({TARGET: deployment(**spec)})
    await writer(transport).create_green(target(), CreateGreen(2, NOW))
    verb, path, body = only(transport)
    assert (verb, path) == ("post", DEPLOYMENTS)
    return body


async def test_green_is_ours_and_nothing_of_the_targets_metadata_is_in_it() -> None:
    body = await made()

    meta = body["metadata"]
    assert (meta["namespace"], meta["name"], meta["labels"]) == ("shop", "checkout-green", OURS)
    assert meta["ownerReferences"] == [OWNER]
    assert {key.removeprefix("resilience.dev/"): value for key, value in meta["annotations"].items()} == {
        "green-of": "checkout",
        "release-step": "Preparing",
        "release-towards": "green",
        "release-since": "2026-03-01T12:00:00.000Z",
        "release-started-at": "2026-03-01T12:00:00.000Z",
    }
    assert "argocd" not in json.dumps(body)


async def test_greens_pods_are_those_of_the_template_told_apart_by_one_label() -> None:
    body = await made()

    track = {"resilience.dev/track": "green"}
    assert body["spec"]["selector"] == {"matchLabels": LABELS | track}
    meta = template()["metadata"]
    assert body["spec"]["template"] == template() | {"metadata": meta | {"labels": meta["labels"] | track}}
    assert parse_workload.fingerprint(body["spec"]["template"]) == target().template.fingerprint


@pytest.mark.parametrize(("spec", "seconds"), [({}, 0), ({"minReadySeconds": 7}, 7)])
async def test_green_has_its_own_size_and_is_never_paused(spec: Any, seconds: int) -> None:
    body = await made(revisionHistoryLimit=5, progressDeadlineSeconds=2147483647, **spec)

    rest = {key: value for key, value in body["spec"].items() if key not in ("selector", "template")}
    assert rest == {"replicas": 2, "minReadySeconds": seconds, "revisionHistoryLimit": 0}


async def test_selectors_by_expression_are_kept() -> None:
    terms = [{"key": "tier", "operator": "In", "values": ["web"]}]

    body = await made(selector={"matchLabels": LABELS, "matchExpressions": terms})

    assert body["spec"]["selector"]["matchExpressions"] == terms


async def test_green_is_made_of_the_template_that_was_decided_on_or_not_at_all() -> None:
    transport = FakeTransport({TARGET: deployment("shop:3")})

    with pytest.raises(Conflict, match="the template changed"):
        await writer(transport).create_green(target(), CreateGreen(2, NOW))

    assert transport.sent == []


@pytest.mark.parametrize("name", ["checkout", "x" * 40])
def test_a_name_that_fits_is_kept(name: str) -> None:
    assert green_name(name) == f"{name}-green"


def test_a_long_name_is_cut_and_stays_unique() -> None:
    one, other = green_name("x" * 60 + "1"), green_name("x" * 60 + "2")

    assert one != other and len(one) == len(other) == 46 and one.endswith("-green")


LIKE = make_service(
    selector=LABELS | {"pod-template-hash": "h-old"}, pinned=True, resource_version="1", cluster_ip="10.96.0.1"
)
PORT = {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "h2c", "nodePort": 30080}


@pytest.mark.parametrize(
    ("pin", "selector"), [("h-green", LABELS | {"pod-template-hash": "h-green"}), ("", dict(LABELS))]
)
async def test_the_preview_is_made_like_the_service_that_clients_use(pin: str, selector: Any) -> None:
    transport = FakeTransport({f"{SERVICES}/checkout": {"spec": {"ports": [PORT], "type": "NodePort"}}})

    await writer(transport).put_preview(target(), PutPreview("preview", pin), like=LIKE)

    verb, path, body = only(transport)
    assert (verb, path) == ("post", SERVICES)
    kept = {key: value for key, value in PORT.items() if key != "nodePort"}
    assert body["spec"] == {"selector": selector, "ports": [kept]}
    assert body["metadata"] == {
        "name": "preview",
        "labels": {"resilience.dev/managed": "true"},
        "annotations": {"resilience.dev/preview-of": "checkout"},
        "ownerReferences": [OWNER],
    }


@pytest.mark.parametrize(
    ("pin", "selector"), [("h-green", LABELS | {"pod-template-hash": "h-green"}), ("", dict(LABELS))]
)
async def test_the_preview_is_moved_as_it_was_read(pin: str, selector: Any) -> None:
    meta = {"resourceVersion": "4", "annotations": {"resilience.dev/preview-of": "checkout"}}
    transport = FakeTransport({PREVIEW: {"metadata": meta}})

    await writer(transport).put_preview(target(), PutPreview("preview", pin), like=LIKE)

    assert only(transport) == (
        "patch",
        PREVIEW,
        [
            {"op": "add", "path": "/metadata/resourceVersion", "value": "4"},
            {"op": "replace", "path": "/spec/selector", "value": selector},
        ],
    )
    assert transport.kinds == [JSON_PATCH]


@pytest.mark.parametrize("annotations", [None, {}, {"resilience.dev/preview-of": "another"}])
async def test_a_service_of_somebody_else_is_not_touched(annotations: Any) -> None:
    transport = FakeTransport({PREVIEW: {"metadata": {"resourceVersion": "4", "annotations": annotations}}})

    with pytest.raises(Refused, match="Service preview exists and is not the operator's; delete it or name another"):
        await writer(transport).put_preview(target(), PutPreview("preview", ""), like=LIKE)

    assert transport.sent == []


@pytest.mark.parametrize("missing", [frozenset(), frozenset({PREVIEW})])
async def test_a_preview_that_is_gone_already_is_no_error(missing: frozenset[str]) -> None:
    transport = FakeTransport(missing=missing)

    await writer(transport).delete_preview(namespace="shop", name="preview")

    assert only(transport)[:2] == ("delete", PREVIEW)
