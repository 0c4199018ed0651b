"""Policies of Istio, Linkerd, Cilium and Calico select pods by labels, and a pod leaves its Services by a label.

The objects have the form that each project's CRD asks for. The label to leave by is one that none of them selects by;
if there is no such label, people learn it before a pod is replaced, with what to do.
"""

from dataclasses import replace
from typing import Any, Final, cast

import pytest

from resilience.adapters.kube.pod_policies import PodPolicies, Policies
from resilience.adapters.kube.transport import Transport
from resilience.api.names import LEFT_VALUE
from resilience.api.reasons import ReplaceStep
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.model.decision import Advance, Decision
from resilience.core.model.observation import PodsView
from resilience.core.model.pod_policy import PodPolicy
from resilience.ports import Refused, Unavailable
from tests.support.factories import (
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_service,
    make_spec,
    make_view,
)
from tests.support.transport import FakeTransport
from tests.variety.claims import decided, status_of

LABELS: Final = {"app": "checkout", "tier": "web", "serve": "yes"}
APP: Final = {"matchLabels": {"app": "checkout"}}
OTHER: Final = {"matchLabels": {"app": "other"}}
ISTIO, NETWORK, LINKERD, CILIUM = "security.istio.io", "networking.istio.io", "policy.linkerd.io", "cilium.io"
POLICIES: Final = "/apis/networking.k8s.io/v1"
CALICO, ADMIN = "crd.projectcalico.org", "policy.networking.k8s.io"


def cluster(*policies: tuple[str, str, dict[str, Any]], namespace: str | None = "shop") -> FakeTransport:
    """A cluster that has only the kinds of these policies: group, plural and spec."""
    held: dict[str, Any] = {
        "/apis": {
            "groups": [
                {"name": group, "versions": [{"version": "v1"}]} for group in {group for group, _, _ in policies}
            ]
        }
    }
    for number, (group, plural, content) in enumerate(policies):
        resources = held.setdefault(f"/apis/{group}/v1", {"resources": []})["resources"]
        resources.append({"name": plural})
        meta = {"name": f"p{number}"} | ({"namespace": namespace} if namespace is not None else {})
        where = f"/namespaces/{namespace}" if namespace is not None else ""
        body = content if "specs" in content else {"spec": content}
        held.setdefault(f"/apis/{group}/v1{where}/{plural}", []).append({"metadata": meta, **body})
    return FakeTransport(held=held)


async def found(transport: FakeTransport, *, namespaces: tuple[str, ...] = ()) -> Policies:
    reader = PodPolicies(transport=cast(Transport, transport), namespaces=namespaces)
    return await reader.selecting("shop", LABELS)


@pytest.mark.parametrize(
    ("group", "plural", "spec", "labels"),
    [
        (ISTIO, "authorizationpolicies", {"selector": APP, "action": "ALLOW"}, {"app"}),
        (ISTIO, "authorizationpolicies", {"selector": OTHER}, set()),
        # Without a selector it holds for the whole namespace, whatever labels a pod has.
        (ISTIO, "authorizationpolicies", {}, set()),
        (ISTIO, "peerauthentications", {"selector": {"matchLabels": {"tier": "web"}}, "mtls": {}}, {"tier"}),
        (ISTIO, "requestauthentications", {"selector": APP}, {"app"}),
        (NETWORK, "sidecars", {"workloadSelector": {"labels": {"app": "checkout"}}}, {"app"}),
        (NETWORK, "envoyfilters", {"workloadSelector": {"labels": {"tier": "web"}}}, {"tier"}),
        (NETWORK, "destinationrules", {"host": "x", "subsets": [{"name": "a", "labels": {"tier": "web"}}]}, {"tier"}),
        (NETWORK, "destinationrules", {"host": "x", "workloadSelector": APP}, {"app"}),
        (LINKERD, "servers", {"podSelector": APP, "port": "http"}, {"app"}),
        (LINKERD, "servers", {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}}, {"tier"}),
        (CILIUM, "ciliumnetworkpolicies", {"endpointSelector": APP}, {"app"}),
        (CILIUM, "ciliumnetworkpolicies", {"endpointSelector": {"matchLabels": {"k8s:tier": "web"}}}, {"tier"}),
        (CILIUM, "ciliumnetworkpolicies", {"endpointSelector": {"matchLabels": {"any:app": "checkout"}}}, {"app"}),
        (
            CILIUM,
            "ciliumnetworkpolicies",
            {
                "endpointSelector": OTHER,
                "ingress": [
                    {"fromEndpoints": [{"matchLabels": {"app": "checkout", "k8s:io.kubernetes.pod.namespace": "shop"}}]}
                ],
            },
            {"app"},
        ),
        (
            CILIUM,
            "ciliumnetworkpolicies",
            {"endpointSelector": {}, "egressDeny": [{"toEndpoints": [{"matchLabels": {"tier": "web"}}]}]},
            {"tier"},
        ),
        (CILIUM, "ciliumnetworkpolicies", {"specs": [{"endpointSelector": APP}, {"endpointSelector": OTHER}]}, {"app"}),
        (CALICO, "networkpolicies", {"selector": "app == 'checkout' && has(tier)"}, {"app", "tier"}),
        (CALICO, "networkpolicies", {"selector": "app == 'other' || all()"}, {"app"}),
        (CALICO, "networkpolicies", {"selector": "app in {'other'}"}, set()),
        (CALICO, "networkpolicies", {"ingress": [{"source": {"selector": "tier == 'web'"}}]}, {"tier"}),
        (CALICO, "networkpolicies", {"egress": [{"destination": {"notSelector": "tier != 'x'"}}]}, {"tier"}),
        (CALICO, "networkpolicies", {"selector": "app =="}, set()),
    ],
)
async def test_the_labels_that_a_policy_selects_by(group: str, plural: str, spec: Any, labels: set[str]) -> None:
    answer = await found(cluster((group, plural, spec)))

    assert {key for policy in answer.found for key in policy.labels} == labels


