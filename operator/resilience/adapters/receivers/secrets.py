"""What a receiver's specification names in its own namespace, as the rest of the adapters name it."""

from resilience.api.secrets import FromSecret, Tls
from resilience.core.asks import SecretRef, TlsTrust
from resilience.core.observation import Key


def ref(source: FromSecret | None, key: Key) -> SecretRef | None:
    """A key of a Secret."""
    if source is None:
        return None
    return SecretRef(key.namespace, source.secret_key_ref.name, source.secret_key_ref.key)


def trust(tls: Tls | None, key: Key) -> TlsTrust | None:
    """How a certificate is verified; None for the system's authorities and the address's own name."""
    return None if tls is None else TlsTrust(ref(tls.ca_from, key), tls.server_name or "")
