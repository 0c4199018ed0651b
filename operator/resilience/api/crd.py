"""Writes the CRD from the models, so that what the API server enforces is what the operator reads.

Must not decide what a field allows: bounds, rules, defaults and descriptions are said in the models.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from resilience.api.names import GROUP, KIND, PLURAL, RECEIVER_KIND, RECEIVER_PLURAL, VERSION
from resilience.api.receivers import AlertReceiver
from resilience.api.scalars import DURATION_PATTERN, format_duration
from resilience.api.v1alpha1 import ResilientService

Schema = dict[str, Any]

_PROJECT: Final = Path(__file__).parents[3]
# Helm reads only what lies in the chart, so the chart carries a copy.
_FOLDERS: Final = (Path("crds"), Path("charts/resilience-operator/files/crds"))
_HEADER: Final = "# Generated from operator/resilience/api by `python -m resilience.api.crd`; do not edit.\n"

# Keys that a structural schema may contain, in the order in which they are written.
_KEPT: Final = (
    *("description", "type", "format", "default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength"),
    *("minItems", "maxItems", "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    *("x-kubernetes-validations", "required", "properties", "items"),
)
_DROPPED: Final = frozenset({"title", "volatile"})
# The operator alone writes status: a default would hide an unset field, and a refused status informs nobody.
_DROPPED_IN_STATUS: Final = frozenset({"default", "pattern", "minimum", "maximum", "x-kubernetes-validations"})

# Name, type, JSON path, and 1 for a column that only `-o wide` shows.
_Column = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of ours: its model, and its columns for people."""

    model: type[BaseModel]
    name: str
    plural: str
    short: str
    columns: tuple[_Column, ...]

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{GROUP}_{self.plural}.yaml"


KINDS: Final = (
    Kind(
        ResilientService,
        KIND,
        PLURAL,
        "rsvc",
        (
            ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
            ("Phase", "string", ".status.phase", 0),
            ("Spec", "string", '.status.conditions[?(@.type=="SpecValid")].reason', 0),
            ("Health", "string", ".status.health.state", 0),
            ("Rollout", "string", ".status.rollout.step", 0),
            ("Target", "string", ".spec.targetRef.name", 0),
            ("Restarts", "string", ".status.restarts.summary", 0),
            ("Degraded", "string", '.status.conditions[?(@.type=="Degraded")].status', 1),
            ("SLO", "string", ".status.slo.summary", 1),
            ("Alerts", "string", '.status.conditions[?(@.type=="AlertsDelivered")].reason', 1),
            ("Explanation", "string", ".status.explanation", 1),
            ("Age", "date", ".metadata.creationTimestamp", 0),
        ),
    ),
    Kind(
        AlertReceiver,
        RECEIVER_KIND,
        RECEIVER_PLURAL,
        "arcv",
        (
            ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
            ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
            ("Open", "string", ".status.summary", 0),
            ("Delivered", "integer", ".status.delivered", 0),
            ("Failed", "integer", ".status.failed", 0),
            ("Dead", "integer", ".status.dead", 0),
            ("Last", "date", ".status.lastSuccess", 0),
            ("Error", "string", ".status.failure.message", 1),
            ("Age", "date", ".metadata.creationTimestamp", 0),
        ),
    ),
)


def definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition as the API server takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": ["resilience"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": _explained(schema(kind))},
                }
            ],
        },
    }


def schema(kind: Kind) -> Schema:
    """The structural schema of the whole object."""
    raw = kind.model.model_json_schema(schema_generator=_Generator)
    parts = raw["properties"]
    definitions = raw.get("$defs", {})
    return {
        "description": raw["description"],
        "type": "object",
        "required": raw["required"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"Always {kind.name}."},
            "metadata": {"type": "object"},
            "spec": _structural(parts["spec"], definitions, dropped=_DROPPED),
            "status": _structural(parts["status"], definitions, dropped=_DROPPED | _DROPPED_IN_STATUS),
        },
    }


