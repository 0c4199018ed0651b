"""The controllers of a busy namespace: Deployments, their pods and the slices of Services, each with its lag.

They follow the rules that a release relies on: a paused Deployment scales and does not roll, another one rolls with one
pod more and none fewer, slices follow labels and readiness, a Deployment that is deleted in the foreground stays until
its pods are gone.
"""

import asyncio
import copy
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from resilience.adapters.kube.parse_workload import fingerprint
from resilience.api.names import GROUP, LABEL_TEMPLATE_HASH, PLURAL, VERSION
from tests.support.busy_api import BusyApi, Object, now

# Seconds: of a controller's look, until a new pod is ready, until a deleted one is gone.
LOOK: Final = 0.05
READY: Final = 0.4
GONE: Final = 1.0


@dataclass(slots=True)
class Namespace:
    """`count` services of `replicas` pods each in the namespace `name` of `api`."""

    api: BusyApi
    count: int
    name: str = "shop"
    replicas: int = 2
    made: int = 0
    _dirty: bool = True
    # Services by what their selectors name, because there are hundreds.
    _listed: dict[str, Any] = field(default_factory=dict)

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.name}"

    @property
    def apps(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.name}"

    @property
    def slices(self) -> str:
        return f"/apis/discovery.k8s.io/v1/namespaces/{self.name}/endpointslices"

    @property
    def resources(self) -> str:
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self.name}/{PLURAL}"

    def names(self) -> list[str]:
        return [f"service-{number}" for number in range(self.count)]

    def fill(self, spec: Object) -> None:
        """Makes Deployments, Services and ResilientServices with this specification."""
        self.api.put(f"/api/v1/namespaces/{self.name}", {"metadata": {"name": self.name}})
        for name in self.names():
            meta = {"namespace": self.name, "name": name}
            self.api.put(f"{self.apps}/deployments/{name}", _deployment(meta, replicas=self.replicas))
            routes = {"clusterIP": "10.96.0.1", "selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}
            service = {"metadata": meta, "spec": routes}
            self.api.put(f"{self.core}/services/{name}", service)
            own = {"targetRef": {"kind": "Deployment", "name": name}, "service": {"name": name, "port": "http"}}
            self.api.put(f"{self.resources}/{name}", {"metadata": meta, "spec": own | spec})

    def change(self, name: str, version: str) -> None:
        """Somebody changes the template."""
        path = f"{self.apps}/deployments/{name}"
        raw = copy.deepcopy(self.api.held[f"{self.apps}/deployments"][name])
        raw["spec"]["template"]["spec"]["containers"][0]["image"] = f"app:{version}"
        self.api.put(path, raw)

    def serving(self, name: str) -> set[str]:
        """Images of the pods that clients of the Service reach."""
        pods = self.api.held[f"{self.core}/pods"]
        found = self.api.held[self.slices].get(f"{name}-1", {}).get("endpoints") or []
        return {
            pods[item["targetRef"]["name"]]["spec"]["containers"][0]["image"]
            for item in found
            if item["conditions"]["serving"] and item["targetRef"]["name"] in pods
        }

    async def run(self) -> None:
        """Runs the controllers until cancelled."""
        self.api.changed = self._mark
        while True:
            await asyncio.sleep(LOOK)
            if self._dirty:
                self._dirty = False
                self._look()

    def _mark(self, plural: str) -> None:
        if plural in ("deployments", "replicasets", "pods", "services"):
            self._dirty = True

    def _look(self) -> None:
        sets, pods = defaultdict(list), defaultdict(list)
        for item in self.api.of(f"{self.apps}/replicasets"):
            sets[_owner(item)].append(item)
        for item in self.api.of(f"{self.core}/pods"):
            pods[_owner(item)].append(item)
        for item in self.api.of(f"{self.apps}/deployments"):
            self._deployment(item, sets[item["metadata"]["uid"]], pods)
        known = {uid for item in self.api.of(f"{self.apps}/deployments") for uid in (item["metadata"]["uid"],)}
        for uid, orphans in sets.items():
            for item in orphans if uid not in known else ():
                self._end(pods[item["metadata"]["uid"]])
                self.api.drop(f"{self.apps}/replicasets/{item['metadata']['name']}")
        self._slices()

    def _deployment(self, raw: Object, sets: list[Object], pods: dict[str, list[Object]]) -> None:
        meta, spec = raw["metadata"], raw["spec"]
        wanted, live = fingerprint(spec["template"]), {}
        for item in sets:
            own = pods[item["metadata"]["uid"]]
            live[item["metadata"]["name"]] = [pod for pod in own if "deletionTimestamp" not in pod["metadata"]]
        if "deletionTimestamp" in meta:
            for item in sets:
                self._end(pods[item["metadata"]["uid"]])
            if not any(pods[item["metadata"]["uid"]] for item in sets):
                self.api.drop(f"{self.apps}/deployments/{meta['name']}")
            return
        newest = next((item for item in sets if item["metadata"]["annotations"]["of"] == wanted), None)
        if newest is None and not spec.get("paused"):
            newest = self._replica_set(raw, wanted)
            sets.append(newest)
            live[newest["metadata"]["name"]] = []
        self._scale(raw, sets, newest, live)
        for item in sets:
            self._pods(item, live[item["metadata"]["name"]])
        own = [pod for item in sets for pod in live[item["metadata"]["name"]]]
        current = live[newest["metadata"]["name"]] if newest is not None else []
        ready = sum(_is_ready(pod) for pod in own)
        status = {"replicas": len(own), "updatedReplicas": len(current), "readyReplicas": ready}
        status |= {"availableReplicas": ready, "observedGeneration": meta["generation"]}
        self.api.put(f"{self.apps}/deployments/{meta['name']}", raw | {"status": status})

    def _scale(self, raw: Object, sets: list[Object], newest: Object | None, live: dict[str, list[Object]]) -> None:
        wanted, paused = raw["spec"]["replicas"], raw["spec"].get("paused")
        sizes = {item["metadata"]["name"]: item["spec"]["replicas"] for item in sets}
        old = [name for name, size in sizes.items() if size and (newest is None or name != newest["metadata"]["name"])]
        if not old and newest is not None:
            sizes[newest["metadata"]["name"]] = wanted
        elif paused and len(old) == 1 and (newest is None or not sizes[newest["metadata"]["name"]]):
            sizes[old[0]] = wanted
        elif not paused and newest is not None:
            name = newest["metadata"]["name"]
            if sum(sizes.values()) <= wanted and sizes[name] < wanted:
                sizes[name] += 1
            elif sum(_is_ready(pod) for pods in live.values() for pod in pods) > wanted:
                sizes[old[0]] -= 1
        for item in sets:
            size = sizes[item["metadata"]["name"]]
            if item["spec"]["replicas"] != size:
                scaled = item | {"spec": item["spec"] | {"replicas": size}}
                item |= self.api.put(f"{self.apps}/replicasets/{item['metadata']['name']}", scaled)

    def _replica_set(self, raw: Object, wanted: str) -> Object:
        name = f"{raw['metadata']['name']}-{wanted}"
        template = copy.deepcopy(raw["spec"]["template"])
        template["metadata"]["labels"][LABEL_TEMPLATE_HASH] = name
        meta = {
            "namespace": self.name,
            "name": name,
            "labels": template["metadata"]["labels"],
            "annotations": {"of": wanted},
            "ownerReferences": [_reference("Deployment", raw)],
        }
        return self.api.put(
            f"{self.apps}/replicasets/{name}", {"metadata": meta, "spec": {"replicas": 0, "template": template}}
        )

    def _pods(self, owner: Object, live: list[Object]) -> None:
        wanted = owner["spec"]["replicas"]
        for _ in range(wanted - len(live)):
            self.made += 1
            name = f"{owner['metadata']['name']}-{self.made}"
            meta = {
                "namespace": self.name,
                "name": name,
                "labels": owner["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [_reference("ReplicaSet", owner)],
            }
            status = {"podIP": f"10.0.{self.made // 250}.{self.made % 250}", "conditions": []}
            path = f"{self.core}/pods/{name}"
            live.append(
                self.api.put(path, {"metadata": meta, "spec": owner["spec"]["template"]["spec"], "status": status})
            )
            asyncio.get_running_loop().call_later(READY, self._ready, path)
        self._end(sorted(live, key=_is_ready)[: max(len(live) - wanted, 0)])

    def _ready(self, path: str) -> None:
        found = self.api.held[f"{self.core}/pods"].get(path.rpartition("/")[2])
        if found is not None:
            conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": now()}]
            self.api.put(path, found | {"status": found["status"] | {"conditions": conditions}})

    def _end(self, pods: list[Object]) -> None:
        for item in pods:
            if "deletionTimestamp" not in item["metadata"]:
                path = f"{self.core}/pods/{item['metadata']['name']}"
                self.api.put(path, item | {"metadata": item["metadata"] | {"deletionTimestamp": now()}})
                asyncio.get_running_loop().call_later(GONE, self.api.drop, path)

    def _slices(self) -> None:
        by_app = defaultdict(list)
        for pod in self.api.of(f"{self.core}/pods"):
            by_app[pod["metadata"]["labels"]["app"]].append(pod)
        for service in self.api.of(f"{self.core}/services"):
            meta, selector = service["metadata"], service["spec"]["selector"]
            chosen = [pod for pod in by_app[selector["app"]] if selector.items() <= pod["metadata"]["labels"].items()]
            labels = (meta.get("labels") or {}) | {"kubernetes.io/service-name": meta["name"]}
            body = {
                "metadata": {"namespace": self.name, "name": f"{meta['name']}-1", "labels": labels},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 80}],
                "endpoints": [_endpoint(pod) for pod in chosen],
            }
            self.api.put(f"{self.slices}/{meta['name']}-1", body)


def _deployment(meta: Object, *, replicas: int) -> Object:
    labels = {"app": meta["name"]}
    container = {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": 80}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": meta | {"annotations": {"of": "people"}}, "spec": spec}


def _reference(kind: str, owner: Object) -> Object:
    return {"kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True}


def _owner(raw: Object) -> str:
    references = raw["metadata"].get("ownerReferences") or [{"uid": ""}]
    return str(references[0]["uid"])


def _is_ready(pod: Object) -> bool:
    return bool(pod["status"]["conditions"])


def _endpoint(pod: Object) -> Object:
    meta = pod["metadata"]
    ends = "deletionTimestamp" in meta
    conditions = {"serving": _is_ready(pod), "ready": _is_ready(pod) and not ends, "terminating": ends}
    target = {"kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {"addresses": [pod["status"]["podIP"]], "targetRef": target, "conditions": conditions}
