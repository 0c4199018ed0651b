"""The generated CRD: up to date, structural, bounded and explained, whatever is added to the models."""

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import yaml

from resilience.api import crd
from resilience.api.scalars import DURATION_PATTERN
from resilience.api.status import Status
from resilience.api.status_receiver import ReceiverStatus
from resilience.api.v1alpha1 import Drain, ResilientService, Rollout

Node = tuple[str, dict[str, Any]]

SERVICES, RECEIVERS = crd.KINDS
MINIMAL = {"spec": {"targetRef": {"kind": "Deployment", "name": "checkout"}}}


def walk(node: dict[str, Any], path: str = "") -> Iterator[Node]:
    yield path, node
    for name, part in node.get("properties", {}).items():
        yield from walk(part, f"{path}.{name}")
    if "items" in node:
        yield from walk(node["items"], f"{path}[]")


def own_nodes(*kinds: crd.Kind) -> list[Node]:
    """Everything but apiVersion, kind and metadata, which are Kubernetes' own; of all kinds, or of these."""
    parts = [crd.schema(kind)["properties"] for kind in kinds or crd.KINDS]
    return [node for each in parts for part in ("spec", "status") for node in walk(each[part], part)]


def offenders(test: Any) -> list[str]:
    return [path for path, node in own_nodes() if not test(path, node)]


def test_the_files_are_what_the_models_say() -> None:
    assert crd.drift() == {}, "run `python -m resilience.api.crd`"
    assert crd.main(["--check"]) == 0


def test_drift_fails_the_check_and_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crd, "_PROJECT", tmp_path)
    with redirect_stderr(io.StringIO()) as errors:
        assert crd.main(["--check"]) == 1
    assert "run `python -m resilience.api.crd`" in errors.getvalue()
    assert crd.main([]) == 0
    assert crd.main(["--check"]) == 0
    spoiled = next(iter(crd.files()))
    (tmp_path / spoiled).write_text("kind: SomethingElse\n")
    assert list(crd.drift()) == [spoiled]


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.name)
def test_it_is_yaml_without_anchors(kind: crd.Kind) -> None:
    text = crd.render(kind)
    assert yaml.safe_load(text) == crd.definition(kind)
    assert "&id" not in text


def test_every_field_is_described() -> None:
    assert offenders(lambda path, node: path.endswith("[]") or len(node.get("description", "")) >= 5) == []


