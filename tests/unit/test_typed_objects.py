"""The reader of objects finds what an API server would refuse."""

import copy
from typing import Any

import pytest

from tests.support.typed import Object, faults

DEPLOYMENT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop", "labels": {"app": "shop"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {"spec": {"containers": [{"name": "shop", "ports": [{"containerPort": 8080}]}]}},
    },
}
RULE: Object = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "PrometheusRule",
    "metadata": {"name": "shop"},
    "spec": {"groups": [{"name": "a", "interval": "30s", "rules": [{"alert": "A", "expr": "up == 0"}]}]},
}


@pytest.mark.parametrize("item", [DEPLOYMENT, RULE], ids=lambda item: str(item["kind"]))
def test_a_right_object_has_no_fault(item: Object) -> None:
    assert faults(item) == []


@pytest.mark.parametrize(
    ("item", "path", "value", "fault"),
    [
        (DEPLOYMENT, ("spec", "replica"), 2, "Deployment spec.replica: Extra inputs are not permitted"),
        (DEPLOYMENT, ("spec", "replicas"), "2", "Deployment spec.replicas: Input should be a valid integer"),
        (DEPLOYMENT, ("metadata", "labels"), None, "Deployment metadata.labels: null"),
        (DEPLOYMENT, ("metadata", "labels", "version"), 1.0, "metadata.labels.version: Input should be a valid string"),
        (DEPLOYMENT, ("spec", "template", "spec", "containers"), [{}], "containers.0.name: Field required"),
        (RULE, ("spec", "groups", 0, "rules", 0, "severity"), "x", "spec.groups.0.rules.0.severity: Extra inputs"),
        (RULE, ("spec", "groups", 0, "rules"), [], "spec.groups.0.rules: List should have at least 1 item"),
        (RULE, ("metadata", "label"), {}, "PrometheusRule metadata.label: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_named(item: Object, path: tuple[Any, ...], value: object, fault: str) -> None:
    wrong = copy.deepcopy(item)
    node: Any = wrong
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    assert fault in "\n".join(faults(wrong))
