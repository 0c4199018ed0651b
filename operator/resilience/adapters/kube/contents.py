"""Keyed hashes of the content of ConfigMaps and Secrets, to detect changes; the content itself is not passed on.

The hash is part of the status, which people may read who must not read Secrets: without a key they could test guesses.
The key is the uid of the operator's Lease, which they cannot read and which stays the same when the leader changes.
"""

import hashlib
import hmac
import json

from resilience.adapters.kube.paths import named
from resilience.adapters.kube.reader import require_readable
from resilience.adapters.kube.transport import Transport
from resilience.api.names import LABEL_FLAGS_OF

_PLURALS = {"ConfigMap": "configmaps", "Secret": "secrets"}


class KubeContents:
    """Implements `ports.Contents` with one `get` per object. `lease`: namespace and name of the operator's Lease."""

    def __init__(self, *, transport: Transport, lease: tuple[str, str]) -> None:
        self._transport = transport
        self._lease = lease
        self._key = b""

    async def fingerprint(self, *, namespace: str, kind: str, name: str) -> str | None:
        """See `ports.Contents`."""
        raw = await self._transport.find(named(_PLURALS[kind], namespace, name))
        if raw is None:
            return None
        if kind == "Secret":
            require_readable(raw)
        if LABEL_FLAGS_OF in (raw["metadata"].get("labels") or {}):
            # Degradation flags reach running pods, and a lost dependency must restart none of them.
            raw = {}
        content = json.dumps([raw.get("data") or {}, raw.get("binaryData") or {}], sort_keys=True)
        return hmac.new(await self._secret_key(), content.encode(), hashlib.sha256).hexdigest()

    async def epoch(self) -> str:
        """See `ports.Contents`."""
        return hashlib.sha256(await self._secret_key()).hexdigest()[:8]

    async def _secret_key(self) -> bytes:
        if not self._key:
            raw = await self._transport.get(named("leases", *self._lease))
            self._key = str(raw["metadata"]["uid"]).encode()
        return self._key
