"""The chart with the values that strangers give it, and with those of earlier charts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import chart_defaults
from tests.support.chart import CHART, PROJECT, Chart, Object, Values, of, one, with_values
from tests.support.counts import PROOF
from tests.support.typed import faults

EARLIER = sorted((PROJECT / "tests/chart/values").glob("*.yaml"))
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
MONITORED: Values = {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}
SHOWN: Values = {"dashboards": {"enabled": True}, "prometheusRule": {"enabled": True}}
DROP = [{"action": "drop", "sourceLabels": ["__name__"], "regex": "process_.*"}]
ANTI_AFFINITY: Values = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}
NODE_AFFINITY: Values = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
ZONES = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}

COMBINATIONS: dict[str, Values] = {
    "default": {},
    "stopped": {"replicas": 0},
    "one replica, without a budget": {"replicas": 1, "podDisruptionBudget": {"enabled": False}},
    "two namespaces": {"namespaces": ["shop", "payments"]},
    "namespaces that look like numbers": {"namespaces": ["123", "1e3"]},
    "a receiver elsewhere": {"namespaces": ["shop"], "alerts": {"defaultReceiver": "ops/team"}},
    "definitions from elsewhere": {"crds": {"install": False}, "rbac": {"aggregate": False}},
    "definitions that go": {"crds": {"keep": False}},
    "a ServiceAccount that is there": {"serviceAccount": {"create": False, "name": "given"}},
    "an admission policy": {"admissionPolicy": {"enabled": True}},
    "a mirror": {
        "image": {"registry": "mirror.example:5000/quay", "digest": DIGEST},
        "imagePullSecrets": [{"name": "m"}],
    },
    "OpenShift": {"podSecurityContext": {"seccompProfile": None}, "securityContext": {"runAsNonRoot": True}},
    "a user of one's own": {"podSecurityContext": {"runAsUser": 2000, "fsGroup": 2000, "supplementalGroups": [3000]}},
    "labels everywhere": {"commonLabels": {"team": "platform", "app.kubernetes.io/part-of": "platform"}},
    "monitors": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "p"}, "metricRelabelings": DROP},
        "podMonitor": {"enabled": True, "relabelings": [{"targetLabel": "cluster", "replacement": "a"}]},
    },
    "rules without some": {"prometheusRule": {"enabled": True, "disabled": {"ResilienceOperatorSlow": True}}},
    "labels that are null": {"dashboards": {"enabled": True, "labels": None, "namespace": "monitoring"}},
    "dashboards without a label": {"dashboards": {"enabled": True, "labels": {"grafana_dashboard": None}}},
    "Prometheus behind TLS": {
        "prometheus": {"url": "https://p:9090", "token": {"secret": "1"}, "ca": {"configMap": "2"}}
    },
    "placed": {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {**NODE_AFFINITY, **ANTI_AFFINITY},
        "topologySpreadConstraints": [ZONES],
        "priorityClassName": "system-cluster-critical",
    },
    "spread nowhere": {"topologySpreadConstraints": [], "resources": None},
    "a mesh": {"podLabels": {"sidecar.istio.io/inject": "true"}, "podAnnotations": {"linkerd.io/inject": "enabled"}},
    "without extras": {
        "flags": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "meshPolicies": {"enabled": False},
        "releaseOnUninstall": {"enabled": False},
    },
    "closed metrics": {"networkPolicy": {"metricsFrom": [{"podSelector": {}}]}, "scrapeAnnotations": True},
    "everything that can be null": dict.fromkeys(yaml.safe_load((CHART / "values.yaml").read_text())),
}


@pytest.fixture(scope="session")
def chart() -> Chart:
    return Chart()


def pods(objects: list[Object]) -> dict[str, Object]:
    """Metadata and spec of the operator's pods, and of those that helm starts."""
    return {
        "operator": one(objects, "Deployment")["spec"]["template"],
        "release": one(objects, "Job")["spec"]["template"],
        "test": one(objects, "Pod"),
    }


def images(objects: list[Object]) -> set[str]:
    return {container["image"] for pod in pods(objects).values() for container in pod["spec"]["containers"]}


@pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS)
def test_every_combination_is_right_by_the_types_of_the_api(chart: Chart, values: Values) -> None:
    objects = chart.render(**values)
    assert [fault for item in objects for fault in faults(item)] == []
    assert one(objects, "Deployment")


