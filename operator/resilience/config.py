"""All settings of the process, from the environment; docs/reference/settings.md is generated from here."""

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_RECEIVER: Final = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"
_URL: Final = r"^(https?://[^\s@]+)?$"
# Without user and password, which would be shown with every value of the environment.
_PROXY: Final = r"^(http://([^\s/?#@:\[\]]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?)?$"


class Settings(BaseSettings):
    """Read once at start from variables with the prefix `RESILIENCE_`."""

    model_config = SettingsConfigDict(env_prefix="RESILIENCE_", frozen=True)

    namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Namespaces to manage, separated by commas; empty for all."
    )
    refused_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("kube-system", "kube-public", "kube-node-lease"),
        description="Namespaces that are never touched, separated by commas.",
    )
    services_per_namespace: int = Field(
        default=500, ge=1, le=10_000, description="ResilientServices of one namespace that are looked after."
    )
    pod_name: str = Field(default="resilience-operator", description="Name of this pod; its identity as leader.")
    pod_namespace: str = Field(default="default", description="Namespace of this pod and of the Lease.")
    lease_name: str = Field(default="resilience-operator", description="Name of the Lease.")
    operator_deployment: str = Field(
        default="resilience-operator", description="The operator's own Deployment, which `release` scales to zero."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged."
    )
    log_format: Literal["json", "console", "auto"] = Field(
        default="auto", description="json, console, or auto: console on a terminal."
    )
    settings_file: str = Field(
        default="",
        description="File with settings that are applied while the operator runs: log_level, policy_restarts and"
        " policy_restarts_per_namespace, as JSON; empty for none.",
    )
    http_port: int = Field(default=8080, ge=1, le=65535, description="Port of /healthz, /readyz and /metrics.")
    flags_port: int = Field(
        default=8081, ge=0, le=65535, description="Port of degradation flags over HTTP; 0 for none."
    )
    flags_readers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="ServiceAccounts that may read the flags of every namespace, separated by commas: "
        "system:serviceaccount:<namespace>:<name>.",
    )
    workers: int = Field(
        default=32, ge=1, le=64, description="Services reconciled at once; one namespace alone has half of them."
    )
    check_concurrency: int = Field(
        default=128, ge=1, le=1000, description="Health checks run at once; one namespace alone has half of them."
    )
    policy_restarts: int = Field(
        default=10, ge=1, le=1000, description="Services whose pods policies restart at once, in the whole cluster."
    )
    policy_restarts_per_namespace: int = Field(default=3, ge=1, le=1000, description="The same in one namespace.")
    usage_interval: timedelta = Field(
        default=timedelta(seconds=15), description="Time between two lists of a namespace's usage, in ISO 8601: PT5M."
    )
    verify_requests_per_second: int = Field(
        default=200, ge=1, le=5000, description="Limit on measuring requests, for the whole operator."
    )
    api_timeout: float = Field(default=10.0, gt=0, le=60, description="Seconds that one API request may take.")
    resync_interval: timedelta = Field(
        default=timedelta(minutes=5), description="Time between two full lists, in ISO 8601: PT5M."
    )
    allowed_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="CIDRs that checks may connect to although they are refused by default, separated by commas.",
    )
    proxy_http: str = Field(
        default="", pattern=_PROXY, description="Proxy for http addresses outside of the cluster; empty for none."
    )
    proxy_https: str = Field(
        default="",
        pattern=_PROXY,
        description="Proxy for https addresses, which is asked for tunnels: http://proxy.example:3128; empty for none.",
    )
    no_proxy: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Domains, addresses and CIDRs that are reached without a proxy, each with a port or without;"
        " separated by commas.",
    )
    proxy_credentials: SecretStr = Field(
        default=SecretStr(""), description="`user:password` for the proxies; empty for none."
    )
    prometheus_url: str = Field(
        default="",
        # Without user and password, which would be shown with every value of the environment.
        pattern=r"^(https?://[^\s/?#@]+(/[^\s?#@]*)?)?$",
        description="Server that prometheus checks query, e.g. http://prometheus.monitoring:9090; empty for none.",
    )
    prometheus_token_file: str = Field(
        default="", description="File with the bearer token for that server; empty for none."
    )
    prometheus_ca_file: str = Field(
        default="",
        description="File with the authorities that its certificate is verified with; empty for the system's.",
    )
    prometheus_headers_file: str = Field(
        default="",
        description="File with further headers for it, one `Name: value` a line: X-Scope-OrgID; empty for none.",
    )
    prometheus_basic_auth_file: str = Field(
        default="", description="File with `user:password` for basic authentication there; empty for none."
    )
    prometheus_oauth2_token_url: str = Field(
        default="",
        pattern=_URL,
        description="Token endpoint of the OAuth2 server whose tokens it takes; empty: none.",
    )
    prometheus_oauth2_client_id: str = Field(default="", description="Identifier of the OAuth2 client.")
    prometheus_oauth2_client_secret_file: str = Field(default="", description="File with the secret of that client.")
    prometheus_oauth2_scopes: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Scopes of the tokens, separated by commas."
    )

    alerts_default_receiver: str = Field(
        default="",
        pattern=_RECEIVER,
        description="AlertReceiver for alerts that nothing else routes, as namespace/name; empty for none.",
    )
    alerts_heartbeat_receiver: str = Field(
        default="",
        pattern=_RECEIVER,
        description="AlertReceiver that gets a regular heartbeat while the operator lives, as namespace/name.",
    )
    alerts_heartbeat_interval: timedelta = Field(
        default=timedelta(minutes=1), description="Time between two heartbeats, in ISO 8601: PT1M."
    )
    alerts_runbook_url: str = Field(
        default="",
        pattern=_URL,
        description="Base URL of the pages of docs/runbooks; messages link to <this>/<alert>.md. Empty for no link.",
    )
    alerts_cluster: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9._-]*$")] = Field(
        default="",
        description="Name of this cluster, for receivers of several clusters: in every message, in PagerDuty's"
        " dedup_key, and as the label `cluster`.",
    )
    alerts_dashboard_url: str = Field(
        default="",
        pattern=_URL,
        description="Dashboard that messages lead to; {namespace} and {service} are filled in. Empty for no link.",
    )

    @field_validator(
        "namespaces",
        "refused_namespaces",
        "allowed_networks",
        "flags_readers",
        "no_proxy",
        "prometheus_oauth2_scopes",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def finalizers(self) -> bool:
        """Resources get a finalizer: not where our rights are in their namespace, and may end before they do."""
        return not self.namespaces

    @property
    def installation(self) -> str:
        """Name of this installation among those of the cluster: namespace/name of its Lease."""
        return f"{self.pod_namespace}/{self.lease_name}"

    def refuses(self, namespace: str) -> bool:
        """The operator must not touch this namespace."""
        if namespace in self.refused_namespaces:
            return True
        return bool(self.namespaces) and namespace not in self.namespaces
