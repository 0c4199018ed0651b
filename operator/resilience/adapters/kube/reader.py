"""Reads the cluster as views. Every read is fresh; a failed read raises Unavailable, and nothing is decided from it."""

import asyncio
import base64
import codecs
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from resilience.adapters.kube import parse, parse_flags, parse_workload
from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.paths import collection, is_name, named, namespace_path, resources_path, workload_path
from resilience.adapters.kube.pod_policies import PodPolicies
from resilience.adapters.kube.pods import PodsReader
from resilience.adapters.kube.shapes import ServiceShape, SliceShape
from resilience.adapters.kube.shared_lists import SharedLists
from resilience.adapters.kube.transport import NotFound, Transport
from resilience.api.names import ANNOTATION_CLAIM, LABEL_FLAGS_OF, LABEL_MANAGED, LABEL_MANAGED_VALUE, LABEL_READABLE
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.flags import FlagsMap
from resilience.core.model.observation import Key, PodsView, Resource
from resilience.core.model.service import Endpoint, Service
from resilience.core.model.workload import Workload
from resilience.ports import Invalid, NotLabelled, Refused
from resilience.ports.cluster import Marked, View

log = structlog.get_logger(__name__)

_MANAGED: Final = f"{LABEL_MANAGED}={LABEL_MANAGED_VALUE}"
PathOf = Callable[[str | None], str]


class KubeReader:
    """Implements `ports.cluster.ClusterReader`. Empty `namespaces` means all namespaces."""

    def __init__(self, *, transport: Transport, namespaces: Sequence[str]) -> None:
        self._transport = transport
        self._namespaces = tuple(namespaces)
        self._policies = PodPolicies(transport=transport, namespaces=self._namespaces)
        self._lists = SharedLists(transport=transport)
        self._pods = PodsReader(transport=transport, lists=self._lists, policies=self._policies)

    async def resource(self, key: Key) -> Resource | None:
        """The ResilientService, or None when it does not exist."""
        if not is_name(key.name):
            # Anybody may write any text into the claim on a workload of theirs.
            return None
        raw = await self._transport.find(resources_path(key.namespace, key.name))
        return None if raw is None else parse.resource(raw)

    async def resources(self, view: Callable[[Resource], View], *, namespace: str | None = None) -> Sequence[View]:
        """The `view` of every ResilientService in a namespace, or in all namespaces that we manage."""
        if namespace is not None:
            # A refusal must not look like an empty list: who has a claim follows from it.
            return await self._transport.views(resources_path(namespace), lambda raw: view(parse.resource(raw)))
        return await self._collections(self._namespaces, resources_path, lambda raw: view(parse.resource(raw)))

    async def workload(self, *, kind: TargetKind, namespace: str, name: str) -> Workload | None:
        """The target, or None when it does not exist."""
        raw = await self._transport.find(workload_path(kind, namespace, name))
        return None if raw is None else parse_workload.workload(kind, raw)

    async def claimed(self, *, namespace: str | None = None) -> Sequence[Workload]:
        """Workloads with a claim of ours; see `ports.cluster`."""
        lists = await asyncio.gather(*(self._claimed(kind, namespace) for kind in TargetKind))
        return [workload for workloads in lists for workload in workloads]

    async def _claimed(self, kind: TargetKind, namespace: str | None) -> list[Workload]:
        def view(raw: Json) -> Workload | None:
            is_claimed = ANNOTATION_CLAIM in (raw["metadata"].get("annotations") or {})
            return parse_workload.workload(kind, raw) if is_claimed else None

        plural = f"{kind.value.lower()}s"
        if namespace is not None:
            # A refusal must not look like an empty list: nothing else is handed back then.
            found = await self._transport.views(collection(plural, namespace), view, labels=_MANAGED)
        else:
            found = await self._collections(self._namespaces, lambda n: collection(plural, n), view, labels=_MANAGED)
        return [workload for workload in found if workload is not None]

    async def namespace_ending(self, name: str) -> bool:
        """The namespace is being deleted; see `ports.cluster`."""
        try:
            raw = await self._transport.find(namespace_path(name))
        except Refused:
            return False
        return raw is not None and "deletionTimestamp" in raw["metadata"]

    async def services(self, namespace: str) -> Sequence[Service]:
        """All Services of a namespace."""
        listed = await self._lists.views(collection("services", namespace), parse.service, shape=ServiceShape)
        return (*listed.views, *(parse.unread_service(item.raw, why=item.why) for item in listed.unread))

    async def endpoints(self, *, namespace: str, services: Sequence[str]) -> Sequence[Endpoint]:
        """Endpoints that the EndpointSlices of these Services list now."""
        if not services:
            return []
        chosen = [{parse.SLICE_SERVICE: service} for service in services]
        slices = await self._lists.selected(collection("endpointslices", namespace), *chosen, shape=SliceShape)
        return [endpoint for raw in slices for endpoint in parse.endpoints(raw)]

    async def marked(self) -> Marked:
        """All objects that are watched by our label, to prune those whose deletion a broken watch did not report."""
        services, slices, maps = await asyncio.gather(
            self._collections(self._namespaces, lambda n: collection("services", n), parse.service, labels=_MANAGED),
            self._collections(self._namespaces, lambda n: collection("endpointslices", n), _name, labels=_MANAGED),
            self._collections(self._namespaces, lambda n: collection("configmaps", n), _flags, labels=LABEL_FLAGS_OF),
        )
        return Marked(
            services=tuple(services),
            slices=frozenset(slices),
            flags={key: flags_map for key, flags_map in maps if key is not None},
        )

    async def readable_namespaces(self) -> Sequence[str]:
        """Configured namespaces whose resources can be listed: a watch on any other would end the process."""
        answers = await asyncio.gather(
            *(self._transport.views(resources_path(name), _name) for name in self._namespaces), return_exceptions=True
        )
        for name, answer in zip(self._namespaces, answers, strict=True):
            if isinstance(answer, BaseException):
                log.error("namespace left out until the next start", namespace=name, why=str(answer))
        return [
            name
            for name, answer in zip(self._namespaces, answers, strict=True)
            if not isinstance(answer, BaseException)
        ]

    async def pods_view(self, workload: Workload, *, releases: bool, limits: bool) -> PodsView:
        """Pods of the target and of its replacements; see `ports.cluster`."""
        return await self._pods.view(workload, releases=releases, limits=limits)

    async def logs(self, *, namespace: str, pod: str) -> str:
        """Last log lines of a pod's container before it ended, secrets redacted; empty when there are none."""
        return await self._pods.logs(namespace=namespace, pod=pod)

    def forget_policies(self, namespace: str) -> None:
        """See `ports.cluster`."""
        self._policies.forget(namespace)

    async def _collections(
        self, namespaces: Sequence[str], path: PathOf, view: Callable[[Json], View], *, labels: str = ""
    ) -> list[View]:
        if not namespaces:
            return await self._transport.views(path(None), view, labels=labels)
        lists = await asyncio.gather(*(self._listed(path(name), view, labels=labels) for name in namespaces))
        return [item for items in lists for item in items]

    async def _listed(self, path: str, view: Callable[[Json], View], *, labels: str) -> list[View]:
        """Views of one namespace of several; empty when it is gone or closed to us: it must not hide the others."""
        try:
            return await self._transport.views(path, view, labels=labels)
        except Refused as error:
            log.warning("namespace left out", path=path, why=str(error))
            return []