@pytest.mark.parametrize("more", [{}, {**MONITORED, **SHOWN}], ids=["as it was", "with more switched on"])
@pytest.mark.parametrize("path", EARLIER if PROOF else [EARLIER[0], EARLIER[-1]], ids=lambda path: path.stem)
def test_an_upgrade_may_reuse_the_values_of_an_earlier_chart(
    chart: Chart, tmp_path: Path, path: Path, more: Values
) -> None:
    # given: the values of a chart of then in place of this one's, as `helm upgrade --reuse-values` has it
    reusing = Chart(folder=with_values(tmp_path, path))
    # then: everything is as if they were given to this chart
    assert reusing.render(**more) == chart.render(**(yaml.safe_load(path.read_text()) | more))


def test_values_of_no_chart_at_all_are_the_defaults(chart: Chart, tmp_path: Path) -> None:
    """Whatever value comes next, a chart without it can be upgraded."""
    (tmp_path / "none.yaml").write_text("resources: {limits: {memory: 1Gi}}\n")
    reusing = Chart(folder=with_values(tmp_path, tmp_path / "none.yaml"))
    more: Values = {**MONITORED, **SHOWN, "admissionPolicy": {"enabled": True}}
    given = {"resources": {"limits": {"memory": "1Gi"}, "requests": None}}
    assert reusing.render(**more) == chart.render(**more | given)


def test_the_defaults_that_templates_read_are_those_of_the_values() -> None:
    assert chart_defaults.FILE.read_text() == chart_defaults.text(), "python -m tests.support.reference"


@pytest.mark.parametrize("template", sorted((CHART / "templates").rglob("[!_]*.*")), ids=lambda path: path.name)
def test_every_template_has_the_defaults(template: Path) -> None:
    assert template.read_text().startswith('{{- include "resilience-operator.defaults" . ')


@pytest.mark.parametrize(
    ("value", "enabled", "alias"),
    [({"enabled": True}, True, ""), ({"enabled": False}, False, ""), ({"enabled": True, "replicas": 1}, True, "guard")],
)
def test_a_chart_may_depend_on_it(tmp_path: Path, value: Values, enabled: bool, alias: str) -> None:
    # given: a chart of somebody's with this one below it
    name = alias or "resilience-operator"
    dependency = {"name": "resilience-operator", "version": "0.1.0", "condition": f"{name}.enabled"}
    described = {"apiVersion": "v2", "name": "platform", "version": "1.0.0"}
    described["dependencies"] = [dependency | ({"alias": alias} if alias else {})]  # type: ignore[assignment]
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts/resilience-operator").symlink_to(CHART)
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(described))
    # when: it is rendered
    objects = Chart(folder=tmp_path).render(**{"global": {"team": "platform"}, name: value})
    # then: the operator is there if it is enabled
    assert bool(objects) is enabled
    assert [fault for item in objects for fault in faults(item)] == []
    assert [item["spec"]["replicas"] for item in of(objects, "Deployment")] == (
        [value.get("replicas", 2)] if enabled else []
    )


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"tag": "dev"}, "resilience-operator:dev"),
        ({"registry": "r.example:5000"}, "r.example:5000/resilience-operator:0.1.0"),
        ({"repository": "r.example/team/op", "digest": DIGEST, "tag": "dev"}, f"r.example/team/op@{DIGEST}"),
    ],
)
def test_the_image(chart: Chart, image: Values, expected: str) -> None:
    assert images(chart.render(image=image)) == {expected}


def test_labels_for_everything_select_nothing(chart: Chart) -> None:
    before = chart.render(**MONITORED, **SHOWN)
    objects = chart.render(commonLabels={"team": "platform", "app.kubernetes.io/name": "mine"}, **MONITORED, **SHOWN)
    for item in [*objects, *pods(objects).values()]:
        assert item["metadata"]["labels"]["team"] == "platform", item["metadata"]
        assert item["metadata"]["labels"]["app.kubernetes.io/name"] == "resilience-operator"
    for kind, path in (("Deployment", "selector"), ("Service", "selector"), ("PodDisruptionBudget", "selector")):
        assert one(objects, kind)["spec"][path] == one(before, kind)["spec"][path]


