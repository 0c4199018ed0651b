"""Label selectors of raw objects: does one match a pod, and which label keys does it look at."""

from collections.abc import Iterable, Mapping
from typing import Any

Json = Mapping[str, Any]


def matches(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; an empty one matches all, None nothing, as the API has it."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _expression(each, labels) for each in selector.get("matchExpressions") or []
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
    """The label keys that a selector looks at."""
    if selector is None:
        return set()
    return set(selector.get("matchLabels") or {}) | {each["key"] for each in selector.get("matchExpressions") or []}


def _excluding_keys(selector: Json | None) -> set[str]:
    """Keys whose change may make a selector match that does not match now."""
    expressions = (selector or {}).get("matchExpressions") or []
    return {each["key"] for each in expressions if each["operator"] in ("NotIn", "DoesNotExist")}


def policy_keys(policies: Iterable[Json], labels: Mapping[str, str]) -> frozenset[str]:
    """Label keys by which NetworkPolicies select these pods, as their subject or as a peer."""
    found: set[str] = set()
    for policy in policies:
        spec = policy.get("spec") or {}
        peers = [
            peer.get("podSelector")
            for rule in (spec.get("ingress") or []) + (spec.get("egress") or [])
            for peer in (rule.get("from") or []) + (rule.get("to") or [])
        ]
        for selector in [spec.get("podSelector"), *peers]:
            if matches(selector, labels):
                found |= keys(selector)
            found |= _excluding_keys(selector)
    return frozenset(found)
