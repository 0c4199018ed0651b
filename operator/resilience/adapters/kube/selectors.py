"""Label selectors of raw objects: matching against labels, and the label keys that a selector uses."""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]


def matches(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """The LabelSelector matches the labels. As in the API, an empty selector matches all, and None matches nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _expression(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def _expression(expression: Json, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def keys(selector: Json | None) -> set[str]:
    """Label keys that a selector uses."""
    if selector is None:
        return set()
    return set(selector.get("matchLabels") or {}) | {entry["key"] for entry in selector.get("matchExpressions") or []}


def _excluding_keys(selector: Json | None) -> set[str]:
    """Label keys whose change may turn a selector that does not match into one that matches."""
    expressions = (selector or {}).get("matchExpressions") or []
    return {expression["key"] for expression in expressions if expression["operator"] in ("NotIn", "DoesNotExist")}


def used_keys(selector: Json | None, labels: Mapping[str, str]) -> set[str]:
    """Label keys of the selector whose change may change whether it selects these labels."""
    return (keys(selector) if matches(selector, labels) else set()) | _excluding_keys(selector)
