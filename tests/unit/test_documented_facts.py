"""Tables of the pages about the chart and the definitions, compared with what is rendered and generated."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from resilience.api import crd
from resilience.core.report.slo import BURNS
from tests.support.chart import Chart, Object, of, one
from tests.support.pages import DOCS, PAGES, quoted, rows

SECURITY = DOCS / "concepts/security.md"
INSTALL = DOCS / "operations/install.md"
NAME = "resilience-operator"
CLUSTER_NAME = f"resilience-{NAME}"
# Names of resources that two API groups have: the pages name the group of the second one.
SECOND = {("pods", "metrics.k8s.io"), ("events", "events.k8s.io"), ("networkpolicies", "crd.projectcalico.org")}

Rights = dict[str, set[str]]


@pytest.fixture(scope="module")
def chart() -> Chart:
    return Chart()


def granted(role: Object, *, groups: bool = True) -> Rights:
    """Verbs by resource, as the pages name them."""
    rights: Rights = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            group = rule["apiGroups"][0]
            key = f"{resource} ({group})" if groups and (resource, group) in SECOND else resource
            rights.setdefault(key, set()).update(rule["verbs"])
    return rights


def table() -> Rights:
    """The first table of the page: verbs by resource."""
    rights: Rights = {}
    for resources, verbs, _ in rows(SECURITY, "## Rights"):
        cell = re.sub(r"`([\w/]+)` \(`(keda\.sh)`\)", r"`\1`", resources)
        for name, group in re.findall(r"`([\w/]+)`(?: \(`([\w.]+)`\))?", cell):
            rights.setdefault(f"{name} ({group})" if group else name, set()).update(verbs.split(", "))
    return rights


def roles() -> Mapping[str, str]:
    """The second table: rights by kind and name of the role."""
    return {each[0].replace("`", ""): each[1] for each in rows(SECURITY, "### Roles")}


def listed(text: str) -> Rights:
    """Verbs by resource of a cell: `a`, `b`: get, list; `c`: patch of its own."""
    rights: Rights = {}
    for names, verbs in re.findall(r"((?:`[\w/]+`(?:, )?)+): ([^;`]+)", text):
        for name in quoted(names):
            rights.setdefault(name, set()).update(
                re.findall(r"\b(?:get|list|watch|create|update|patch|delete)\b", verbs)
            )
    return rights


def test_rights_in_a_namespace(chart: Chart) -> None:
    objects = chart.render(namespaces=["shop"])
    assert table() == granted(one(objects, "Role", CLUSTER_NAME))


def test_rights_in_the_cluster(chart: Chart) -> None:
    objects = chart.render()
    said = table() | listed(roles()["ClusterRole NS-NAME"])
    assert said == granted(one(objects, "ClusterRole", CLUSTER_NAME))
    assert listed(roles()["ClusterRole NS-NAME-tokens"]) == granted(
        one(objects, "ClusterRole", f"{CLUSTER_NAME}-tokens")
    )


def test_rights_in_its_own_namespace_and_those_of_the_job(chart: Chart) -> None:
    said = listed(roles()["Role NAME in NS"])
    assert said == granted(one(chart.render(), "Role", NAME))
    without = granted(one(chart.render(releaseOnUninstall={"enabled": False}), "Role", NAME))
    assert without == {"leases": said["leases"]}


def test_rights_where_only_receivers_are(chart: Chart) -> None:
    objects = chart.render(namespaces=["shop"], alerts={"defaultReceiver": "platform/team"})
    role = one(objects, "Role", f"{CLUSTER_NAME}-receivers")
    assert listed(roles()["Role NS-NAME-receivers"]) == granted(role, groups=False)


def test_every_role_of_the_chart_is_there(chart: Chart) -> None:
    named = {
        name.replace("NS", "resilience").replace("NAME", NAME)
        for each in rows(SECURITY, "### Roles")
        for name in quoted(each[0])
        if "NAME" in name
    }
    objects = chart.render() + chart.render(namespaces=["shop"], alerts={"defaultReceiver": "platform/team"})
    assert named == {each["metadata"]["name"] for each in of(objects, "ClusterRole") + of(objects, "Role")}


def test_ports(chart: Chart) -> None:
    said = {int(port): quoted(name)[0] for port, name, _, _ in rows(INSTALL, "## Ports")}
    objects = chart.render()
    container = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert said == {each["containerPort"]: each["name"] for each in container["ports"]}
    assert said == {each["port"]: each["name"] for each in one(objects, "Service")["spec"]["ports"]}
    policy = one(objects, "NetworkPolicy")["spec"]
    assert set(said.values()) == {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert policy["policyTypes"] == ["Ingress"], "the page says that there is no egress policy"


def test_uninstalling_names_every_definition() -> None:
    last = re.search(r"^kubectl delete crd (.*)$", INSTALL.read_text(), re.MULTILINE)
    assert last is not None
    assert set(last[1].split()) == {f"{kind.plural}.resilience.dev" for kind in crd.KINDS}


def test_columns() -> None:
    said = rows(DOCS / "operations/troubleshooting.md", "## First look")
    kind = next(kind for kind in crd.KINDS if kind.short == "rsvc")
    columns = [f"`{name.upper()}`{' (wide)' if priority else ''}" for name, _, _, priority in kind.columns]
    assert [name for name, _ in said] == columns


def test_burn_rates() -> None:
    said = [(float(rate), severity) for rate, _, _, severity in rows(DOCS / "concepts/objectives.md", "## Alerts")]
    assert said == [(each.rate, each.severity.value.lower()) for each in BURNS]


def test_windows_of_a_route_speak_of_notifications() -> None:
    properties = crd.schema(next(kind for kind in crd.KINDS if kind.short == "rsvc"))["properties"]["spec"][
        "properties"
    ]
    route = properties["alerts"]["properties"]["routes"]["items"]["properties"]
    for name in ("activeTimes", "muteTimes"):
        assert "this route" in route[name]["description"]
        assert "polic" not in route[name]["items"]["description"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_upgrades_reuse_values_only_in_the_way_that_works(page: Path) -> None:
    text = page.read_text()
    commands = [each for each in re.findall(r"helm upgrade[^\n`]*", text) if "--reuse-values" in each]
    assert commands == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_logs_are_those_of_all_replicas(page: Path) -> None:
    """`kubectl logs deploy/…` reads one of them, perhaps not the leader."""
    text = page.read_text()
    assert re.findall(r"kubectl logs[^\n]* deploy(?:ment)?/(?:resilience-operator|<operator>)", text) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_events_are_read_by_the_names_that_kubectl_gives(page: Path) -> None:
    """`kubectl get events` reads core/v1: the words of an Event are its message."""
    text = page.read_text()
    assert re.findall(r"get events[^\n]*\.note\b", text) == []