@pytest.mark.parametrize(
    ("group", "plural", "spec"),
    [
        (CILIUM, "ciliumclusterwidenetworkpolicies", {"endpointSelector": APP}),
        (CALICO, "globalnetworkpolicies", {"selector": "app == 'checkout'"}),
        (ADMIN, "adminnetworkpolicies", {"subject": {"pods": {"podSelector": APP, "namespaceSelector": {}}}}),
        (ADMIN, "baselineadminnetworkpolicies", {"ingress": [{"from": [{"pods": {"podSelector": APP}}]}]}),
        (ADMIN, "clusternetworkpolicies", {"subject": {"pods": {"podSelector": APP}}}),
    ],
)
async def test_kinds_without_a_namespace_are_read_with_rights_to_the_cluster(
    group: str, plural: str, spec: Any
) -> None:
    policies = cluster((group, plural, spec), namespace=None)

    assert [policy.labels for policy in (await found(policies)).found] == [{"app"}]
    assert (await found(policies, namespaces=("shop",))) == Policies()


async def test_policies_of_istio_s_root_namespace_count_those_of_another_tenant_do_not() -> None:
    policy = (ISTIO, "authorizationpolicies", {"selector": APP})

    assert (await found(cluster(policy, namespace="istio-system"))).found
    assert not (await found(cluster(policy, namespace="tenant-b"))).found


async def test_a_kind_is_read_in_the_version_that_has_it() -> None:
    held: dict[str, Any] = {
        "/apis": {"groups": [{"name": ADMIN, "versions": [{"version": "v1alpha2"}, {"version": "v1alpha1"}]}]},
        f"/apis/{ADMIN}/v1alpha2": {"resources": [{"name": "clusternetworkpolicies"}]},
        f"/apis/{ADMIN}/v1alpha1": {"resources": [{"name": "adminnetworkpolicies"}]},
        f"/apis/{ADMIN}/v1alpha2/clusternetworkpolicies": [],
        f"/apis/{ADMIN}/v1alpha1/adminnetworkpolicies": [
            {"metadata": {"name": "old"}, "spec": {"subject": {"pods": {"podSelector": APP}}}}
        ],
    }

    assert [policy.name for policy in (await found(FakeTransport(held=held))).found] == ["old"]


async def test_a_cluster_without_a_mesh_pays_three_requests_for_all_services_of_a_namespace() -> None:
    transport = cluster()
    reader = PodPolicies(transport=cast(Transport, transport), namespaces=())

    for _ in range(20):
        assert await reader.selecting("shop", LABELS) == Policies()

    assert transport.read == ["/apis", f"{POLICIES}/namespaces/shop/networkpolicies", f"{POLICIES}/networkpolicies"]


