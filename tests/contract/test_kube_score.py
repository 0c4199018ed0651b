"""The chart before a judge that knows nothing of it: https://github.com/zegl/kube-score."""

import pytest
import yaml

from tests.support.chart import Chart, Object, Values
from tests.support.kube_score import complaints

# What it says of the chart, and why that stays so.
EXCEPTIONS = {
    "CPU limit is not set": "a leader that is throttled loses its Lease",
    "Ephemeral Storage limit is not set": "the root file system is read-only, and nothing else is mounted to write to",
    "Ephemeral Storage request is not set": "as above",
    "The container is running with a low user ID": "the image has a user, and OpenShift refuses any that is fixed",
    "The container running with a low group ID": "as above",
    "ImagePullPolicy is not set to Always": "a node starts the operator without its registry; pullPolicy, digest",
    "The pod does not have a matching egress NetworkPolicy": "checks go anywhere",
    "The pod does not have a matching NetworkPolicy": "pods of hooks listen on no port",
    "Deployment does not have a host podAntiAffinity set": "topologySpreadConstraints spread the replicas",
}
LARGE: Values = {
    "namespaces": ["shop", "payments"],
    "admissionPolicy": {"enabled": True},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
    "podLabels": {"team": "platform"},
}


def written(objects: list[Object]) -> str:
    """As YAML, written by libyaml: definitions and dashboards are long."""
    text: str = yaml.dump_all(objects, Dumper=yaml.CSafeDumper)
    return text


@pytest.mark.parametrize("values", [{}, LARGE], ids=["default", "large"])
def test_it_complains_of_what_is_meant_alone(values: Values) -> None:
    assert set(complaints(written(Chart().render(**values)))) == set(EXCEPTIONS)


def test_what_is_wrong_is_seen() -> None:
    """Taken away: what it looks at."""
    broken = Chart().render(podDisruptionBudget={"enabled": False}, securityContext={"readOnlyRootFilesystem": False})
    found = complaints(written(broken))
    assert set(found) > set(EXCEPTIONS)
    assert "The pod has a container with a writable root filesystem" in found
