"""Reads of the cluster as views. Every read is fresh; what cannot be read raises Unavailable and decides nothing."""

import asyncio
import base64
from collections.abc import Callable, Sequence

import structlog

from resilience.adapters.kube import parse, parse_workload
from resilience.adapters.kube.paths import collection, named, resources_path, workload_path
from resilience.adapters.kube.pods import PodsReader
from resilience.adapters.kube.transport import Json, NotFound, Transport
from resilience.api.names import LABEL_FLAGS_OF, LABEL_MANAGED, LABEL_MANAGED_VALUE, LABEL_READABLE
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.observation import FlagsMap, Key, PodsView, Resource
from resilience.core.model.service import Endpoint, Service
from resilience.core.model.workload import Workload
from resilience.ports import Invalid, Refused
from resilience.ports.cluster import Marked, View

log = structlog.get_logger(__name__)

PathOf = Callable[[str | None], str]


class KubeReader:
    """`ClusterReader` over the API. `namespaces` empty means all of them."""

    def __init__(self, *, transport: Transport, namespaces: Sequence[str]) -> None:
        self._transport = transport
        self._namespaces = tuple(namespaces)
        self._pods = PodsReader(transport=transport, policies=self._policies)

    async def resource(self, key: Key) -> Resource | None:
        """The ResilientService, or None when there is none."""
        raw = await self._transport.find(resources_path(key.namespace, key.name))
        return None if raw is None else parse.resource(raw)

    async def resources(self, view: Callable[[Resource], View], *, namespace: str | None = None) -> Sequence[View]:
        """What is wanted of each ResilientService of a namespace, or of all that we look after."""
        chosen = [namespace] if namespace else self._namespaces
        return await self._collections(chosen, resources_path, lambda raw: view(parse.resource(raw)))

    async def workload(self, *, kind: TargetKind, namespace: str, name: str) -> Workload | None:
        """The target, or None when there is none."""
        raw = await self._transport.find(workload_path(kind, namespace, name))
        return None if raw is None else parse_workload.workload(kind, raw)

    async def services(self, namespace: str) -> Sequence[Service]:
        """All Services of a namespace."""
        return [parse.service(raw) for raw in await self._transport.list(collection("services", namespace))]

    async def endpoints(self, *, namespace: str, services: Sequence[str]) -> Sequence[Endpoint]:
        """What the EndpointSlices of these Services list now."""
        if not services:
            return []
        chosen = f"kubernetes.io/service-name in ({','.join(sorted(services))})"
        slices = await self._transport.list(collection("endpointslices", namespace), labels=chosen)
        return [endpoint for raw in slices for endpoint in parse.endpoints(raw)]

    async def marked(self) -> Marked:
        """All that carries our label and is watched by it: to prune what a broken watch never reported as gone."""
        labels = f"{LABEL_MANAGED}={LABEL_MANAGED_VALUE}"
        services, slices, maps = await asyncio.gather(
            self._collections(self._namespaces, lambda n: collection("services", n), parse.service, labels=labels),
            self._collections(self._namespaces, lambda n: collection("endpointslices", n), _name, labels=labels),
            self._collections(self._namespaces, lambda n: collection("configmaps", n), _flags, labels=LABEL_FLAGS_OF),
        )
        return Marked(
            services=tuple(services),
            slices=frozenset(slices),
            flags=dict(maps),
        )

    async def readable_namespaces(self) -> Sequence[str]:
        """The configured namespaces whose resources can be listed: a watch on another one would end the process."""
        answers = await asyncio.gather(
            *(self._transport.list(resources_path(name)) for name in self._namespaces), return_exceptions=True
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
        """The last lines that a pod's container said before it ended, secrets redacted; empty when there are none."""
        return await self._pods.logs(namespace=namespace, pod=pod)

    async def _policies(self, namespace: str) -> list[Json]:
        """NetworkPolicies of every namespace we may read: peers elsewhere select our pods too."""
        names = sorted({*self._namespaces, namespace}) if self._namespaces else ()
        return await self._collections(names, lambda n: collection("networkpolicies", n), lambda raw: raw)

    async def _collections(
        self, namespaces: Sequence[str], path: PathOf, view: Callable[[Json], View], *, labels: str = ""
    ) -> list[View]:
        if not namespaces:
            return await self._transport.views(path(None), view, labels=labels)
        lists = await asyncio.gather(*(self._listed(path(name), view, labels=labels) for name in namespaces))
        return [item for each in lists for item in each]

    async def _listed(self, path: str, view: Callable[[Json], View], *, labels: str) -> list[View]:
        """One namespace of several: one that is gone, or closed to us, must not hide the others."""
        try:
            return await self._transport.views(path, view, labels=labels)
        except Refused as error:
            log.warning("namespace left out", path=path, why=str(error))
            return []


def _name(raw: Json) -> tuple[str, str]:
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


def _flags(raw: Json) -> tuple[Key, FlagsMap]:
    return parse.flags_key(raw), parse.flags_map(raw)


def require_readable(raw: Json) -> None:
    """A Secret's owner has to allow that we read it: it is named by whoever may write our resources. Raises Refused."""
    meta = raw["metadata"]
    if (meta.get("labels") or {}).get(LABEL_READABLE) != "true":
        name = meta["name"]
        raise Refused(
            f"Secret {name} is not labelled {LABEL_READABLE}=true; if the operator may read it:"
            f" kubectl label secret {name} {LABEL_READABLE}=true"
        )


class KubeSecrets:
    """`Secrets` over the API: only Secrets whose owner labelled them readable for us."""

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
            return base64.b64decode(data).decode()
        except ValueError as error:
            raise Invalid(f"key {key} of Secret {name} is not text") from error
