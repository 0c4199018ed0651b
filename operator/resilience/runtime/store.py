"""What the watches showed last: Services and EndpointSlices with our label, and who is interested in which object.

Used to look at a quiet service without asking the API; before anything is done to a pod, all is read afresh.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.observation import FlagsMap, Key, Resource
from resilience.core.model.service import Endpoint, Service

Name = tuple[str, str]


@dataclass(slots=True)
class Store:
    """Views by namespace and name. Bounded by what exists with our label."""

    _services: dict[str, dict[str, Service]] = field(default_factory=dict)
    _slices: dict[Name, tuple[str, tuple[Endpoint, ...]]] = field(default_factory=dict)
    _slices_of: dict[Name, set[Name]] = field(default_factory=dict)
    _targets: dict[Key, tuple[TargetKind, str]] = field(default_factory=dict)
    _by_target: dict[tuple[TargetKind, str, str], set[Key]] = field(default_factory=dict)
    _by_namespace: dict[str, set[Key]] = field(default_factory=dict)
    _services_of: dict[Key, frozenset[str]] = field(default_factory=dict)
    # What a ResilientService looked like last, status aside.
    _faces: dict[Key, int] = field(default_factory=dict)
    _workload_faces: dict[tuple[TargetKind, str, str], dict[str, int]] = field(default_factory=dict)
    _flags_maps: dict[Key, FlagsMap] = field(default_factory=dict)
    # While a listing is under way: what the watches told of meanwhile, by kind.
    _newer: dict[str, set[Name]] | None = None

    def put_service(self, service: Service) -> None:
        """A Service was made or changed."""
        self._note("Service", service.namespace, service.name)
        self._services.setdefault(service.namespace, {})[service.name] = service

    def drop_service(self, namespace: str, name: str) -> None:
        """A Service is gone, or no longer ours."""
        self._note("Service", namespace, name)
        of_namespace = self._services.get(namespace, {})
        of_namespace.pop(name, None)
        if not of_namespace:
            self._services.pop(namespace, None)

    def put_slice(self, *, namespace: str, name: str, service: str, endpoints: tuple[Endpoint, ...]) -> bool:
        """An EndpointSlice was made or changed; whether it lists something else than before."""
        self._note("EndpointSlice", namespace, name)
        if self._slices.get((namespace, name)) == (service, endpoints):
            return False
        self.drop_slice(namespace, name)
        self._slices[namespace, name] = (service, endpoints)
        self._slices_of.setdefault((namespace, service), set()).add((namespace, name))
        return True

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
        return tuple(self._services.get(namespace, {}).values())

    def endpoints(self, namespace: str, services: Iterable[str]) -> tuple[Endpoint, ...]:
        """What the known slices of these Services list."""
        names = [name for service in services for name in self._slices_of.get((namespace, service), ())]
        return tuple(endpoint for name in sorted(names) for endpoint in self._slices[name][1])

    def shows(self, namespace: str, service: str) -> bool:
        """Whether the watches have shown this Service and a slice of it."""
        return service in self._services.get(namespace, ()) and (namespace, service) in self._slices_of

    @contextmanager
    def listing(self) -> Iterator[None]:
        """While what exists is listed, for `keep`: what the watches tell of meanwhile is newer than the list."""
        self._newer = {}
        try:
            yield
        finally:
            self._newer = None

    def _note(self, kind: str, namespace: str, name: str) -> None:
        if self._newer is not None:
            self._newer.setdefault(kind, set()).add((namespace, name))

    def keep(self, *, services: Iterable[Service], slices: frozenset[Name], flags: Mapping[Key, FlagsMap]) -> None:
        """What existed when it was listed: what else is known was never reported as gone, and goes now."""
        newer = {kind: frozenset(names) for kind, names in (self._newer or {}).items()}
        told = newer.get("Flags", frozenset())
        listed = {key: found for key, found in flags.items() if (key.namespace, key.name) not in told}
        known = {key: found for key, found in self._flags_maps.items() if (key.namespace, key.name) in told}
        self._flags_maps = listed | known
        existing = {(each.namespace, each.name): each for each in services}
        names = {(namespace, name) for namespace, of in self._services.items() for name in of}
        for namespace, name in (names | existing.keys()) - newer.get("Service", frozenset()):
            if (service := existing.get((namespace, name))) is not None:
                self.put_service(service)
            else:
                self.drop_service(namespace, name)
        for namespace, name in set(self._slices) - slices - newer.get("EndpointSlice", frozenset()):
            self.drop_slice(namespace, name)

    def put_flags_map(self, key: Key, found: FlagsMap) -> None:
        """The ConfigMap with the flags of a ResilientService was made or changed."""
        self._note("Flags", key.namespace, key.name)
        self._flags_maps[key] = found

    def drop_flags_map(self, key: Key) -> None:
        """It is gone, or no longer ours."""
        self._note("Flags", key.namespace, key.name)
        self._flags_maps.pop(key, None)

    def flags_map(self, key: Key) -> FlagsMap | None:
        """The ConfigMap with the flags of this ResilientService, as far as it is known."""
        return self._flags_maps.get(key)

    def put_resource(self, resource: Resource) -> bool:
        """A ResilientService exists, with this target; whether anything but its status is new."""
        face = hash(_face(resource))
        if self._faces.get(resource.key) == face:
            return False
        self.drop_resource(resource.key)
        self._faces[resource.key] = face
        self._by_namespace.setdefault(resource.key.namespace, set()).add(resource.key)
        if resource.spec is not None:
            ref = resource.spec.target_ref
            self._targets[resource.key] = (ref.kind, ref.name)
            self._by_target.setdefault((ref.kind, resource.key.namespace, ref.name), set()).add(resource.key)
        return True

    def drop_resource(self, key: Key) -> None:
        """A ResilientService is gone."""
        of_namespace = self._by_namespace.get(key.namespace)
        if of_namespace is not None:
            of_namespace.discard(key)
            if not of_namespace:
                del self._by_namespace[key.namespace]
        self._services_of.pop(key, None)
        self._faces.pop(key, None)
        kind, name = self._targets.pop(key, (TargetKind.DEPLOYMENT, ""))
        of_target = self._by_target.get((kind, key.namespace, name))
        if of_target is not None:
            of_target.discard(key)
            if not of_target:
                del self._by_target[kind, key.namespace, name]
                self._workload_faces.pop((kind, key.namespace, name), None)

    def concern(self, key: Key, services: Iterable[str]) -> None:
        """These Services concern the resource: their changes are worth a look at it."""
        if key in self._by_namespace.get(key.namespace, ()):
            self._services_of[key] = frozenset(services)

    def keys(self) -> set[Key]:
        """All known ResilientServices."""
        return {key for keys in self._by_namespace.values() for key in keys}

    def put_workload(
        self, kind: TargetKind, namespace: str, name: str, *, target: str, face: int | None
    ) -> frozenset[Key]:
        """A workload looks so now, or (None) is gone: the ResilientServices that this is news to.

        `target`: the workload that they point at, when this one stands in for it; else its own name.
        """
        keys = self.keys_of_target(kind, namespace, target)
        if not keys:
            return keys
        faces = self._workload_faces.setdefault((kind, namespace, target), {})
        if face is not None and faces.get(name) == face:
            return frozenset()
        if face is None:
            faces.pop(name, None)
        else:
            faces[name] = face
        return keys

    def keys_of_target(self, kind: TargetKind, namespace: str, name: str) -> frozenset[Key]:
        """The ResilientServices that point at this workload."""
        return frozenset(self._by_target.get((kind, namespace, name), ()))

    def keys_of_service(self, namespace: str, service: str) -> frozenset[Key]:
        """The ResilientServices that a Service concerns; those that have not said yet are concerned by all."""
        everyone = self._by_namespace.get(namespace, ())
        return frozenset(key for key in everyone if service in self._services_of.get(key, (service,)))


def _face(resource: Resource) -> Hashable:
    """What a decision depends on besides status."""
    notes = tuple(sorted(resource.annotations.items()))
    return resource.uid, resource.generation, notes, resource.finalizers, resource.deleting_since
