"""The chart's files/defaults.json: the defaults of values.yaml, in a form that templates can read.

Helm shows values.yaml to no template, and `helm upgrade --reuse-values` puts the values of an older chart in its place.
Must not know what a value means.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

_CHART: Final = Path(__file__).resolve().parents[2] / "charts" / "resilience-operator"
FILE: Final = _CHART / "files" / "defaults.json"
# Null means none, as it did in every earlier chart, which all have it.
_NULLABLE: Final = {("resources",)}

Node = dict[str, Any]
Place = tuple[str, ...]


def text() -> str:
    """The file's required content: a line for each value."""
    values = yaml.safe_load((_CHART / "values.yaml").read_text())
    schema = json.loads((_CHART / "values.schema.json").read_text())
    lines = [
        json.dumps({"path": place, "default": default})
        for place, default in _settings(values, schema, schema["definitions"], ())
        if place not in _NULLABLE
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _settings(values: Node, schema: Node, definitions: Node, at: Place) -> Iterator[tuple[Place, object]]:
    """Each value with its place. A map whose keys the schema does not name is one value."""
    for name, value in values.items():
        node = schema["properties"][name]
        node = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if "properties" in node:
            yield from _settings(value, node, definitions, (*at, name))
        else:
            yield (*at, name), value
