"""What the watches showed last: Services and EndpointSlices with our label, and who is interested in which object.

Used to look at a quiet service without asking the API; before anything is done to a pod, all is read afresh.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from resilience.api.v1alpha1 import TargetKind
from resilience.core.observation import FlagsMap, Key, Resource
from resilience.core.services import Endpoint, Service

Name = tuple[str, str]


@dataclass(slots=True)
class Store:
    """Views by namespace and name. Bounded by what exists with our label."""

    _services: dict[Name, Service] = field(default_factory=dict)
    _slices: dict[Name, tuple[str, tuple[Endpoint, ...]]] = field(default_factory=dict)
    _slices_of: dict[Name, set[Name]] = field(default_factory=dict)
    _targets: dict[Key, tuple[TargetKind, str]] = field(default_factory=dict)
    _by_target: dict[tuple[TargetKind, str, str], set[Key]] = field(default_factory=dict)
    _by_namespace: dict[str, set[Key]] = field(default_factory=dict)
    _services_of: dict[Key, frozenset[str]] = field(default_factory=dict)
    _flags_maps: dict[Key, FlagsMap] = field(default_factory=dict)

    def put_service(self, service: Service) -> None:
        """A Service was made or changed."""
        self._services[service.namespace, service.name] = service

    def drop_service(self, namespace: str, name: str) -> None:
        """A Service is gone, or no longer ours."""
        self._services.pop((namespace, name), None)

    def put_slice(self, *, namespace: str, name: str, service: str, endpoints: tuple[Endpoint, ...]) -> None:
        """An EndpointSlice was made or changed."""
        self.drop_slice(namespace, name)
        self._slices[namespace, name] = (service, endpoints)
        self._slices_of.setdefault((namespace, service), set()).add((namespace, name))

    def drop_slice(self, namespace: str, name: str) -> None:
        """An EndpointSlice is gone."""
        service, _ = self._slices.pop((namespace, name), ("", ()))
        of_service = self._slices_of.get((namespace, service))
        if of_service is not None:
            of_service.discard((namespace, name))
            if not of_service:
                del self._slices_of[namespace, service]

    def services(self, namespace: str) -> tuple[Service, ...]:
        """The known Services of a namespace."""
        return tuple(service for (where, _), service in self._services.items() if where == namespace)

    def endpoints(self, namespace: str, services: Iterable[str]) -> tuple[Endpoint, ...]:
        """What the known slices of these Services list."""
        names = [name for service in services for name in self._slices_of.get((namespace, service), ())]
        return tuple(endpoint for name in sorted(names) for endpoint in self._slices[name][1])

    def shows(self, namespace: str, service: str) -> bool:
        """Whether the watches have shown this Service and a slice of it."""
        return (namespace, service) in self._services and (namespace, service) in self._slices_of

    def keep(self, *, services: Iterable[Service], slices: frozenset[Name], flags: Mapping[Key, FlagsMap]) -> None:
        """What exists: anything else that is known was never reported as gone, and goes now."""
        self._flags_maps = dict(flags)
        self._services = {(service.namespace, service.name): service for service in services}
        for namespace, name in set(self._slices) - slices:
            self.drop_slice(namespace, name)

    def put_flags_map(self, key: Key, found: FlagsMap) -> None:
        """The ConfigMap with the flags of a ResilientService was made or changed."""
        self._flags_maps[key] = found

    def drop_flags_map(self, key: Key) -> None:
        """It is gone, or no longer ours."""
        self._flags_maps.pop(key, None)

    def flags_map(self, key: Key) -> FlagsMap | None:
        """The ConfigMap with the flags of this ResilientService, as far as it is known."""
        return self._flags_maps.get(key)

    def put_resource(self, resource: Resource) -> None:
        """A ResilientService exists, with this target."""
        self.drop_resource(resource.key)
        self._by_namespace.setdefault(resource.key.namespace, set()).add(resource.key)
        if resource.spec is not None:
            ref = resource.spec.target_ref
            self._targets[resource.key] = (ref.kind, ref.name)
            self._by_target.setdefault((ref.kind, resource.key.namespace, ref.name), set()).add(resource.key)

    def drop_resource(self, key: Key) -> None:
        """A ResilientService is gone."""
        of_namespace = self._by_namespace.get(key.namespace)
        if of_namespace is not None:
            of_namespace.discard(key)
            if not of_namespace:
                del self._by_namespace[key.namespace]
        self._services_of.pop(key, None)
        kind, name = self._targets.pop(key, (TargetKind.DEPLOYMENT, ""))
        of_target = self._by_target.get((kind, key.namespace, name))
        if of_target is not None:
            of_target.discard(key)
            if not of_target:
                del self._by_target[kind, key.namespace, name]

    def concern(self, key: Key, services: Iterable[str]) -> None:
        """These Services concern the resource: their changes are worth a look at it."""
        if key in self._by_namespace.get(key.namespace, ()):
            self._services_of[key] = frozenset(services)

    def keys(self) -> set[Key]:
        """All known ResilientServices."""
        return {key for keys in self._by_namespace.values() for key in keys}

    def keys_of_target(self, kind: TargetKind, namespace: str, name: str) -> frozenset[Key]:
        """The ResilientServices that point at this workload."""
        return frozenset(self._by_target.get((kind, namespace, name), ()))

    def keys_of_service(self, namespace: str, service: str) -> frozenset[Key]:
        """The ResilientServices that a Service concerns; those that have not said yet are concerned by all."""
        everyone = self._by_namespace.get(namespace, ())
        return frozenset(key for key in everyone if service in self._services_of.get(key, (service,)))
