"""What the chart lets the operator and its users do: a table, verb by verb."""

import pytest

from resilience.adapters.kube.policy_kinds import KINDS
from tests.support.chart import Chart, Object, of, one

# group/resource → verbs, in every namespace that is looked after.
WORKLOAD_RULES = {
    "resilience.dev/resilientservices": {"get", "list", "watch", "patch"},
    "resilience.dev/resilientservices/status": {"patch"},
    "resilience.dev/alertreceivers": {"get", "list", "watch"},
    "resilience.dev/alertreceivers/status": {"patch"},
    "apps/deployments": {"get", "list", "watch", "create", "patch", "delete"},
    "apps/statefulsets": {"get", "list", "watch", "patch"},
    "apps/daemonsets": {"get", "list", "watch", "patch"},
    "apps/replicasets": {"get", "list"},
    "autoscaling/horizontalpodautoscalers": {"list", "patch"},
    "keda.sh/scaledobjects": {"list"},
    "apps/replicasets/scale": {"patch"},
    "/pods/log": {"get"},
    "/resourcequotas": {"list"},
    "/configmaps": {"get", "list", "watch", "create", "update", "delete"},
    "metrics.k8s.io/pods": {"get", "list"},
    "/pods": {"list", "patch", "delete"},
    "/pods/eviction": {"create"},
    "/services": {"get", "list", "watch", "create", "patch", "delete"},
    "/persistentvolumeclaims": {"get"},
    "/secrets": {"get"},
    "events.k8s.io/events": {"create"},
    "/events": {"list"},
    "discovery.k8s.io/endpointslices": {"list", "watch"},
    "policy/poddisruptionbudgets": {"list"},
    "networking.k8s.io/networkpolicies": {"list"},
    "/namespaces": {"get"},
}
# Policies of meshes and networks, by which pods are selected: read only, where they exist.
POLICY_RULES = {
    "security.istio.io/authorizationpolicies": {"list"},
    "security.istio.io/peerauthentications": {"list"},
    "security.istio.io/requestauthentications": {"list"},
    "networking.istio.io/sidecars": {"list"},
    "networking.istio.io/destinationrules": {"list"},
    "networking.istio.io/envoyfilters": {"list"},
    "policy.linkerd.io/servers": {"list"},
    "cilium.io/ciliumnetworkpolicies": {"list"},
    "crd.projectcalico.org/networkpolicies": {"list"},
}
CLUSTER_POLICY_RULES = {
    "cilium.io/ciliumclusterwidenetworkpolicies": {"list"},
    "crd.projectcalico.org/globalnetworkpolicies": {"list"},
    "policy.networking.k8s.io/adminnetworkpolicies": {"list"},
    "policy.networking.k8s.io/baselineadminnetworkpolicies": {"list"},
    "policy.networking.k8s.io/clusternetworkpolicies": {"list"},
}
CLUSTER_RULES = {
    "apiextensions.k8s.io/customresourcedefinitions": {"list", "watch"},
    "/nodes": {"list"},
}
# For flags over HTTP: whose token it is.
TOKEN_RULES = {"authentication.k8s.io/tokenreviews": {"create"}}
# In the operator's own namespace; after the colon the only name that the verbs are for.
OWN_RULES = {
    "coordination.k8s.io/leases": {"create"},
    "coordination.k8s.io/leases:resilience-operator": {"get", "update"},
    "apps/deployments/scale:resilience-operator": {"patch"},
    "/pods": {"list"},
}


@pytest.fixture(scope="session")
def chart() -> Chart:
    return Chart()


def granted(role: Object) -> dict[str, set[str]]:
    """`group/resource[:name]` → verbs."""
    table: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [None]):
                    key = f"{group}/{resource}" + (f":{name}" if name else "")
                    assert key not in table, f"{key} is granted twice"
                    table[key] = set(rule["verbs"])
    return table


def test_cluster_wide_it_may_do_this_and_nothing_more(chart: Chart) -> None:
    objects = chart.render()
    assert granted(one(objects, "ClusterRole", "resilience-resilience-operator")) == {
        **WORKLOAD_RULES,
        **CLUSTER_RULES,
        **POLICY_RULES,
        **CLUSTER_POLICY_RULES,
    }
    assert granted(one(objects, "ClusterRole", "resilience-resilience-operator-tokens")) == TOKEN_RULES
    assert granted(one(objects, "Role")) == OWN_RULES
    bindings = of(objects, "ClusterRoleBinding") + of(objects, "RoleBinding")
    assert {binding["roleRef"]["kind"] for binding in bindings} == {"ClusterRole", "Role"}
    subject = {"kind": "ServiceAccount", "name": "resilience-operator", "namespace": "resilience"}
    assert all(binding["subjects"] == [subject] for binding in bindings)


def test_with_namespaces_it_may_do_the_same_there_and_nothing_in_the_cluster(chart: Chart) -> None:
    objects = chart.render(namespaces=["shop", "payments"], flags={"enabled": False})
    roles = of(objects, "Role", "resilience-resilience-operator")
    assert {role["metadata"]["namespace"] for role in roles} == {"shop", "payments"}
    assert all(granted(role) == {**WORKLOAD_RULES, **POLICY_RULES} for role in roles)
    assert {item["metadata"]["namespace"] for item in of(objects, "RoleBinding")} == {"shop", "payments", "resilience"}
    assert of(objects, "ClusterRoleBinding") == []
    for role in of(objects, "ClusterRole"):
        assert set(granted(role)) == {"resilience.dev/resilientservices", "resilience.dev/alertreceivers"}


def test_policies_of_meshes_need_not_be_readable(chart: Chart) -> None:
    role = one(chart.render(meshPolicies={"enabled": False}), "ClusterRole", "resilience-resilience-operator")
    assert granted(role) == {**WORKLOAD_RULES, **CLUSTER_RULES}


def test_every_kind_that_is_read_may_be_listed() -> None:
    granted_kinds = POLICY_RULES.keys() | CLUSTER_POLICY_RULES.keys()
    assert {f"{kind.group}/{kind.plural}" for kind in KINDS} == granted_kinds
    namespaced = {f"{kind.group}/{kind.plural}" for kind in KINDS if kind.namespaced}
    assert namespaced == POLICY_RULES.keys()


def test_without_aggregation_namespaced_mode_has_no_cluster_role(chart: Chart) -> None:
    assert (
        of(chart.render(namespaces=["shop"], rbac={"aggregate": False}, flags={"enabled": False}), "ClusterRole") == []
    )


def test_users_get_rights_by_aggregation(chart: Chart) -> None:
    objects = chart.render()
    edit = one(objects, "ClusterRole", "resilience-resilience-operator-edit")
    view = one(objects, "ClusterRole", "resilience-resilience-operator-view")
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {key for key in edit["metadata"]["labels"] if key.startswith(prefix)} == {f"{prefix}admin", f"{prefix}edit"}
    assert {key for key in view["metadata"]["labels"] if key.startswith(prefix)} == {f"{prefix}view"}
    reading = {"get", "list", "watch"}
    writing = {"create", "update", "patch", "delete", "deletecollection"}
    ours = ("resilience.dev/resilientservices", "resilience.dev/alertreceivers")
    assert granted(edit) == dict.fromkeys(ours, reading | writing)
    assert granted(view) == dict.fromkeys(ours, reading)


def test_without_the_release_job_its_rights_are_gone_too(chart: Chart) -> None:
    role = one(chart.render(releaseOnUninstall={"enabled": False}), "Role")
    assert set(granted(role)) == {"coordination.k8s.io/leases", "coordination.k8s.io/leases:resilience-operator"}
