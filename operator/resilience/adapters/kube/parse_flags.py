"""Parses ConfigMaps with flags. No I/O, no decision.

Anybody may create and label a ConfigMap, so that every replica of the operator reads it.
"""

from collections.abc import Mapping
from typing import Any, Final

from resilience.api.names import KIND, LABEL_FLAGS_OF, flags_config_map
from resilience.core.model.flags import FlagsMap
from resilience.core.model.observation import Key

Json = Mapping[str, Any]
# In characters. Sixteen flags, each with the longest name, mode and reason, are shorter.
_LONGEST: Final = 128 * 1024


def config_map(raw: Json) -> FlagsMap:
    """A ConfigMap with flags; it is ours when it carries our label.

    Unless a ResilientService owns it, and it is no longer than flags are, its data do not count and are not kept.
    Kubernetes removes one whose owner does not exist, so there are no more than there are ResilientServices.
    """
    labels, data = raw["metadata"].get("labels") or {}, raw.get("data") or {}
    is_credible = _is_owned(raw["metadata"]) and sum(len(str(value)) for value in data.values()) <= _LONGEST
    return FlagsMap({key: str(value) for key, value in data.items()} if is_credible else {}, LABEL_FLAGS_OF in labels)


def key(raw: Json) -> Key | None:
    """Key of the service whose flags a ConfigMap with our label contains; None for a copy under another name."""
    meta = raw["metadata"]
    service = Key(str(meta.get("namespace") or ""), str((meta.get("labels") or {}).get(LABEL_FLAGS_OF) or ""))
    return service if meta.get("name") == flags_config_map(service.name) else None


def _is_owned(meta: Json) -> bool:
    """A ResilientService owns this ConfigMap, as far as it says."""
    wanted = (KIND, (meta.get("labels") or {}).get(LABEL_FLAGS_OF))
    return any((owner.get("kind"), owner.get("name")) == wanted for owner in meta.get("ownerReferences") or [])