def test_what_a_cluster_wants_of_pods_holds_for_those_that_helm_starts(chart: Chart) -> None:
    # given: a namespace where every pod needs labels, a place and a user, in a mesh
    values: Values = {
        "podLabels": {"team": "platform", "sidecar.istio.io/inject": "true", "app.kubernetes.io/component": "operator"},
        "podAnnotations": {"note": "x", "linkerd.io/inject": "enabled"},
        "podSecurityContext": {"runAsUser": 1000660000},
        "securityContext": {"runAsUser": 1000660000},
        "scrapeAnnotations": True,
        **COMBINATIONS["placed"],
    }
    objects = chart.render(**values)
    selector = one(objects, "Service")["spec"]["selector"]
    for name, pod in pods(objects).items():
        # then: all of them have it
        assert pod["metadata"]["labels"]["team"] == "platform"
        assert pod["metadata"]["annotations"]["note"] == "x"
        for field in ("nodeSelector", "tolerations", "priorityClassName"):
            assert pod["spec"][field] == values[field]
        assert pod["spec"]["affinity"]["nodeAffinity"] == NODE_AFFINITY["nodeAffinity"]
        assert pod["spec"]["securityContext"]["runAsUser"] == 1000660000
        assert [each["securityContext"]["runAsUser"] for each in pod["spec"]["containers"]] == [1000660000]
        # and none is taken for the operator, nor kept away from the nodes where it runs, nor scraped
        others = name != "operator"
        assert (selector.items() <= pod["metadata"]["labels"].items()) != others
        assert ("podAntiAffinity" in pod["spec"]["affinity"]) != others
        assert ("prometheus.io/scrape" in pod["metadata"]["annotations"]) != others
    # and no sidecar keeps the Job from ending, unless somebody wants one
    job = pods(objects)["release"]["metadata"]
    assert job["labels"]["sidecar.istio.io/inject"] == "false"
    assert job["annotations"]["linkerd.io/inject"] == "disabled"
    wanted = chart.render(releaseOnUninstall={"podLabels": {"sidecar.istio.io/inject": "true"}})
    assert pods(wanted)["release"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"


def test_replicas_are_spread_as_they_are_asked_to(chart: Chart) -> None:
    def spread(**values: Any) -> Any:
        return one(chart.render(**values), "Deployment")["spec"]["template"]["spec"].get("topologySpreadConstraints")

    selector = {"matchLabels": one(chart.render(), "Service")["spec"]["selector"]}
    (by_host,) = spread()
    assert by_host["topologyKey"] == "kubernetes.io/hostname"
    own = {"labelSelector": {"matchLabels": {"a": "b"}}}
    assert spread(topologySpreadConstraints=[ZONES, ZONES | own]) == [
        {**ZONES, "labelSelector": selector, "matchLabelKeys": ["pod-template-hash"]},
        {**ZONES, **own},
    ]
    assert spread(topologySpreadConstraints=[]) is None


def alerts(chart: Chart, **values: Any) -> set[str]:
    values["prometheusRule"] = {"enabled": True, **values.get("prometheusRule", {})}
    groups = [group for item in of(chart.render(**values), "PrometheusRule") for group in item["spec"]["groups"]]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_single_alerts_can_be_left_out(chart: Chart) -> None:
    left = {"ResilienceOperatorSlow", "ErrorBudgetBurns"}
    disabled = dict.fromkeys(left, True) | {"ResilienceOperatorDown": False}
    assert alerts(chart) - alerts(chart, prometheusRule={"disabled": disabled}) == left
    wrong = {"enabled": True, "disabled": {"ResilienceOperatorFast": True}}
    assert "ResilienceOperatorFast is no alert of this chart" in chart.refusal(prometheusRule=wrong)
    every: Values = dict.fromkeys(alerts(chart), True)
    (records,) = of(chart.render(prometheusRule={"enabled": True, "disabled": every}), "PrometheusRule")
    assert records["metadata"]["name"].endswith("-objectives"), "recorded series stay, for dashboards"


def test_nobody_is_told_twice_that_an_error_budget_burns(chart: Chart) -> None:
    """With a receiver the operator tells it; without one Prometheus does."""
    told = {"defaultReceiver": "ops/team"}
    assert "ErrorBudgetBurns" in alerts(chart)
    assert alerts(chart) - alerts(chart, alerts=told) == {"ErrorBudgetBurns"}
    assert "ErrorBudgetBurns" in alerts(chart, alerts=told, prometheusRule={"disabled": {"ErrorBudgetBurns": False}})


def test_rules_are_about_their_own_installation() -> None:
    objects = Chart(namespace="ops").render(prometheusRule={"enabled": True}, fullnameOverride="guard")
    env = {
        item["name"]: item.get("value")
        for item in one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert env["RESILIENCE_LEASE_NAME"] == "guard", "the program makes the label of this and its namespace"
    groups = [group for item in of(objects, "PrometheusRule") for group in item["spec"]["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    for rule in rules:
        assert 'installation="ops/guard"' in rule["expr"]
        assert "=~" not in rule["expr"].replace('code=~"5..|none"', "")
