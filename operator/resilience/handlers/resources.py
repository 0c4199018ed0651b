"""Watch events become keys on the queue. Nothing is decided here, and later passes do not trust an event's content."""

from collections.abc import Mapping
from typing import Any, Final

import kopf

from resilience.adapters.kube import parse, parse_workload
from resilience.api.names import (
    ANNOTATION_CLAIM,
    ANNOTATION_GREEN_OF,
    GROUP,
    LABEL_MANAGED,
    LABEL_MANAGED_VALUE,
    PLURAL,
    RECEIVER_PLURAL,
    VERSION,
)
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.observation import Key
from resilience.runtime.alerting.dispatcher import Dispatcher
from resilience.runtime.queue import KeyQueue, Priority
from resilience.runtime.store import Store

_KINDS: Final = {
    "deployments": TargetKind.DEPLOYMENT,
    "statefulsets": TargetKind.STATEFUL_SET,
    "daemonsets": TargetKind.DAEMON_SET,
}
_OURS: Final = {LABEL_MANAGED: LABEL_MANAGED_VALUE}


def register(registry: kopf.OperatorRegistry, *, queue: KeyQueue, store: Store, couriers: Dispatcher) -> None:
    """Registers a handler for every kind that is watched."""

    @kopf.on.event(GROUP, VERSION, RECEIVER_PLURAL, registry=registry)
    async def on_receiver(event: kopf.RawEvent, namespace: str | None, name: str, **_: Any) -> None:
        key = Key(namespace or "", name)
        if event["type"] == "DELETED":
            couriers.drop(key)
        else:
            couriers.wake(key)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_resource(event: kopf.RawEvent, namespace: str | None, name: str, **_: Any) -> None:
        resource = parse.resource(event["object"])
        if event["type"] == "DELETED":
            store.put_deleted(resource)
        # Passes write the status, and every pass reads the resource again anyway.
        if event["type"] == "DELETED" or store.put_resource(resource):
            queue.add(Key(namespace or "", name))

    @kopf.on.event("", "v1", "services", labels=_OURS, registry=registry)
    async def on_service(event: kopf.RawEvent, namespace: str | None, name: str, **_: Any) -> None:
        if event["type"] == "DELETED":
            store.drop_service(namespace or "", name)
        else:
            store.put_service(parse.service(event["object"]))
        for key in store.keys_of_service(namespace or "", name):
            queue.add(key)

    @kopf.on.event("discovery.k8s.io", "v1", "endpointslices", labels=_OURS, registry=registry)
    async def on_slice(event: kopf.RawEvent, namespace: str | None, name: str, **_: Any) -> None:
        where, raw = namespace or "", event["object"]
        service = parse.slice_service(raw)
        if event["type"] == "DELETED":
            store.drop_slice(where, name)
        else:
            endpoints = parse.endpoints(raw)
            if not store.put_slice(namespace=where, name=name, service=service, endpoints=endpoints):
                return
        for key in store.keys_of_service(where, service):
            queue.add(key, Priority.FAILOVER)

    for plural, kind in _KINDS.items():
        _register_workload(registry, plural=plural, kind=kind, queue=queue, store=store)


def _register_workload(
    registry: kopf.OperatorRegistry, *, plural: str, kind: TargetKind, queue: KeyQueue, store: Store
) -> None:
    @kopf.on.event("apps", "v1", plural, labels=_OURS, id=f"on_{plural}", registry=registry)
    async def on_workload(
        event: kopf.RawEvent, namespace: str | None, name: str, annotations: Mapping[str, str], **_: Any
    ) -> None:
        face = None if event["type"] == "DELETED" else parse_workload.face(event["object"])
        # An event of our second Deployment, green, concerns the service that manages the first.
        target = annotations.get(ANNOTATION_GREEN_OF, name)
        for key in store.put_workload(kind, namespace or "", name, target=target, face=face):
            queue.add(key)
        claimant = "" if face is None else annotations.get(ANNOTATION_CLAIM, "").partition("/")[0]
        store.put_claim(kind, namespace or "", name, claimant=claimant)
        if store.has_orphans(key := Key(namespace or "", claimant)):
            queue.add(key)
