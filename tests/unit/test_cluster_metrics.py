"""What the test clusters hold for metrics-server fits together: only a cluster would say so otherwise."""

import re
from typing import Any, cast

import pytest

from tests.cluster import components, metrics
from tests.cluster.network import NODE_IP
from tests.cluster.paths import GO_MODULE

PROCESS, PODS = metrics.for_process(), metrics.for_pods()


def one(objects: list[metrics.Object], kind: str) -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == kind]
    return cast(dict[str, Any], found)


@pytest.mark.parametrize("objects", [PROCESS, PODS])
def test_the_api_server_finds_the_port_of_the_service(objects: list[metrics.Object]) -> None:
    api, service = one(objects, "APIService"), one(objects, "Service")
    (port,) = service["spec"]["ports"]

    assert api["metadata"]["name"] == f"{api['spec']['version']}.{api['spec']['group']}"
    assert f"/apis/{api['spec']['group']}/{api['spec']['version']}" == metrics.GROUP
    place = {key: service["metadata"][key] for key in ("name", "namespace")}
    assert api["spec"]["service"] == place | {"port": port["port"]}


def test_a_process_listens_where_the_slice_of_the_service_says() -> None:
    service, listed = one(PROCESS, "Service"), one(PROCESS, "EndpointSlice")
    (port,) = listed["ports"]
    arguments = components.metrics_server().argv

    assert "selector" not in service["spec"]
    assert listed["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
    assert listed["metadata"]["namespace"] == service["metadata"]["namespace"]
    assert port["name"] == service["spec"]["ports"][0]["name"]
    assert [each["addresses"] for each in listed["endpoints"]] == [[NODE_IP]]
    assert {f"--secure-port={port['port']}", f"--bind-address={NODE_IP}"} <= set(arguments)


def test_the_process_is_ended_on_down() -> None:
    assert components.metrics_server().name in components.NAMES


def test_pods_are_selected_and_may_what_they_have_to() -> None:
    service, deployment = one(PODS, "Service"), one(PODS, "Deployment")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    account = one(PODS, "ServiceAccount")["metadata"]["name"]

    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["containerPort"]
    assert f"--secure-port={container['ports'][0]['containerPort']}" in container["args"]
    assert pod["spec"]["serviceAccountName"] == account
    bound = [cast(dict[str, Any], each) for each in PODS if str(each["kind"]).endswith("Binding")]
    assert {each["roleRef"]["name"] for each in bound} == {
        "system:metrics-server",
        "system:auth-delegator",
        "extension-apiserver-authentication-reader",
    }
    assert all(subject["name"] == account for each in bound for subject in each["subjects"])


def test_both_clusters_run_the_same_version() -> None:
    built = re.search(r"sigs\.k8s\.io/metrics-server (v\S+)", (GO_MODULE / "go.mod").read_text())

    assert built
    assert metrics.IMAGE.endswith(f":{built[1]}")
