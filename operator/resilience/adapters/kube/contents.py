"""Content of ConfigMaps and Secrets as a hash, to see that it changed; the content itself goes nowhere."""

import hashlib
import json

from resilience.adapters.kube.paths import named
from resilience.adapters.kube.reader import require_readable
from resilience.adapters.kube.transport import Transport
from resilience.ports import Invalid

_PLURALS = {"ConfigMap": "configmaps", "Secret": "secrets"}


class KubeContents:
    """`Contents` over the API, one `get` for each object."""

    def __init__(self, *, transport: Transport) -> None:
        self._transport = transport

    async def fingerprint(self, *, namespace: str, kind: str, name: str) -> str:
        """See `ports.Contents`."""
        raw = await self._transport.find(named(_PLURALS[kind], namespace, name))
        if raw is None:
            raise Invalid(f"there is no {kind} {name}")
        if kind == "Secret":
            require_readable(raw)
        content = json.dumps([raw.get("data") or {}, raw.get("binaryData") or {}], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()
