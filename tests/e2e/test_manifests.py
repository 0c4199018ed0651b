"""What the API server says to manifests, right and wrong, before the operator has seen them.

The messages are part of the product: each broken manifest must get a sentence that says how to mend it.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_kind import KindCluster

from resilience.api.crd import KINDS, definition
from tests.support.manifests import ACCEPTED, BROKEN, GOOD, Spec, changed, full_status
from tests.support.release import Release

pytestmark = pytest.mark.plain
PROJECT = Path(__file__).resolve().parents[2]
CRD = PROJECT / "crds/resilience.dev_resilientservices.yaml"
CRD_NAME = "resilientservices.resilience.dev"


class Kubectl:
    """kubectl in a namespace of these tests."""

    def __init__(self, cluster: KindCluster, namespace: str) -> None:
        self._cluster = cluster
        self.namespace = namespace

    def __call__(self, *args: str, stdin: str | None = None) -> str:
        """Its output.

        Raises:
            CalledProcessError: it failed; `output` holds what it said.
        """
        command = ("--namespace", self.namespace, *args)
        return str(self._cluster.kubectl(*command, input=stdin or "", stderr=subprocess.STDOUT))

    def apply(self, name: str, spec: Spec) -> str:
        try:
            return self("apply", "-f", "-", stdin=manifest(name, spec))
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"refused: {error.output}") from error

    def refusal(self, name: str, spec: Spec) -> str:
        with pytest.raises(AssertionError, match="refused: ") as caught:
            self.apply(name, spec)
        return str(caught.value)

    def read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", "rsvc", name, "-o", "json"))
        return found


@pytest.fixture(scope="module")
def kubectl(cluster: KindCluster, release: Release) -> Iterator[Kubectl]:
    namespace = f"manifests-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{CRD_NAME}", "--timeout=30s")
    cluster.kubectl("create", "namespace", namespace)
    yield Kubectl(cluster, namespace)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def manifest(name: str, spec: Spec) -> str:
    head = {"apiVersion": "resilience.dev/v1alpha1", "kind": "ResilientService"}
    return json.dumps({**head, "metadata": {"name": name}, "spec": spec})


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_manifest_is_refused_with_what_to_do(kubectl: Kubectl, case: str) -> None:
    changes, expected = BROKEN[case]
    answer = kubectl.refusal("broken", changed(changes))
    assert [part for part in expected if part not in answer] == [], answer
    assert "evaluating rule" not in answer, "a rule fell over what another one reports"


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_good_manifest_is_taken(kubectl: Kubectl, case: str) -> None:
    name = case.replace(" ", "-").lower()
    assert "created" in kubectl.apply(name, ACCEPTED[case])
    kubectl.apply(name, ACCEPTED[case])
    assert kubectl.read(name)["metadata"]["generation"] == 1, "applying the same again must change nothing"


def test_defaults_are_filled_into_what_is_written_only(kubectl: Kubectl) -> None:
    kubectl.apply("defaults", {**GOOD, "drain": {}})
    spec = kubectl.read("defaults")["spec"]
    assert (spec["profile"], spec["suspend"]) == ("Production", False)
    assert spec["health"]["failureThreshold"] == 3
    assert spec["health"]["checks"][0] == {
        "name": "ready",
        "scope": "Service",
        "http": {"path": "/readyz", "components": False},
    }
    assert spec["drain"] == {"maxWait": "1m"}
    assert not {"probes", "verify", "rollout", "restart"} & set(spec)


def test_the_target_cannot_be_changed(kubectl: Kubectl) -> None:
    kubectl.apply("fixed", GOOD)
    answer = kubectl.refusal("fixed", {**GOOD, "targetRef": {"kind": "Deployment", "name": "other"}})
    assert "targetRef cannot be changed; make a new ResilientService" in answer


def test_two_appliers_share_the_list_of_checks(kubectl: Kubectl) -> None:
    def applied(manager: str, name: str) -> None:
        spec = {
            "targetRef": GOOD["targetRef"],
            "health": {"checks": [{"name": name, "scope": "Pod", "tcp": {"port": 1}}]},
        }
        options = ("apply", "--server-side", f"--field-manager={manager}", "-f", "-")
        kubectl(*options, stdin=manifest("shared", spec))

    applied("one", "first")
    applied("two", "second")
    assert [item["name"] for item in kubectl.read("shared")["spec"]["health"]["checks"]] == ["first", "second"]


def test_short_name_category_and_explain(kubectl: Kubectl) -> None:
    kubectl.apply("named", GOOD)
    for word in ("rsvc", "resilience", "resilientservices"):
        assert "resilientservice.resilience.dev/named" in kubectl("get", word, "-o", "name")
    assert "preStop sleep" in kubectl("explain", "rsvc.spec.drain.preStop")


def test_columns(kubectl: Kubectl) -> None:
    kubectl.apply("columns", GOOD)
    narrow = ["NAME", "READY", "PHASE", "SPEC", "HEALTH", "ROLLOUT", "TARGET", "RESTARTS", "AGE"]
    assert kubectl("get", "rsvc", "columns").splitlines()[0].split() == narrow
    wide = [*narrow[:-1], "DEGRADED", "SLO", "ALERTS", "EXPLANATION", "AGE"]
    assert kubectl("get", "rsvc", "columns", "-o", "wide").splitlines()[0].split() == wide


# Dry runs, so that an operator that is running does not answer in between.
def test_status_as_the_operator_writes_it_is_taken_whole_and_shown(kubectl: Kubectl) -> None:
    kubectl.apply("status", GOOD)
    status = full_status().to_api()
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": status}), "--dry-run=server")
    assert json.loads(kubectl("patch", "rsvc", "status", *patch, "-o", "json"))["status"] == status
    columns = definition(KINDS[0])["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = "|".join(f"{{{column['jsonPath']}}}" for column in columns if column["name"] != "Age")
    row = kubectl("patch", "rsvc", "status", *patch, "-o", f"jsonpath={shown}")
    slo = "99.95%, 50% of budget left"
    # Neither Ready nor SpecValid is in that status.
    assert row == f"|Running||Warning|Complete|checkout|1 of 10 this hour|False|{slo}|NobodyToTell|All is well."


def test_status_is_not_written_with_the_spec(kubectl: Kubectl) -> None:
    body = json.loads(manifest("outsider", GOOD)) | {"status": {"phase": "Failed"}}
    taken = kubectl("create", "-f", "-", "--dry-run=server", "-o", "json", stdin=json.dumps(body))
    assert "status" not in json.loads(taken)
