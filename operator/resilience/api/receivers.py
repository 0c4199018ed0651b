"""`AlertReceiver` v1alpha1: a destination of alerts. Secrets are read in its own namespace only."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from resilience.api.base import ApiModel, rule, validated
from resilience.api.http import ONE_LOGIN, Authenticated, Proxied
from resilience.api.rules import at_least, at_most
from resilience.api.scalars import Duration, HttpUrl, ObjectName
from resilience.api.secrets import FromSecret, Tls
from resilience.api.status_receiver import ReceiverStatus

_KINDS: Final = ("alertmanager", "webhook", "pagerduty", "slack", "msteams", "email", "apprise")
_ADDRESS: Final = r"^[^\s@<>,;]{1,64}@[^\s@<>,;]{1,253}$"
_CHANNEL: Final = r"^[#@]?[A-Za-z0-9._-]+$"
_HELLO: Final = r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[(IPv6:)?[0-9a-fA-F:.]+\])$"
EmailAddress = Annotated[str, Field(min_length=3, max_length=320, pattern=_ADDRESS)]


class ServicePort(ApiModel):
    """A Service, of this or another namespace; every address behind a headless one gets the alerts."""

    name: ObjectName = Field(description="Name of the Service.")
    namespace: ObjectName | None = Field(default=None, description="Its namespace; default that of the receiver.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=9093, description="Number of the port.")


class AlertmanagerReceiver(Proxied, Authenticated):
    """Alertmanager does the routing: every alert is sent by itself, repeated while it fires, and ended."""

    model_config = validated(
        rule("has(self.service) != has(self.urls)", "alertmanager has either a service or urls: set exactly one"),
        rule("!has(self.proxy) || has(self.urls)", "a Service has no proxy before it: take alertmanager.proxy away"),
        ONE_LOGIN,
    )

    service: ServicePort | None = None
    urls: list[HttpUrl] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Addresses of all its replicas, e.g. http://alertmanager-0.alertmanager:9093.",
    )
    headers_from: FromSecret | None = Field(
        default=None, description="Request headers, one `Name: value` a line, e.g. for authentication."
    )
    tls: Tls | None = Field(default=None, description="Verification of the certificate.")


class WebhookReceiver(Proxied, Authenticated):
    """A POST of the body that Alertmanager's webhook receivers read (version 4), signed if a key is given."""

    model_config = validated(ONE_LOGIN)

    url_from: FromSecret = Field(description="The address.")
    headers_from: FromSecret | None = Field(
        default=None, description="Request headers, one `Name: value` a line, e.g. for a gateway."
    )
    hmac_from: FromSecret | None = Field(
        default=None, description="Key of the HMAC-SHA256 in X-Resilience-Signature, over timestamp and body."
    )
    tls: Tls | None = Field(default=None, description="Verification of the certificate.")


class Region(StrEnum):
    """Region of a PagerDuty account."""

    US = "US"
    EU = "EU"


class PagerDutyReceiver(Proxied):
    """PagerDuty by Events API v2: an incident is triggered once, and resolved."""

    routing_key_from: FromSecret = Field(description="Integration key of the service.")
    region: Region = Field(default=Region.US, description="US or EU.")


class SlackReceiver(Proxied):
    """Slack. With a bot's token a conversation is one message that is kept up to date."""

    model_config = validated(
        rule("has(self.urlFrom) != has(self.tokenFrom)", "slack has either urlFrom (a webhook) or tokenFrom (a bot)"),
        rule("!has(self.tokenFrom) || has(self.channel)", "slack.tokenFrom needs slack.channel: where the bot writes"),
        rule(
            "!has(self.urlFrom) || !has(self.channel)", "a Slack webhook has its own channel: take slack.channel away"
        ),
    )

    url_from: FromSecret | None = Field(default=None, description="Address of an incoming webhook.")
    token_from: FromSecret | None = Field(default=None, description="Token of a bot with the scope chat:write.")
    channel: Annotated[str, Field(min_length=1, max_length=80, pattern=_CHANNEL)] | None = Field(
        default=None, description="Channel that the bot writes to, e.g. C0123456789 or #oncall."
    )


class TeamsReceiver(Proxied):
    """Microsoft Teams by a Workflows webhook, as adaptive cards."""

    url_from: FromSecret = Field(description="Address of the workflow.")


class StartTls(StrEnum):
    """Encryption of the connection to the mail server."""

    REQUIRED = "Required"
    IMPLICIT = "Implicit"
    NEVER = "Never"


class EmailReceiver(ApiModel):
    """Mail; the messages of a conversation are a thread."""

    model_config = validated(
        rule(
            "!has(self.authFrom) || !has(self.startTls) || self.startTls != 'Never'",
            "email.authFrom would send a password in the clear: use startTls Required or Implicit",
        )
    )

    host: ObjectName = Field(description="Mail server.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=587, description="Its port.")
    from_: EmailAddress = Field(alias="from", description="Sender.")
    to: list[EmailAddress] = Field(
        min_length=1, max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"}, description="Recipients."
    )
    auth_from: FromSecret | None = Field(default=None, description="`user:password`.")
    hello: Annotated[str, Field(min_length=1, max_length=253, pattern=_HELLO)] | None = Field(
        default=None,
        description="Full name, or address in brackets, that is said in EHLO; default the domain of from.",
    )
    start_tls: StartTls = Field(
        default=StartTls.REQUIRED, description="Required (STARTTLS), Implicit (TLS from the start) or Never."
    )
    tls: Tls | None = Field(default=None, description="Verification of the certificate.")


class AppriseReceiver(ApiModel):
    """Any other service, by an Apprise address: https://github.com/caronc/apprise/wiki."""

    url_from: FromSecret = Field(description="The address, e.g. ntfys://token@host/topic.")


class AlertReceiverSpec(ApiModel):
    """Destination of alerts: exactly one kind."""

    model_config = validated(
        rule(
            f"[{', '.join(f'has(self.{kind})' for kind in _KINDS)}].filter(x, x).size() == 1",
            f"an AlertReceiver has exactly one kind: set one of {', '.join(_KINDS[:-1])} or {_KINDS[-1]}",
        ),
        at_least("timeout", "1s"),
        at_most("timeout", "1m"),
    )

    alertmanager: AlertmanagerReceiver | None = None
    webhook: WebhookReceiver | None = None
    pagerduty: PagerDutyReceiver | None = None
    slack: SlackReceiver | None = None
    msteams: TeamsReceiver | None = None
    email: EmailReceiver | None = None
    apprise: AppriseReceiver | None = None
    send_resolved: bool = Field(default=True, description="True: a message is sent when a conversation ends.")
    fallback: ObjectName | None = Field(
        default=None, description="AlertReceiver of this namespace that is notified while this one cannot be reached."
    )
    timeout: Duration = Field(default=timedelta(seconds=10), description="Longest time of one delivery.")
    suspend: bool = Field(
        default=False, description="True: nothing is sent; messages that were sent before stay as they are."
    )

    @property
    def kind(self) -> str:
        """The name of the one kind that is set."""
        return next((kind for kind in _KINDS if getattr(self, kind) is not None), "")


class AlertReceiver(ApiModel):
    """A destination for notifications about alerts."""

    spec: AlertReceiverSpec
    status: ReceiverStatus | None = None
