"""Installed for single namespaces only, and `kubectl delete ns`: the rights must not go before the finalizer does.

Whatever ends a namespace deletes what is in it in any order. A RoleBinding that nothing keeps may be gone before our
resource is, and then nobody can take the finalizer off: so there is none. The whole of it takes a real cluster.
"""

from typing import Any, Final

import pytest

from resilience.api.names import FINALIZER
from resilience.config import Settings
from resilience.core.model.decision import SetFinalizer
from tests.support.chart import Chart, Object, of, one
from tests.support.factories import make_pod, make_resource, make_seen
from tests.support.preconditions import preparing, require
from tests.variety.claims import decided

# Definitions say nothing about rights, and take long to read.
BARE: Final = {"crds": {"install": False}}


@pytest.fixture(scope="module")
def chart() -> Chart:
    return Chart()


def takes_finalizers_off(role: Object) -> bool:
    """True when it lets somebody change our resources' metadata."""
    return any(
        "resilience.dev" in rule["apiGroups"]
        and "resilientservices" in rule["resources"]
        and not {"patch", "update", "*"}.isdisjoint(rule["verbs"])
        for rule in role["rules"]
    )


def outlives(objects: list[Object]) -> bool:
    """True when a grant of this right stands until the finalizer is off: it comes from outside, or is kept."""
    roles = [item for kind in ("ClusterRole", "Role") for item in of(objects, kind) if takes_finalizers_off(item)]
    names = {(item["kind"], item["metadata"]["name"]) for item in roles}
    grants = [item for kind in ("ClusterRoleBinding", "RoleBinding") for item in of(objects, kind)]
    grants = [item for item in grants if (item["roleRef"]["kind"], item["roleRef"]["name"]) in names]
    require(grants, f"nobody may take {FINALIZER} off at all")
    return any(item["kind"] == "ClusterRoleBinding" or item["metadata"].get("finalizers") for item in grants)


def sets_finalizers(objects: list[Object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """True when the operator that is installed so sets its finalizer on a resource that it begins to look after."""
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        if "value" in variable:
            monkeypatch.setenv(variable["name"], str(variable["value"]))
    seen = make_seen(make_pod("a"), make_pod("b"), with_finalizer=Settings().finalizers)
    return SetFinalizer(present=True) in decided(make_resource(finalizers=()), seen).actions


@pytest.mark.parametrize("values", [{}, {"namespaces": ["shop"]}], ids=["cluster-wide", "namespaced"])
def test_the_right_to_take_the_finalizer_off_outlives_the_namespace_or_there_is_none(
    chart: Chart, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with preparing():
        objects = chart.render(**BARE, **values)

    assert sets_finalizers(objects, monkeypatch) is outlives(objects)


def test_in_namespaced_mode_a_finalizer_from_before_is_taken_off() -> None:
    seen = make_seen(make_pod("a"), make_pod("b"), with_finalizer=False)

    decision = decided(make_resource(), seen)

    assert SetFinalizer(present=False) in decision.actions
