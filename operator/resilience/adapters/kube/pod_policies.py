"""Policies of meshes and networks that select a namespace's pods, of those kinds that the cluster has.

Two caches, filled only when somebody asks: the kinds of the cluster, and for half a minute the selectors of each kind
and namespace. So a cluster without a mesh pays one request now and then, and many services share what is read.
Only policies of the service's own namespace count, those of Istio's root namespace, those of no namespace, and what
NetworkPolicies elsewhere say of pods in other namespaces: another tenant must not be able to keep somebody's pods in
their Services.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.paths import within
from resilience.adapters.kube.policy_kinds import KINDS, NETWORK_POLICIES, PolicyKind, Use
from resilience.adapters.kube.shapes import PolicyShape
from resilience.adapters.kube.transport import NotFound, Transport
from resilience.core.model.pod_policy import PodPolicy
from resilience.ports import Refused

log = structlog.get_logger(__name__)

# Seconds.
_KINDS_LAST: Final = 600.0
_POLICIES_LAST: Final = 30.0
# Istio's default; policies in it hold in all namespaces.
_ISTIO_ROOT: Final = "istio-system"


@dataclass(frozen=True, slots=True)
class _Policy:
    """One object: its name, and how it selects pods."""

    kind: str
    name: str
    uses: tuple[Use, ...]

    def of(self, labels: Mapping[str, str]) -> PodPolicy:
        return PodPolicy(self.kind, self.name, frozenset(key for use in self.uses for key in use(labels)))


@dataclass(frozen=True, slots=True)
class Policies:
    """Policies that select pods with the labels that were given, and the kinds that could not be read."""

    found: tuple[PodPolicy, ...] = ()
    unread: tuple[str, ...] = ()


# By kind and path, with the loop time until which the answer holds.
_Place = tuple[PolicyKind, str]
_Answers = dict[_Place, tuple[float, "asyncio.Task[tuple[_Policy, ...] | None]"]]


class PodPolicies:
    """Reads them. With `namespaces`, kinds without a namespace are not read: a Role gives no right to them."""

    def __init__(self, *, transport: Transport, namespaces: Sequence[str]) -> None:
        self._transport = transport
        self._namespaces = tuple(namespaces)
        self._kinds: tuple[tuple[PolicyKind, str], ...] = ()
        self._kinds_until = 0.0
        self._discovering = asyncio.Lock()
        self._answers: _Answers = {}

    async def selecting(self, namespace: str, labels: Mapping[str, str]) -> Policies:
        """The policies that select pods of this namespace by some of these labels.

        Raises:
            Unavailable: the API server did not answer.
            Refused: NetworkPolicies may not be read.
        """
        wanted = [
            (kind, path) for kind, version in await self._existing() for path in self._paths(kind, version, namespace)
        ]
        answers = await asyncio.gather(*(self._listed(kind, path) for kind, path in wanted))
        unread = {kind.kind for (kind, _), policies in zip(wanted, answers, strict=True) if policies is None}
        # A NetworkPolicy of the namespace itself is in two answers.
        keys: dict[tuple[str, str], frozenset[str]] = {}
        for policy in (policy.of(labels) for policies in answers for policy in policies or ()):
            keys[policy.kind, policy.name] = keys.get((policy.kind, policy.name), frozenset()) | policy.labels
        selecting = [PodPolicy(kind, name, used) for (kind, name), used in sorted(keys.items()) if used]
        return Policies(tuple(selecting), tuple(sorted(unread)))

    def forget(self, namespace: str) -> None:
        """Has the policies that select pods of this namespace read again when they are asked for next."""
        for kind, version in (*NETWORK_POLICIES, *self._kinds):
            for path in self._paths(kind, version, namespace):
                self._answers.pop((kind, path), None)

    def _paths(self, kind: PolicyKind, version: str, namespace: str) -> list[str]:
        base = f"/apis/{kind.group}/{version}"
        if kind.elsewhere and self._namespaces:
            return [within(base, kind.plural, name) for name in self._namespaces if name != namespace]
        if kind.elsewhere:
            return [within(base, kind.plural, None)]
        if not kind.namespaced:
            return [] if self._namespaces else [within(base, kind.plural, None)]
        names = {namespace}
        if kind.group.endswith(".istio.io") and (not self._namespaces or _ISTIO_ROOT in self._namespaces):
            names.add(_ISTIO_ROOT)
        return [within(base, kind.plural, name) for name in sorted(names)]

    async def _existing(self) -> tuple[tuple[PolicyKind, str], ...]:
        """The kinds that the API server has, each with the version that it prefers among those that have the kind."""
        async with self._discovering:
            now = asyncio.get_running_loop().time()
            if now >= self._kinds_until:
                self._kinds = await self._discover()
                self._kinds_until = now + _KINDS_LAST
            return (*NETWORK_POLICIES, *self._kinds)

    async def _discover(self) -> tuple[tuple[PolicyKind, str], ...]:
        try:
            groups = (await self._transport.get("/apis")).get("groups") or []
            present = [group for group in groups if group["name"] in {kind.group for kind in KINDS}]
            # In the API server's order of preference; a kind may exist in a version other than its group's preferred.
            versions = [(group["name"], entry["version"]) for group in present for entry in group["versions"]]
            lists = await asyncio.gather(*(self._transport.get(f"/apis/{group}/{name}") for group, name in versions))
        except (Refused, NotFound) as error:
            log.warning("kinds of policies are not known", why=str(error))
            return ()
        served: dict[tuple[str, str], str] = {}
        for (group, version), answer in zip(versions, lists, strict=True):
            for resource in answer.get("resources") or []:
                served.setdefault((group, resource["name"]), version)
        return tuple((kind, served[kind.group, kind.plural]) for kind in KINDS if (kind.group, kind.plural) in served)

    async def _listed(self, kind: PolicyKind, path: str) -> tuple[_Policy, ...] | None:
        """The policies at this path, None when they may not be read; whoever asks meanwhile shares the request."""
        now = asyncio.get_running_loop().time()
        place = (kind, path)
        until, task = self._answers.get(place, (0.0, None))
        if task is None or now >= until:
            self._answers = {key: entry for key, entry in self._answers.items() if entry[0] > now}
            task = asyncio.get_running_loop().create_task(self._list(kind, path))
            self._answers[place] = (now + _POLICIES_LAST, task)
            task.add_done_callback(lambda done: self._drop_failed(place, done))
        return await asyncio.shield(task)

    def _drop_failed(self, place: _Place, done: "asyncio.Task[tuple[_Policy, ...] | None]") -> None:
        """A failure is not kept: the next one who asks tries again."""
        if done.cancelled() or done.exception() is not None:
            _, task = self._answers.get(place, (0.0, None))
            if task is done:
                del self._answers[place]

    async def _list(self, kind: PolicyKind, path: str) -> tuple[_Policy, ...] | None:
        def policy(raw: Json) -> _Policy:
            meta = raw["metadata"]
            name = f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else str(meta["name"])
            return _Policy(kind.kind, name, tuple(kind.read(raw)))

        try:
            return (await self._transport.listed(path, policy, shape=PolicyShape)).all()
        except NotFound:
            # The kind has been removed since the last look.
            self._kinds_until = 0.0
            return ()
        except Refused as error:
            if kind.elsewhere and self._namespaces:
                # That namespace may be gone or closed to us: it must not hide the others.
                log.warning("namespace left out", path=path, why=str(error))
                return ()
            if kind in (entry for entry, _ in NETWORK_POLICIES):
                # The chart always grants this one: who cannot read it does not know which label may be overwritten.
                raise
            log.warning("policies may not be read", kind=kind.kind, why=str(error))
            return None
