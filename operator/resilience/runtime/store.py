"""The latest state from the watches: Services and EndpointSlices with our label, and which resource needs which object.

A quiet service is observed from it without a request to the API; before a pod is changed, everything is read again.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from resilience.api.v1alpha1 import TargetKind, TargetRef
from resilience.core.model.flags import FlagsMap
from resilience.core.model.observation import Key, Resource
from resilience.core.model.service import Endpoint, Service

Name = tuple[str, str]


@dataclass(slots=True)
class Store:
    """Views by namespace and name. Bounded by the objects with our label.

    `most`: number of ResilientServices of one namespace that are looked after.
    """

    most: int = 500
    # False until everything that exists has been listed: before that nobody knows who is among the oldest.
    listed: bool = True
    _services: dict[str, dict[str, Service]] = field(default_factory=dict)
    _slices: dict[Name, tuple[str, tuple[Endpoint, ...]]] = field(default_factory=dict)
    _slices_of: dict[Name, set[Name]] = field(default_factory=dict)
    _targets: dict[Key, tuple[TargetKind, str]] = field(default_factory=dict)
    _by_target: dict[tuple[TargetKind, str, str], set[Key]] = field(default_factory=dict)
    # The ResilientServices of a namespace with their creation times; and these with the names, the oldest first.
    _by_namespace: dict[str, dict[Key, datetime]] = field(default_factory=dict)
    _by_age: dict[str, list[tuple[datetime, str]]] = field(default_factory=dict)
    _services_of: dict[Key, frozenset[str]] = field(default_factory=dict)
    # Hash of the latest state of each ResilientService, without its status.
    _faces: dict[Key, int] = field(default_factory=dict)
    # The last state of ResilientServices that were deleted, until what they left behind is handed back.
    _deleted: dict[Key, Resource] = field(default_factory=dict)
    # Workloads by the ResilientService that their claim names, and the other way round.
    _claims: dict[Key, set[tuple[TargetKind, str]]] = field(default_factory=dict)
    _claimants: dict[tuple[TargetKind, str, str], Key] = field(default_factory=dict)
    _workload_faces: dict[tuple[TargetKind, str, str], dict[str, int]] = field(default_factory=dict)
    _flags_maps: dict[Key, FlagsMap] = field(default_factory=dict)
    # During a listing: names of the objects that the watches report meanwhile, by kind.
    _newer: dict[str, set[Name]] | None = None

    def put_service(self, service: Service) -> None:
        """Stores a Service that was created or changed."""
        self._note("Service", service.namespace, service.name)
        self._services.setdefault(service.namespace, {})[service.name] = service

    def drop_service(self, namespace: str, name: str) -> None:
        """Removes a Service that is gone, or no longer ours."""
        self._note("Service", namespace, name)
        of_namespace = self._services.get(namespace, {})
        of_namespace.pop(name, None)
        if not of_namespace:
            self._services.pop(namespace, None)

    def put_slice(self, *, namespace: str, name: str, service: str, endpoints: tuple[Endpoint, ...]) -> bool:
        """Stores an EndpointSlice that was created or changed; true when it lists something new."""
        self._note("EndpointSlice", namespace, name)
        if self._slices.get((namespace, name)) == (service, endpoints):
            return False
        self.drop_slice(namespace, name)
        self._slices[namespace, name] = (service, endpoints)
        self._slices_of.setdefault((namespace, service), set()).add((namespace, name))
        return True

    def drop_slice(self, namespace: str, name: str) -> None:
        """Removes an EndpointSlice that is gone."""
        service, _ = self._slices.pop((namespace, name), ("", ()))
        of_service = self._slices_of.get((namespace, service))
        if of_service is not None:
            of_service.discard((namespace, name))
            if not of_service:
                del self._slices_of[namespace, service]

    def services(self, namespace: str) -> tuple[Service, ...]:
        """Known Services of a namespace."""
        return tuple(self._services.get(namespace, {}).values())

    def endpoints(self, namespace: str, services: Iterable[str]) -> tuple[Endpoint, ...]:
        """Endpoints in the known slices of these Services."""
        names = [name for service in services for name in self._slices_of.get((namespace, service), ())]
        return tuple(endpoint for name in sorted(names) for endpoint in self._slices[name][1])

    def shows(self, namespace: str, service: str) -> bool:
        """The watches have shown this Service and a slice of it."""
        return service in self._services.get(namespace, ()) and (namespace, service) in self._slices_of

    @contextmanager
    def listing(self) -> Iterator[None]:
        """Encloses the listing of what exists, for `keep`: what the watches report meanwhile is newer than the list."""
        self._newer = {}
        try:
            yield
        finally:
            self._newer = None

    def _note(self, kind: str, namespace: str, name: str) -> None:
        if self._newer is not None:
            self._newer.setdefault(kind, set()).add((namespace, name))

    def keep(self, *, services: Iterable[Service], slices: frozenset[Name], flags: Mapping[Key, FlagsMap]) -> None:
        """Keeps what existed when it was listed; anything else was never reported as gone, and is removed now."""
        newer = {kind: frozenset(names) for kind, names in (self._newer or {}).items()}
        newer_flags = newer.get("Flags", frozenset())
        listed = {key: flags_map for key, flags_map in flags.items() if (key.namespace, key.name) not in newer_flags}
        reported = {
            key: flags_map for key, flags_map in self._flags_maps.items() if (key.namespace, key.name) in newer_flags
        }
        self._flags_maps = listed | reported
        existing = {(service.namespace, service.name): service for service in services}
        names = {(namespace, name) for namespace, by_name in self._services.items() for name in by_name}
        for namespace, name in (names | existing.keys()) - newer.get("Service", frozenset()):
            if (service := existing.get((namespace, name))) is not None:
                self.put_service(service)
            else:
                self.drop_service(namespace, name)
        for namespace, name in set(self._slices) - slices - newer.get("EndpointSlice", frozenset()):
            self.drop_slice(namespace, name)

    def put_flags_map(self, key: Key, found: FlagsMap) -> None:
        """Stores the ConfigMap with the flags of a ResilientService, which was created or changed."""
        self._note("Flags", key.namespace, key.name)
        self._flags_maps[key] = found

    def drop_flags_map(self, key: Key) -> None:
        """Removes the ConfigMap with the flags of a ResilientService, which is gone or no longer ours."""
        self._note("Flags", key.namespace, key.name)
        self._flags_maps.pop(key, None)

    def flags_map(self, key: Key) -> FlagsMap | None:
        """The ConfigMap with the flags of this ResilientService, or None while it is unknown."""
        return self._flags_maps.get(key)

    def put_resource(self, resource: Resource) -> bool:
        """Stores a ResilientService and its target; true when anything but its status is new."""
        face = hash(_face(resource))
        if self._faces.get(resource.key) == face:
            return False
        self.forget(resource.key)
        self._faces[resource.key] = face
        self._by_namespace.setdefault(resource.key.namespace, {})[resource.key] = resource.created
        insort(self._by_age.setdefault(resource.key.namespace, []), (resource.created, resource.key.name))
        if (ref := resource.target_ref) is not None:
            self._targets[resource.key] = (ref.kind, ref.name)
            self._by_target.setdefault((ref.kind, resource.key.namespace, ref.name), set()).add(resource.key)
        return True

    def forget(self, key: Key) -> None:
        """Removes a ResilientService that is gone."""
        of_namespace = self._by_namespace.get(key.namespace, {})
        created = of_namespace.pop(key, None)
        if created is not None:
            by_age = self._by_age[key.namespace]
            del by_age[bisect_left(by_age, (created, key.name))]
            if not of_namespace:
                del self._by_namespace[key.namespace], self._by_age[key.namespace]
        self._services_of.pop(key, None)
        self._faces.pop(key, None)
        kind, name = self._targets.pop(key, (TargetKind.DEPLOYMENT, ""))
        of_target = self._by_target.get((kind, key.namespace, name))
        if of_target is not None:
            of_target.discard(key)
            if not of_target:
                del self._by_target[kind, key.namespace, name]
                self._workload_faces.pop((kind, key.namespace, name), None)

    def has_place(self, key: Key) -> bool:
        """The ResilientService is among the `most` oldest ones of its namespace, or not known."""
        created = self._by_namespace.get(key.namespace, {}).get(key)
        return created is None or bisect_left(self._by_age[key.namespace], (created, key.name)) < self.most

    def first_without_place(self, namespace: str) -> Key | None:
        """The one that gets a place when one of the `most` oldest goes; None when all have one."""
        by_age = self._by_age.get(namespace, [])
        return Key(namespace, by_age[self.most][1]) if len(by_age) > self.most else None

    def concern(self, key: Key, services: Iterable[str]) -> None:
        """Records the Services that concern the resource: it is reconciled when they change."""
        if key in self._by_namespace.get(key.namespace, ()):
            self._services_of[key] = frozenset(services)

    def keys(self) -> set[Key]:
        """Keys of all known ResilientServices."""
        return {key for keys in self._by_namespace.values() for key in keys}

    def put_workload(
        self, kind: TargetKind, namespace: str, name: str, *, target: str, face: int | None
    ) -> frozenset[Key]:
        """Stores a workload's hash, or (None) that it is gone; returns the ResilientServices for which this is new.

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

    def put_claim(self, kind: TargetKind, namespace: str, name: str, *, claimant: str) -> None:
        """Stores which ResilientService a workload's claim names; empty when it has none, or is gone."""
        before = self._claimants.pop((kind, namespace, name), None)
        if before is not None:
            self._claims[before].discard((kind, name))
            if not self._claims[before]:
                del self._claims[before]
        if claimant:
            key = Key(namespace, claimant)
            self._claimants[kind, namespace, name] = key
            self._claims.setdefault(key, set()).add((kind, name))

    def put_deleted(self, resource: Resource) -> None:
        """Stores the last state of a ResilientService that the watch reported as deleted."""
        self._deleted[resource.key] = resource

    def deleted(self, key: Key) -> Resource | None:
        """The last state of a ResilientService that is gone, if it is known."""
        return self._deleted.get(key)

    def drop_deleted(self, key: Key) -> None:
        """Removes the last state: nothing is left behind any more."""
        self._deleted.pop(key, None)

    def has_orphans(self, key: Key, target: TargetRef | None = None) -> bool:
        """A claim names this ResilientService, which does not exist or points at another workload.

        `target`: the one that it points at, if that is known better than from the watches.
        """
        own = (target.kind, target.name) if target is not None else self._targets.get(key)
        return any(workload != own for workload in self._claims.get(key, ()))

    def orphaned(self) -> set[Key]:
        """Keys with orphans: see `has_orphans`."""
        return {key for key in self._claims if self.has_orphans(key)}

    def keys_of_target(self, kind: TargetKind, namespace: str, name: str) -> frozenset[Key]:
        """Keys of the ResilientServices that point at this workload."""
        return frozenset(self._by_target.get((kind, namespace, name), ()))

    def keys_of_service(self, namespace: str, service: str) -> frozenset[Key]:
        """Keys of the ResilientServices that a Service concerns; one without Services on record is concerned by all."""
        keys = self._by_namespace.get(namespace, ())
        return frozenset(key for key in keys if service in self._services_of.get(key, (service,)))


def _face(resource: Resource) -> Hashable:
    """The parts of a resource, besides status, that a decision depends on."""
    notes = tuple(sorted(resource.annotations.items()))
    return resource.uid, resource.generation, notes, resource.finalizers, resource.deleting_since
