"""Installed for single namespaces only, and `kubectl delete ns`: the rights must not go before the finalizer does.

Whatever ends a namespace deletes what is in it in any order. A RoleBinding that nothing keeps may be gone before our
resource is, and then nobody can take the finalizer off. The whole of it takes a real cluster.
"""

from typing import Any, Final

import pytest

from resilience.api.names import FINALIZER
from tests.support.chart import Chart, Object, of
from tests.support.preconditions import preparing, require

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
    """True when a grant of this right stands until the finalizer is off: it comes from outside, or is kept.

    A product without the finalizer there would need neither; then this is the wrong question.
    """
    roles = [item for kind in ("ClusterRole", "Role") for item in of(objects, kind) if takes_finalizers_off(item)]
    names = {(item["kind"], item["metadata"]["name"]) for item in roles}
    grants = [item for kind in ("ClusterRoleBinding", "RoleBinding") for item in of(objects, kind)]
    grants = [item for item in grants if (item["roleRef"]["kind"], item["roleRef"]["name"]) in names]
    require(grants, f"nobody may take {FINALIZER} off at all")
    return any(item["kind"] == "ClusterRoleBinding" or item["metadata"].get("finalizers") for item in grants)


@pytest.mark.parametrize(
    "values",
    [{}, {"namespaces": ["shop"]}],
    ids=["cluster-wide", "namespaced"],
)
def test_the_right_to_take_the_finalizer_off_outlives_the_namespace(chart: Chart, values: dict[str, Any]) -> None:
    with preparing():
        objects = chart.render(**BARE, **values)

    assert outlives(objects)
