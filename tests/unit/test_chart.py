"""The chart: what it installs for several sets of values."""

import json

import pytest
import yaml

from resilience import __version__
from resilience.adapters.live_settings import LiveSettings
from tests.support.chart import CHART, PROJECT, Chart, Object, Values, of, one

EVERYTHING: Values = {
    "namespaces": ["shop", "payments"],
    "admissionPolicy": {"enabled": True},
    "imagePullSecrets": [{"name": "registry"}],
    "extraEnv": [{"name": "RESILIENCE_SOMETHING", "value": "1"}],
    "prometheus": {
        "url": "https://prometheus.monitoring:9090/p",
        "token": {"secret": "t"},
        "ca": {"configMap": "c"},
    },
    "serviceAccount": {"create": False, "name": "given"},
    "proxy": {"https": "http://proxy:3128", "noProxy": ["a.example", "10.0.0.0/8"], "credentials": {"secret": "p"}},
    "service": {"annotations": {"prometheus.io/scrape": "true"}},
    "podLabels": {"team": "platform"},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-cluster-critical",
    "serviceMonitor": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}},
    "podMonitor": {"enabled": True, "interval": "15s"},
    "prometheusRule": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}},
    "scrapeAnnotations": True,
    "dashboards": {"enabled": True, "namespace": "monitoring", "annotations": {"grafana_folder": "Platform"}},
    "alerts": {"runbookUrl": "https://runbooks.example/pages/"},
    "image": {"repository": "registry.example/operator", "tag": "dev"},
}
NOTHING: Values = {
    "crds": {"install": False},
    "rbac": {"aggregate": False},
    "networkPolicy": {"enabled": False},
    "meshPolicies": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "releaseOnUninstall": {"enabled": False},
}


@pytest.fixture(scope="session")
def chart() -> Chart:
    return Chart()


def pod_specs(objects: list[Object]) -> list[Object]:
    templates = [item["spec"]["template"]["spec"] for kind in ("Deployment", "Job") for item in of(objects, kind)]
    return templates + [item["spec"] for item in of(objects, "Pod")]


@pytest.mark.parametrize("values", [{}, EVERYTHING, NOTHING], ids=["default", "everything", "nothing"])
def test_lint(chart: Chart, values: Values) -> None:
    result = chart.run("lint", "--strict", str(CHART), values=values)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("values", [{}, EVERYTHING, NOTHING], ids=["default", "everything", "nothing"])
