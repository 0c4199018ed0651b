"""Kinds of policies that select pods by labels: where their selectors are.

Only what may cut or reroute a pod's open connections is here. Nothing else of these objects is read or kept.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from resilience.adapters.kube import calico_selector, selectors

Json = Mapping[str, Any]
# Tells the label keys by which it selects pods with these labels.
Use = Callable[[Mapping[str, str]], set[str]]
# Prefixes that Cilium gives to labels of pods, and beginnings of labels that are not the pods' own.
_CILIUM_PREFIXES: Final = ("k8s:", "any:")
_CILIUM_DERIVED: Final = ("io.kubernetes.pod.namespace", "io.cilium.k8s.")


@dataclass(frozen=True, slots=True)
class PolicyKind:
    """A kind, by its API group and the plural in its path. `read` raises nothing for an object that its CRD permits.

    `elsewhere`: objects of any namespace count.
    """

    group: str
    plural: str
    kind: str
    read: Callable[[Json], Iterator[Use]]
    namespaced: bool = True
    elsewhere: bool = False


def _of_selectors(chosen: Iterable[Json | None]) -> Iterator[Use]:
    for selector in chosen:
        yield lambda labels, selector=selector: selectors.used_keys(selector, labels)  # type: ignore[misc]


def _istio(raw: Json) -> Iterator[Use]:
    """`selector`, `workloadSelector` and, of a DestinationRule, subsets; an absent one names no label."""
    spec = raw.get("spec") or {}
    chosen = [spec.get("selector"), spec.get("workloadSelector")]
    labels = [(entry or {}).get("matchLabels") or (entry or {}).get("labels") for entry in chosen]
    labels += [subset.get("labels") for subset in spec.get("subsets") or []]
    return _of_selectors({"matchLabels": entry} for entry in labels if entry)


def _linkerd(raw: Json) -> Iterator[Use]:
    return _of_selectors([(raw.get("spec") or {}).get("podSelector")])


def _cilium(raw: Json) -> Iterator[Use]:
    rules = [*([raw["spec"]] if raw.get("spec") else []), *(raw.get("specs") or [])]
    for rule in rules:
        chosen = [rule.get("endpointSelector")]
        for direction, peers in (("ingress", "fromEndpoints"), ("egress", "toEndpoints")):
            for part in (rule.get(direction) or []) + (rule.get(f"{direction}Deny") or []):
                chosen.extend(part.get(peers) or [])
        yield from _of_selectors(_without_prefixes(selector) for selector in chosen)


def _without_prefixes(selector: Json | None) -> Json | None:
    """Cilium's selector as one of labels of pods; conditions on the namespace are taken as met."""
    if selector is None:
        return None
    wanted = {_own_key(key): value for key, value in (selector.get("matchLabels") or {}).items()}
    expressions = [entry | {"key": _own_key(entry["key"])} for entry in selector.get("matchExpressions") or []]
    return {
        "matchLabels": {key: value for key, value in wanted.items() if not key.startswith(_CILIUM_DERIVED)},
        "matchExpressions": [entry for entry in expressions if not entry["key"].startswith(_CILIUM_DERIVED)],
    }


def _own_key(key: str) -> str:
    return next((key.removeprefix(prefix) for prefix in _CILIUM_PREFIXES if key.startswith(prefix)), key)


def _calico(raw: Json) -> Iterator[Use]:
    spec = raw.get("spec") or {}
    texts = [spec.get("selector")]
    for rule in (spec.get("ingress") or []) + (spec.get("egress") or []):
        for side in ("source", "destination"):
            entity = rule.get(side) or {}
            texts += [entity.get("selector"), entity.get("notSelector")]
    for text in texts:
        if text:
            try:
                yield calico_selector.parse(text).used
            except ValueError:
                # Calico would not apply it either.
                continue


def _admin(raw: Json) -> Iterator[Use]:
    spec = raw.get("spec") or {}
    entries = [spec.get("subject") or {}, *_peers(spec)]
    return _of_selectors((entry.get("pods") or {}).get("podSelector") for entry in entries)


def _network(raw: Json) -> Iterator[Use]:
    spec = raw.get("spec") or {}
    return _of_selectors([spec.get("podSelector"), *(peer.get("podSelector") for peer in _peers(spec))])


def _network_peers(raw: Json) -> Iterator[Use]:
    """Peers in other namespaces. Everything else that a NetworkPolicy selects is in its own namespace."""
    peers = _peers(raw.get("spec") or {})
    return _of_selectors(peer.get("podSelector") for peer in peers if peer.get("namespaceSelector") is not None)


def _peers(spec: Json) -> list[Json]:
    return [
        peer
        for rule in (spec.get("ingress") or []) + (spec.get("egress") or [])
        for peer in (rule.get("from") or []) + (rule.get("to") or [])
    ]


# Every cluster has them, in this version.
NETWORK_POLICIES: Final = (
    (PolicyKind("networking.k8s.io", "networkpolicies", "NetworkPolicy", _network), "v1"),
    (PolicyKind("networking.k8s.io", "networkpolicies", "NetworkPolicy", _network_peers, elsewhere=True), "v1"),
)

KINDS: Final = (
    PolicyKind("security.istio.io", "authorizationpolicies", "AuthorizationPolicy", _istio),
    PolicyKind("security.istio.io", "peerauthentications", "PeerAuthentication", _istio),
    PolicyKind("security.istio.io", "requestauthentications", "RequestAuthentication", _istio),
    PolicyKind("networking.istio.io", "sidecars", "Sidecar", _istio),
    PolicyKind("networking.istio.io", "destinationrules", "DestinationRule", _istio),
    PolicyKind("networking.istio.io", "envoyfilters", "EnvoyFilter", _istio),
    PolicyKind("policy.linkerd.io", "servers", "Server", _linkerd),
    PolicyKind("cilium.io", "ciliumnetworkpolicies", "CiliumNetworkPolicy", _cilium),
    PolicyKind("cilium.io", "ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", _cilium, False),
    PolicyKind("crd.projectcalico.org", "networkpolicies", "Calico NetworkPolicy", _calico),
    PolicyKind("crd.projectcalico.org", "globalnetworkpolicies", "GlobalNetworkPolicy", _calico, False),
    PolicyKind("policy.networking.k8s.io", "adminnetworkpolicies", "AdminNetworkPolicy", _admin, False),
    PolicyKind("policy.networking.k8s.io", "baselineadminnetworkpolicies", "BaselineAdminNetworkPolicy", _admin, False),
    # Took the place of both in network-policy-api 0.2.
    PolicyKind("policy.networking.k8s.io", "clusternetworkpolicies", "ClusterNetworkPolicy", _admin, False),
)