async def test_services_of_a_namespace_share_what_is_read() -> None:
    transport = cluster((ISTIO, "authorizationpolicies", {"selector": APP}), (LINKERD, "servers", {"podSelector": APP}))
    reader = PodPolicies(transport=cast(Transport, transport), namespaces=())

    for _ in range(20):
        await reader.selecting("shop", LABELS)

    assert len(transport.read) == len(set(transport.read))


async def test_network_policies_that_may_not_be_read_are_not_taken_for_none() -> None:
    refused = FakeTransport(
        held={"/apis": {"groups": []}},
        fails={"/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies": Refused("forbidden")},
    )

    for _ in range(2):
        with pytest.raises(Refused):
            await found(refused)


async def test_what_may_not_be_read_is_named_and_what_fails_is_tried_again() -> None:
    policy = (ISTIO, "authorizationpolicies", {"selector": APP})
    path = f"/apis/{ISTIO}/v1/namespaces/shop/authorizationpolicies"
    refused = replace(cluster(policy), fails={path: Refused("forbidden")})
    down = replace(cluster(policy), fails={path: Unavailable("no answer")})
    reader = PodPolicies(transport=cast(Transport, down), namespaces=())

    assert (await found(refused)).unread == ("AuthorizationPolicy",)
    with pytest.raises(Unavailable):
        await reader.selecting("shop", LABELS)
    down.fails = {}
    assert (await reader.selecting("shop", LABELS)).found


