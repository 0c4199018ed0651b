"""References to Secrets in the namespace of the resource."""

from pydantic import Field

from resilience.api.base import ApiModel
from resilience.api.scalars import ObjectName, SecretKey


class SecretKeyRef(ApiModel):
    """A key of a Secret in the same namespace that carries the label resilience.dev/readable=true."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretKey = Field(description="Key in its data.")


class FromSecret(ApiModel):
    """A value kept in a Secret; read again every ten minutes and when it is refused."""

    secret_key_ref: SecretKeyRef


class HeadersFrom(FromSecret):
    """Request headers kept in a Secret, one `Name: value` a line."""


class Tls(ApiModel):
    """Verification of a server's certificate: by the system's authorities, or by those in a Secret."""

    ca_from: FromSecret | None = Field(default=None, description="PEM certificates of the authorities to trust.")
    server_name: ObjectName | None = Field(
        default=None, description="Name that the certificate has to contain, when it is not the address's."
    )