def said(kind: crd.Kind, part: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Path, node and whether it is required, of each field of a part as `kubectl explain` shows it."""

    def fields(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
        for name, field in node.get("properties", {}).items():
            yield f"{path}.{name}", field, name in node.get("required", [])
            yield from fields(field, f"{path}.{name}")
            yield from fields(field.get("items", {}), f"{path}.{name}[]")

    (version,) = crd.definition(kind)["spec"]["versions"]
    return fields(version["schema"]["openAPIV3Schema"]["properties"][part], part)


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.name)
def test_every_field_that_may_be_absent_says_its_default(kind: crd.Kind) -> None:
    silent, wrong = [], []
    for path, node, required in said(kind, "spec"):
        words = node["description"].lower()
        if not required and node.get("type") != "object":
            silent += [path] if re.search(r"\bdefault\b", words) is None else []
            default = str(node.get("default") or "").lower()
            wrong += [path] if default and default not in words else []
    assert (silent, wrong) == ([], [])


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.name)
def test_every_duration_of_the_spec_says_how_it_is_written(kind: crd.Kind) -> None:
    durations = [node for _, node, _ in said(kind, "spec") if node.get("pattern") == DURATION_PATTERN]

    assert durations
    assert all("A duration, as 500ms, 90s or 1h30m." in node["description"] for node in durations)


def test_every_share_says_that_it_is_one() -> None:
    shares = [(path, node["description"]) for path, node, _ in said(SERVICES, "spec") if "%" in node.get("pattern", "")]

    assert len(shares) > 5
    assert [path for path, words in shares if "%" not in words and "share" not in words] == []


def test_defaults_of_profiles_are_not_called_none() -> None:
    words = {path: node["description"] for path, node, _ in said(SERVICES, "spec")}
    for path in ("health.interval", "health.timeout", "drain.preStop", "drain.gracePeriod", "drain.propagationDelay"):
        assert "the default is the profile's" in words[f"spec.{path}"], path


def test_no_key_is_a_boolean_for_yaml() -> None:
    """YAML 1.1 reads `on: true` as `true: true`. The former name of a field is still read, and written by nobody."""
    booleans = {"y", "n", "yes", "no", "on", "off", "true", "false"}
    found = [
        (path, node["description"])
        for kind in crd.KINDS
        for part in ("spec", "status")
        for path, node, _ in said(kind, part)
        if path.rpartition(".")[2].lower() in booleans
    ]

    former = "Former name of active; no longer written."
    assert found == [("status.degradation[].on", former), ("status.degradation[].override.on", former)]


def test_columns_say_whether_it_is_ready_and_whether_alerts_arrive() -> None:
    paths = {name: path for name, _, path, _ in SERVICES.columns}

    assert paths["Ready"] == '.status.conditions[?(@.type=="Ready")].status'
    assert paths["Alerts"] == '.status.conditions[?(@.type=="AlertsDelivered")].reason'
    assert "Told" not in paths


def test_every_list_is_bounded_and_says_how_it_merges() -> None:
    lists = [(path, node) for path, node in own_nodes() if node.get("type") == "array"]
    assert lists
    assert [path for path, node in lists if "maxItems" not in node or "x-kubernetes-list-type" not in node] == []
    keyed = [node for _, node in lists if node["x-kubernetes-list-type"] == "map"]
    assert all(set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"]) for node in keyed)


def test_every_string_is_bounded() -> None:
    def bounded(_: str, node: dict[str, Any]) -> bool:
        is_text = node.get("type") == "string" or "x-kubernetes-int-or-string" in node
        return not is_text or "maxLength" in node or "enum" in node or node.get("format") == "date-time"

    assert offenders(bounded) == []


def test_every_node_has_one_type() -> None:
    assert offenders(lambda _, node: ("type" in node) != ("x-kubernetes-int-or-string" in node)) == []


def test_nothing_of_pydantic_is_left() -> None:
    left = {"title", "volatile", "$ref", "$defs", "anyOf", "allOf", "const", "nullable"}
    assert offenders(lambda _, node: not left & set(node)) == []


def test_status_has_neither_defaults_nor_rules() -> None:
    kept = {"default", "pattern", "x-kubernetes-validations"}
    assert [path for path, node in own_nodes() if path.startswith("status") and kept & set(node)] == []


def test_every_rule_has_a_message() -> None:
    rules = [rule for _, node in own_nodes() for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) > 10
    assert all(len(rule["message"]) > 10 for rule in rules)


def test_defaults_are_written_as_a_user_writes_them() -> None:
    defaults = {path: node["default"] for path, node in own_nodes(SERVICES) if "default" in node}
    assert defaults["spec.profile"] == "Production"
    assert defaults["spec.drain.maxWait"] == "1m"
    assert defaults["spec.rollout.progressDeadline"] == "10m"
    assert defaults["spec.health.checks[].scope"] == "Service"
    assert Drain(max_wait="1m").max_wait == Drain().max_wait
    assert Rollout(progress_deadline="10m").progress_deadline == Rollout().progress_deadline


def test_what_depends_on_the_profile_has_no_default() -> None:
    nodes = dict(own_nodes(SERVICES))
    for path in ("health.interval", "health.timeout", "drain.preStop", "drain.gracePeriod", "drain.propagationDelay"):
        assert "default" not in nodes[f"spec.{path}"], path


def test_an_absent_block_stays_absent() -> None:
    objects = [node for _, node in own_nodes() if node.get("type") == "object"]
    assert all("default" not in node for node in objects)


def test_status_of_the_model_fits_the_schema() -> None:
    nodes = dict(own_nodes(SERVICES))
    service = ResilientService.model_validate(MINIMAL)
    assert service.status is None
    assert {f"status.{key}" for key in Status().to_api()} <= set(nodes)
    assert {f"status.{key}" for key in ReceiverStatus().to_api()} <= set(dict(own_nodes(RECEIVERS)))


def test_a_schema_that_kubernetes_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="exclusiveMinimum"):
        crd._structural({"type": "integer", "exclusiveMinimum": 0}, {}, dropped=frozenset())