def network_policy(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": name, "name": "p"}, "spec": spec}


def from_peer(**peer: Any) -> dict[str, Any]:
    return {"podSelector": OTHER, "ingress": [{"from": [peer]}]}


@pytest.mark.parametrize(
    ("own", "elsewhere", "labels"),
    [
        ({"podSelector": APP}, {}, {"app"}),
        ({"podSelector": OTHER}, {}, set()),
        (from_peer(podSelector=APP), {}, {"app"}),
        # Of another namespace only its peers with a namespaceSelector are pods of this one.
        ({}, {"podSelector": APP}, set()),
        ({}, from_peer(podSelector=APP), set()),
        ({}, from_peer(podSelector=APP, namespaceSelector={}), {"app"}),
        ({}, {"egress": [{"to": [{"podSelector": APP, "namespaceSelector": {}}]}]}, {"app"}),
    ],
)
async def test_network_policies_select_pods_of_their_own_namespace_and_peers_in_others(
    own: dict[str, Any], elsewhere: dict[str, Any], labels: set[str]
) -> None:
    ours, theirs = network_policy("shop", **own), network_policy("tenant-b", **elsewhere)
    listed = {
        f"{POLICIES}/networkpolicies": [ours, theirs],
        f"{POLICIES}/namespaces/shop/networkpolicies": [ours],
        f"{POLICIES}/namespaces/tenant-b/networkpolicies": [theirs],
    }

    for namespaces in ((), ("shop", "tenant-b")):
        answer = await found(FakeTransport(held=listed), namespaces=namespaces)
        assert {key for policy in answer.found for key in policy.labels} == labels
        assert len(answer.found) == len(labels)


async def test_policies_are_read_again_once_they_are_forgotten_and_only_those_of_the_namespace() -> None:
    transport = cluster((ISTIO, "authorizationpolicies", {"selector": APP}))
    reader = PodPolicies(transport=cast(Transport, transport), namespaces=())
    for namespace in ("shop", "tenant-b"):
        await reader.selecting(namespace, LABELS)
    before = len(transport.read)

    reader.forget("shop")
    for namespace in ("shop", "tenant-b"):
        await reader.selecting(namespace, LABELS)

    assert sorted(transport.read[before:]) == [
        f"{POLICIES}/namespaces/shop/networkpolicies",
        f"{POLICIES}/networkpolicies",
        f"/apis/{ISTIO}/v1/namespaces/istio-system/authorizationpolicies",
        f"/apis/{ISTIO}/v1/namespaces/shop/authorizationpolicies",
    ]


async def test_a_namespace_of_another_tenant_that_is_closed_hides_no_policy() -> None:
    closed = f"{POLICIES}/namespaces/tenant-b/networkpolicies"
    held = {f"{POLICIES}/namespaces/shop/networkpolicies": [network_policy("shop", podSelector=APP)]}
    transport = FakeTransport(held=held, fails={closed: Refused("forbidden")})

    answer = await found(transport, namespaces=("shop", "tenant-b"))

    assert [policy.labels for policy in answer.found] == [{"app"}]
    assert answer.unread == ()


def leaves(view: PodsView, spec: ResilientServiceSpec | None = None, **selector: str) -> Decision:
    """A pass in which the replacement serves and the old pod may leave a Service with this selector."""
    old = make_retiring("old", ReplaceStep.REPLACING, labels=LABELS)
    new = make_pod("new", labels=LABELS)
    pods = replace(view, pods=(old, new))
    service = make_service(selector=selector)
    return decided(make_resource(spec), make_seen(view=pods, services=(service,)))


def overwritten(decision: Decision) -> dict[str, str]:
    (action,) = [action for action in decision.actions if isinstance(action, Advance)]
    return dict(action.labels)


@pytest.mark.parametrize(
    ("fields", "selector", "label"),
    [
        # Nothing else uses it.
        ({}, {"app": "checkout", "tier": "web"}, "tier"),
        ({"policy_labels": frozenset({"tier"})}, {"app": "checkout", "tier": "web"}, "app"),
        ({"budget_labels": frozenset({"serve"})}, {"serve": "yes", "tier": "web"}, "tier"),
        ({"budget_labels": frozenset({"serve"})}, {"serve": "yes"}, "serve"),
    ],
)
def test_a_label_that_only_services_use_comes_first(fields: Any, selector: dict[str, str], label: str) -> None:
    assert overwritten(leaves(make_view(**fields), None, **selector)) == {label: LEFT_VALUE}


def test_the_user_names_the_label_also_one_that_a_policy_selects_by() -> None:
    spec = make_spec(drain={"leaveBy": "app"})
    view = make_view(policy_labels=frozenset({"app"}))

    assert overwritten(leaves(view, spec, app="checkout", tier="web")) == {"app": LEFT_VALUE}
    assert overwritten(leaves(view, app="checkout", tier="web")) == {"tier": LEFT_VALUE}


def test_a_label_that_the_service_does_not_select_by_is_told() -> None:
    spec = make_spec(drain={"leaveBy": "servee"})

    status = status_of(leaves(make_view(), spec, serve="yes", app="checkout"))

    assert "LeaveByNotSelected" in {condition.reason for condition in status.conditions}
    assert "does not select pods by label servee" in status.explanation and "app, serve" in status.explanation
    right = status_of(leaves(make_view(), make_spec(drain={"leaveBy": "serve"}), serve="yes", app="checkout"))
    assert "LeaveByNotSelected" not in {condition.reason for condition in right.conditions}


POLICY = PodPolicy("AuthorizationPolicy", "shop/front", frozenset({"app"}))


@pytest.mark.parametrize(
    ("fields", "spec", "reason"),
    [
        ({"policy_labels": frozenset({"app"}), "policies": (POLICY,)}, {}, "PoliciesSelectPods"),
        ({"policy_labels": frozenset({"app"}), "policies": (POLICY,)}, {"drain": {"leaveBy": "app"}}, None),
        ({"unread_policies": ("AuthorizationPolicy",)}, {}, "PoliciesNotRead"),
        ({}, {}, None),
    ],
)
def test_that_pods_cannot_leave_is_told_before_one_has_to(fields: Any, spec: Any, reason: str | None) -> None:
    pod = make_pod(labels=LABELS)
    seen = make_seen(view=replace(make_view(pod), **fields), services=(make_service(selector={"app": "checkout"}),))

    decision = decided(make_resource(make_spec(**spec)), seen)

    told = [item for item in status_of(decision).conditions if item.type == "CanLeaveServices"]
    assert [item.reason for item in told] == ([reason] if reason is not None else [])
    assert [event.reason for event in decision.events if event.reason.startswith("Policies")] == (
        [reason] if reason is not None else []
    )
    if reason is not None:
        assert "AuthorizationPolicy" in told[0].message and "spec.drain.leaveBy" in told[0].message
        # A pass that does not read them says the same, and nothing again.
        later = decided(make_resource(make_spec(**spec), status=status_of(decision)), replace(seen, pods=None))
        assert [item.reason for item in status_of(later).conditions if item.type == "CanLeaveServices"] == [reason]
        assert not [event for event in later.events if event.reason == reason]