def _explained(whole: Schema) -> Schema:
    """The schema whose descriptions in spec also name unit and default, which `kubectl explain` does not show."""
    parts = whole["properties"]
    return {**whole, "properties": {**parts, "spec": _with_defaults(parts["spec"])}}


def _with_defaults(node: Schema, *, required: bool = True) -> Schema:
    result, words = dict(node), [node["description"]] if "description" in node else []
    if node.get("pattern") == DURATION_PATTERN and words:
        words.append("A duration, as 500ms, 90s or 1h30m.")
    if words and not required and node.get("type") != "object" and not re.search(r"\bdefault\b", words[0]):
        words.append(f"Default: {_written(node.get('default'))}.")
    if words:
        result["description"] = " ".join(words)
    if "items" in node:
        result["items"] = _with_defaults(node["items"])
    if "properties" in node:
        needed = node.get("required", ())
        result["properties"] = {
            name: _with_defaults(part, required=name in needed) for name, part in node["properties"].items()
        }
    return result


def _written(default: Any) -> str:
    """The default as a user writes it."""
    if default is None or default in ("", [], {}):
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


@cache
def render(kind: Kind) -> str:
    """The CRD as YAML, byte for byte as in the repository."""
    return _HEADER + yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def files() -> dict[Path, str]:
    """The generated files, relative to the project's root, and their content."""
    return {folder / kind.file: render(kind) for folder in _FOLDERS for kind in KINDS}


def drift() -> dict[Path, str]:
    """The generated files that are missing or do not match the models."""
    return {path: text for path, text in files().items() if not _is(_PROJECT / path, text)}


def main(arguments: Sequence[str]) -> int:
    """Writes the files, or with `--check` only reports which would change."""
    parser = argparse.ArgumentParser(prog="python -m resilience.api.crd", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    changed = drift()
    if parser.parse_args(arguments).check:
        for path in changed:
            sys.stderr.write(f"{path} is not what the models say: run `python -m resilience.api.crd`\n")
        return 1 if changed else 0
    for path, text in changed.items():
        (_PROJECT / path).parent.mkdir(parents=True, exist_ok=True)
        (_PROJECT / path).write_text(text)
        sys.stdout.write(f"{path} written\n")
    return 0


class _Generator(GenerateJsonSchema):
    """Writes defaults as the API does; pydantic ignores a field's own serializer."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


class _Dumper(yaml.SafeDumper):
    """YAML without anchors: the API server would accept them, but they are hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def _column(name: str, kind: str, path: str, priority: int) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {})}


def _structural(node: Schema, definitions: Mapping[str, Schema], *, dropped: frozenset[str]) -> Schema:
    """One node without references, alternatives and keys that Kubernetes does not know.

    Raises:
        ValueError: the node says something that a structural schema has no place for.
    """
    node = _resolved(node, definitions)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if unknown := set(node) - set(_KEPT) - dropped:
        raise ValueError(f"no place in a structural schema for {sorted(unknown)}: {node}")
    result: Schema = {key: node[key] for key in _KEPT if key in node and key not in dropped}
    if "items" in result:
        result["items"] = _structural(result["items"], definitions, dropped=dropped)
    if "properties" in result:
        result["properties"] = {
            name: _structural(part, definitions, dropped=dropped) for name, part in result["properties"].items()
        }
    return result


def _resolved(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The node with its reference, or its one alternative besides null, merged in; the node's own keys win."""
    node = dict(node)
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            inner = definitions[node.pop("$ref").rsplit("/", 1)[-1]]
        else:
            (inner,) = (variant for variant in node.pop("anyOf") if variant != {"type": "null"})
        validations = [*inner.get("x-kubernetes-validations", ()), *node.get("x-kubernetes-validations", ())]
        node = {**inner, **node, **({"x-kubernetes-validations": validations} if validations else {})}
    if node.get("default", ...) is None:
        del node["default"]
    return node


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
