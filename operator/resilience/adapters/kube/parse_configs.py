"""Finds the ConfigMaps and Secrets that a pod template mounts or reads into the environment. No I/O, no decision."""

from collections.abc import Iterator

from resilience.adapters.kube.parse import Json
from resilience.api.restarts import ConfigKind
from resilience.core.model.workload import ConfigReference

# The cluster's own, in each namespace: renewed certificates are no configuration of an application.
_OF_CLUSTER = ("kube-root-ca.crt", "openshift-service-ca.crt")


def configs(pod_spec: Json) -> tuple[ConfigReference, ...]:
    """Each object once, by kind and name; it is optional when every place that names it says so."""
    found: dict[tuple[ConfigKind, str], bool] = {}
    for kind, name, optional in (*_volumes(pod_spec), *_environment(pod_spec)):
        if name and name not in _OF_CLUSTER:
            found[kind, name] = optional and found.get((kind, name), True)
    return tuple(ConfigReference(kind, name, optional) for (kind, name), optional in sorted(found.items()))


_Place = tuple[ConfigKind, str, bool]


def _volumes(pod_spec: Json) -> Iterator[_Place]:
    for volume in pod_spec.get("volumes") or []:
        projected = (volume.get("projected") or {}).get("sources") or []
        for source in (volume, *projected):
            yield from _place(source, "configMap", "secret")


def _environment(pod_spec: Json) -> Iterator[_Place]:
    for container in (*(pod_spec.get("initContainers") or []), *(pod_spec.get("containers") or [])):
        for source in container.get("envFrom") or []:
            yield from _place(source, "configMapRef", "secretRef")
        for variable in container.get("env") or []:
            yield from _place(variable.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")


def _place(source: Json, config_map: str, secret: str) -> Iterator[_Place]:
    for field, kind in ((config_map, ConfigKind.CONFIG_MAP), (secret, ConfigKind.SECRET)):
        named = source.get(field)
        if named:
            # A Secret that is a volume of its own has its name in another field than everywhere else.
            yield kind, str(named.get("name") or named.get("secretName") or ""), bool(named.get("optional"))
