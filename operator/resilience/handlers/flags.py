"""Watch events of the ConfigMaps with flags update the flags that every replica serves. Nothing is decided here."""

from collections.abc import Mapping
from typing import Any, Final

import kopf
import structlog

from resilience.adapters.kube import parse_flags
from resilience.api.names import LABEL_FLAGS_OF
from resilience.core.model import flags
from resilience.core.model.observation import Key
from resilience.runtime.flag_cache import FlagCache
from resilience.runtime.queue import KeyQueue
from resilience.runtime.store import Store

log = structlog.get_logger(__name__)

WATCHED: Final = ("", "v1", "configmaps")


def register(registry: kopf.OperatorRegistry, *, queue: KeyQueue, store: Store, board: FlagCache) -> None:
    """Registers the handler for ConfigMaps with flags."""

    @kopf.on.event(*WATCHED, labels={LABEL_FLAGS_OF: kopf.PRESENT}, registry=registry)
    async def on_flags(event: kopf.RawEvent, **_: Any) -> None:
        raw = event["object"]
        key = parse_flags.key(raw)
        if key is None:
            return
        if event["type"] == "DELETED":
            store.drop_flags_map(key)
            board.drop(key)
        else:
            flags_map = parse_flags.config_map(raw)
            store.put_flags_map(key, flags_map)
            _publish(board, key, flags_map.data)
        queue.add(key)


def _publish(board: FlagCache, key: Key, data: Mapping[str, str]) -> None:
    try:
        board.put(flags.read(namespace=key.namespace, service=key.name, data=data))
    except ValueError as error:
        # Somebody edited it by hand: the last publication stays valid until the leader has restored the ConfigMap.
        log.warning("flags cannot be read", key=str(key), why=str(error))
