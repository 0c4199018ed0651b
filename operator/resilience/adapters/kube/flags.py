"""The ConfigMap with a service's flags, and the annotation that brings a change to pods at once."""

from resilience.adapters.kube import parse_flags
from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.paths import collection, named
from resilience.adapters.kube.transport import NotFound, Transport
from resilience.api.names import (
    ANNOTATION_FLAGS,
    FIELD_MANAGER,
    GROUP,
    KIND,
    LABEL_FLAGS_OF,
    VERSION,
    flags_config_map,
)
from resilience.core.model import flags
from resilience.core.model.flags import FlagsMap, Publication
from resilience.core.model.observation import Key, Pod, Resource
from resilience.ports import Conflict


class KubeFlags:
    """Reads and writes published flags. Objects that somebody else created are never written."""

    def __init__(self, *, transport: Transport) -> None:
        self._transport = transport

    async def flags_map(self, key: Key) -> FlagsMap | None:
        """The ConfigMap with the name of the service's flags, whoever created it, or None."""
        raw = await self._transport.find(_path(key))
        return None if raw is None else parse_flags.config_map(raw)

    async def publish_flags(self, resource: Resource, publication: Publication) -> None:
        """Write the publication to the ConfigMap. Raises Conflict when the ConfigMap is not ours, or just changed."""
        key, raw = resource.key, await self._transport.find(_path(resource.key))
        body = _config_map(resource, publication)
        if raw is None:
            await self._transport.post(collection("configmaps", key.namespace), body)
            return
        if not parse_flags.config_map(raw).ours:
            raise Conflict(f"ConfigMap {flags_config_map(key.name)} is somebody else's")
        if parse_flags.config_map(raw).data == body["data"]:
            return
        body["metadata"]["resourceVersion"] = raw["metadata"]["resourceVersion"]
        await self._transport.put(_path(key), body)

    async def remove_flags(self, key: Key) -> None:
        """Delete the ConfigMap; no error when it does not exist or belongs to somebody else."""
        raw = await self._transport.find(_path(key))
        if raw is None or not parse_flags.config_map(raw).ours:
            return
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": raw["metadata"]["uid"]}}
        try:
            await self._transport.delete(_path(key), options)
        except NotFound:
            return

    async def tell_pod(self, pod: Pod, *, namespace: str, value: str | None) -> None:
        """Set or remove the annotation on exactly this pod; a pod that no longer exists is no error."""
        meta: Json = {"uid": pod.uid, "annotations": {ANNOTATION_FLAGS: value}}
        try:
            await self._transport.patch(
                named("pods", namespace, pod.name), {"metadata": meta}, fieldManager=FIELD_MANAGER
            )
        except (NotFound, Conflict):
            # Another pod has the same name now: it is annotated when a pass observes it.
            return


def _path(key: Key) -> str:
    return named("configmaps", key.namespace, flags_config_map(key.name))


def _config_map(resource: Resource, publication: Publication) -> Json:
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": resource.key.name,
        "uid": resource.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": flags_config_map(resource.key.name),
            "namespace": resource.key.namespace,
            "labels": {LABEL_FLAGS_OF: resource.key.name},
            "ownerReferences": [owner],
        },
        "data": flags.config_map_data(publication),
    }