def _name(raw: Json) -> tuple[str, str]:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


def _flags(raw: Json) -> tuple[Key | None, FlagsMap]:
    return parse_flags.key(raw), parse_flags.config_map(raw)


def require_readable(raw: Json) -> None:
    """Raises NotLabelled unless the Secret's owner permits the read: any author of our resources can name a Secret."""
    meta = raw["metadata"]
    if (meta.get("labels") or {}).get(LABEL_READABLE) != "true":
        name = meta["name"]
        raise NotLabelled(
            f"Secret {name} is not labelled {LABEL_READABLE}=true; if the operator may read it:"
            f" kubectl label secret {name} {LABEL_READABLE}=true"
        )


class KubeSecrets:
    """Implements `ports.Secrets`: reads only Secrets that their owner labelled readable for us."""

    def __init__(self, *, transport: Transport) -> None:
        self._transport = transport

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        """One value; see `ports.Secrets`."""
        try:
            raw = await self._transport.get(named("secrets", namespace, name))
        except NotFound as error:
            raise Invalid(f"there is no Secret {name}") from error
        require_readable(raw)
        data = (raw.get("data") or {}).get(key)
        if data is None:
            raise Invalid(f"Secret {name} has no key {key}")
        try:
            return _text(base64.b64decode(data))
        except ValueError as error:
            raise Invalid(f"key {key} of Secret {name} is not text") from error


def _text(value: bytes) -> str:
    """The value without what editors and shells add: a byte order mark, line breaks at the end, UTF-16 of Windows.

    Raises:
        ValueError: it is no text.
    """
    encoding = "utf-16" if value.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return value.decode(encoding).rstrip("\r\n")