def test_every_object_is_placed_and_labelled(chart: Chart, values: Values) -> None:
    cluster_wide = {
        *("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    }
    objects = chart.render(**values)
    for item in objects:
        metadata = item["metadata"]
        assert metadata["labels"]["app.kubernetes.io/instance"] == "resilience-operator", item
        assert ("namespace" in metadata) == (item["kind"] not in cluster_wide), item
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_every_pod_is_restricted(chart: Chart, values: Values) -> None:
    specs = pod_specs(chart.render(**values))
    assert len(specs) == 3
    for spec in specs:
        context = spec["securityContext"]
        # No user or group: OpenShift refuses any that is not of the namespace's own range.
        assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_the_deployment(chart: Chart) -> None:
    deployment = one(chart.render(), "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert deployment["spec"]["replicas"] == 2
    assert spec["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    assert container["args"] == ["run"]
    assert container["image"] == f"resilience-operator:{__version__}"
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": 8080, "flags": 8081}
    assert container["resources"]["requests"] == {"cpu": "50m", "memory": "128Mi"}
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_the_settings_reach_the_program(chart: Chart) -> None:
    objects = chart.render(namespaces=["shop", "payments"], extraEnv=[{"name": "RESILIENCE_MORE", "value": "x"}])
    for kind in ("Deployment", "Job"):
        (container,) = one(objects, kind)["spec"]["template"]["spec"]["containers"]
        env = {item["name"]: item.get("value") for item in container["env"]}
        assert env["RESILIENCE_NAMESPACES"] == "shop,payments"
        assert env["RESILIENCE_REFUSED_NAMESPACES"] == "kube-system,kube-public,kube-node-lease,resilience"
        assert env["RESILIENCE_LEASE_NAME"] == env["RESILIENCE_OPERATOR_DEPLOYMENT"] == "resilience-operator"
        assert env["RESILIENCE_LOG_FORMAT"] == "json"
        assert (env["RESILIENCE_HTTP_PORT"], env["RESILIENCE_MORE"]) == ("8080", "x")
        fields = [item["valueFrom"]["fieldRef"]["fieldPath"] for item in container["env"] if "valueFrom" in item]
        assert fields == ["metadata.name", "metadata.namespace"]


def test_prometheus_reaches_the_operator_and_nothing_else(chart: Chart) -> None:
    objects = chart.render(**EVERYTHING)
    spec = one(objects, "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    env = {item["name"]: item.get("value") for item in container["env"] if "PROMETHEUS" in item["name"]}
    assert env == {
        "RESILIENCE_PROMETHEUS_URL": "https://prometheus.monitoring:9090/p",
        "RESILIENCE_PROMETHEUS_TOKEN_FILE": "/etc/resilience/prometheus/token",
        "RESILIENCE_PROMETHEUS_CA_FILE": "/etc/resilience/prometheus/ca.crt",
    }
    assert container["volumeMounts"][1:] == [
        {"name": "prometheus", "mountPath": "/etc/resilience/prometheus", "readOnly": True}
    ]
    assert spec["volumes"][1]["projected"]["sources"] == [
        {"secret": {"name": "t", "items": [{"key": "token", "path": "token"}]}},
        {"configMap": {"name": "c", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    assert "PROMETHEUS" not in str(one(objects, "Job"))


def test_a_proxy_is_known_where_checks_run(chart: Chart) -> None:
    objects = chart.render(**EVERYTHING)
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    env = {
        item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"] if "PROXY" in item["name"]
    }
    assert env == {
        "RESILIENCE_PROXY_HTTP": "",
        "RESILIENCE_PROXY_HTTPS": "http://proxy:3128",
        "RESILIENCE_NO_PROXY": "a.example,10.0.0.0/8",
        "RESILIENCE_PROXY_CREDENTIALS": {"secretKeyRef": {"name": "p", "key": "credentials"}},
    }
    assert "PROXY" not in str(one(objects, "Job"))


def test_logins_at_prometheus_are_mounted(chart: Chart) -> None:
    client = {"tokenUrl": "https://login/token", "clientId": "operator", "secret": "o", "scopes": ["a", "b"]}
    prometheus = {"url": "http://p:9090", "headers": {"secret": "h"}, "basicAuth": {"secret": "b"}, "oauth2": client}
    spec = one(chart.render(prometheus=prometheus), "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    env = {item["name"].removeprefix("RESILIENCE_PROMETHEUS_"): item.get("value") for item in container["env"]}
    folder = "/etc/resilience/prometheus"
    assert env["OAUTH2_TOKEN_URL"] == "https://login/token"
    assert (env["OAUTH2_CLIENT_ID"], env["OAUTH2_SCOPES"]) == ("operator", "a,b")
    files = {env["HEADERS_FILE"], env["BASIC_AUTH_FILE"], env["OAUTH2_CLIENT_SECRET_FILE"]}
    items = [item for source in spec["volumes"][1]["projected"]["sources"] for item in source["secret"]["items"]]
    assert files == {f"{folder}/{item['path']}" for item in items}
    assert sorted(source["secret"]["name"] for source in spec["volumes"][1]["projected"]["sources"]) == ["b", "h", "o"]


@pytest.mark.parametrize("values", [{}, {"prometheus": {"url": "http://prometheus:9090"}}], ids=["none", "only a URL"])
def test_nothing_is_mounted_without_need(chart: Chart, values: Values) -> None:
    spec = one(chart.render(**values), "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert (
        [item["name"] for item in spec["volumes"]] == [item["name"] for item in container["volumeMounts"]] == ["live"]
    )
    named = [item["name"] for item in container["env"] if "PROMETHEUS" in item["name"]]
    assert named == (["RESILIENCE_PROMETHEUS_URL"] if values else [])


def test_only_the_operators_pods_are_selected(chart: Chart) -> None:
    objects = chart.render()
    selector = one(objects, "Service")["spec"]["selector"]
    assert one(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == selector
    assert one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == selector
    job = one(objects, "Job")["spec"]["template"]["metadata"]["labels"]
    test = one(objects, "Pod")["metadata"]["labels"]
    assert not selector.items() <= job.items()
    assert not selector.items() <= test.items()


def test_the_network_policy_closes_all_but_http(chart: Chart) -> None:
    spec = one(chart.render(), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["ingress"] == [{"ports": [{"port": name, "protocol": "TCP"} for name in ("http", "flags")]}]


def test_metrics_can_be_left_to_those_who_scrape(chart: Chart) -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    objects = chart.render(networkPolicy={"metricsFrom": [monitoring]})
    metrics, flags = one(objects, "NetworkPolicy")["spec"]["ingress"]
    assert metrics["ports"] == [{"port": "http", "protocol": "TCP"}]
    scraper, helm_test = metrics["from"]
    assert scraper == monitoring
    assert helm_test["podSelector"]["matchLabels"].items() <= one(objects, "Pod")["metadata"]["labels"].items()
    assert flags == {"ports": [{"port": "flags", "protocol": "TCP"}]}
    objects = chart.render(networkPolicy={"metricsFrom": [monitoring]}, flags={"enabled": False})
    assert len(one(objects, "NetworkPolicy")["spec"]["ingress"]) == 1


def test_without_flags_over_http_nothing_of_it_is_there(chart: Chart) -> None:
    objects = chart.render(flags={"enabled": False})
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in container["ports"]] == ["http"]
    assert [each["name"] for each in one(objects, "Service")["spec"]["ports"]] == ["http"]
    assert one(objects, "NetworkPolicy")["spec"]["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    assert {"name": "RESILIENCE_FLAGS_PORT", "value": "0"} in container["env"]
    assert of(objects, "ClusterRole", "resilience-resilience-operator-tokens") == []


def test_uninstalling_gives_the_workloads_back_first(chart: Chart) -> None:
    job = one(chart.render(), "Job")
    annotations = job["metadata"]["annotations"]
    spec = job["spec"]["template"]["spec"]
    assert annotations["helm.sh/hook"] == "pre-delete"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert spec["containers"][0]["args"] == ["release"]
    assert spec["serviceAccountName"] == "resilience-operator"


@pytest.mark.parametrize("plural", ["resilientservices", "alertreceivers"])
def test_the_definitions_are_the_generated_ones_and_are_kept(chart: Chart, plural: str) -> None:
    generated = yaml.load((PROJECT / f"crds/resilience.dev_{plural}.yaml").read_text(), Loader=yaml.CSafeLoader)
    name = f"{plural}.resilience.dev"
    (installed,) = of(chart.render(), "CustomResourceDefinition", name)
    assert installed["spec"] == generated["spec"]
    assert installed["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    (unkept,) = of(chart.render(crds={"keep": False}), "CustomResourceDefinition", name)
    assert "annotations" not in unkept["metadata"]
    assert of(chart.render(crds={"install": False}), "CustomResourceDefinition") == []


def test_the_operators_own_receivers_can_be_told_where_nothing_else_is_looked_after(chart: Chart) -> None:
    values = {"namespaces": ["shop"], "alerts": {"defaultReceiver": "ops/team", "heartbeat": {"receiver": "shop/beat"}}}
    objects = chart.render(**values)
    own = [each for each in of(objects, "Role") if each["metadata"]["name"].endswith("-receivers")]
    assert [each["metadata"]["namespace"] for each in own] == ["ops"]
    verbs = {resource: rule["verbs"] for rule in own[0]["rules"] for resource in rule["resources"]}
    assert verbs == {
        "alertreceivers": ["get", "list"],
        "alertreceivers/status": ["patch"],
        "secrets": ["get"],
        "events": ["create"],
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"namespaces": ["kube-system"]}, "/namespaces/0"),
        ({"namespaces": ["resilience"]}, "neither its own namespace nor refusedNamespaces"),
        ({"namespaces": ["vault"], "refusedNamespaces": ["vault"]}, "vault is refused"),
        ({"namespaces": ["Shop"]}, "/namespaces/0"),
        ({"namespaces": "shop"}, "/namespaces"),
        ({"replica": 3}, "'replica' not allowed"),
        ({"alerts": {"defaultReceiver": "team"}}, "/alerts/defaultReceiver"),
        ({"replicas": -1}, "/replicas"),
        ({"image": {"digest": "0123"}}, "/image/digest"),
        ({"image": {"registry": "https://registry.example"}}, "/image/registry"),
        ({"log": {"level": "loud"}}, "/log/level"),
        ({"serviceAccount": {"create": False}}, "/serviceAccount/name"),
        ({"prometheus": {"url": "prometheus:9090"}}, "/prometheus/url"),
        ({"prometheus": {"url": "https://user:password@prometheus"}}, "/prometheus/url"),
        ({"prometheus": {"tokenFile": "x"}}, "'tokenFile' not allowed"),
    ],
)
def test_wrong_values_are_refused(chart: Chart, values: Values, message: str) -> None:
    assert message in chart.refusal(**values)


def test_old_clusters_are_refused() -> None:
    assert ">=1.32.0-0" in Chart(kube_version="1.31.9").refusal()


def test_chart_and_program_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_every_value_is_in_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]) - set(values) == {"global", "enabled"}
    assert set(values) <= set(schema["properties"])


def test_metrics_are_scraped_with_their_own_labels(chart: Chart) -> None:
    objects = chart.render(**EVERYTHING)
    (endpoint,) = one(objects, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True
    assert one(objects, "ServiceMonitor")["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    (endpoint,) = one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (endpoint["honorLabels"], endpoint["interval"]) == (True, "15s")
    annotations = one(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {
        "a": "b",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
        "prometheus.io/path": "/metrics",
    }
    assert of(chart.render(), "ServiceMonitor") == of(chart.render(), "PrometheusRule") == []


def test_rules_lead_to_the_runbooks(chart: Chart) -> None:
    rules = of(chart.render(**EVERYTHING), "PrometheusRule")
    assert len(rules) == 2
    alerts = [each for item in rules for group in item["spec"]["groups"] for each in group["rules"] if "alert" in each]
    assert len(alerts) >= 10
    for each in alerts:
        assert each["annotations"]["runbook_url"] == f"https://runbooks.example/pages/{each['alert']}.md"
    without = of(chart.render(prometheusRule={"enabled": True}), "PrometheusRule")
    alerts = [
        each for item in without for group in item["spec"]["groups"] for each in group["rules"] if "alert" in each
    ]
    assert all(each["annotations"]["runbook"].startswith("docs/runbooks/") for each in alerts)


def test_some_settings_change_without_a_restart(chart: Chart) -> None:
    """The pod template is the same whatever they are; the operator reads them from a file that it looks at."""
    before, after = chart.render(), chart.render(log={"level": "debug"}, policies={"atOnce": 3})
    assert one(before, "Deployment") == one(after, "Deployment")
    config, spec = one(after, "ConfigMap"), one(after, "Deployment")["spec"]["template"]["spec"]
    assert spec["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
    live = LiveSettings.model_validate_json(config["data"]["settings.json"])
    assert live == LiveSettings(log_level="DEBUG", policy_restarts=3, policy_restarts_per_namespace=3)
    env = {item["name"]: item.get("value") for item in spec["containers"][0]["env"]}
    mounted = spec["containers"][0]["volumeMounts"][0]["mountPath"]
    assert env["RESILIENCE_SETTINGS_FILE"] == f"{mounted}/settings.json"


def test_dashboards_are_found_by_grafanas_sidecar(chart: Chart) -> None:
    found = [item for item in of(chart.render(**EVERYTHING), "ConfigMap") if "dashboard" in item["metadata"]["name"]]
    assert {next(iter(item["data"])) for item in found} == {
        "resilience-fleet.json",
        "resilience-service.json",
        "resilience-operator.json",
    }
    for item in found:
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert (item["metadata"]["namespace"], item["metadata"]["annotations"]) == (
            "monitoring",
            {"grafana_folder": "Platform"},
        )
        (text,) = item["data"].values()
        assert json.loads(text)["panels"]
