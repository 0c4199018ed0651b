"""Observed routes of traffic: Services and the endpoints that they list."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from resilience.api.names import LABEL_TEMPLATE_HASH
from resilience.core.model.workload import Labels


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service. `target` is a container port's name or number."""

    name: str
    number: int
    target: int | str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service. `cluster_ip` is empty when it is headless."""

    namespace: str
    name: str
    selector: Labels
    cluster_ip: str
    ports: tuple[ServicePort, ...]
    managed: bool
    resource_version: str = ""
    # True when the operator added the template hash to its selector.
    pinned: bool = False
    # Name of the Deployment whose candidates this Service previews; empty for every other Service.
    preview_of: str = ""
    # The Apply manager that owns the selector, unless its owner accepts that a rollout pins it; else empty.
    selector_owner: str = ""
    # Families of the addresses that clients reach it by (IPv4, IPv6), the primary one first; empty when not known.
    families: tuple[str, ...] = ()
    # What is wrong with it; empty when it could be read. Else only names and selector are known.
    unread: str = ""

    @property
    def pin(self) -> str:
        """The template hash that the Service is pinned to; empty when it is not pinned."""
        return self.selector.get(LABEL_TEMPLATE_HASH, "") if self.pinned else ""

    @property
    def base(self) -> Labels:
        """The selector without the operator's pin."""
        if not self.pinned:
            return self.selector
        return {key: value for key, value in self.selector.items() if key != LABEL_TEMPLATE_HASH}

    def concerns(self, labels: Labels) -> bool:
        """The Service selects pods with these labels when it is not pinned."""
        base = self.base
        return bool(base) and base.items() <= labels.items()

    def selects(self, labels: Labels) -> bool:
        """The Service selects pods with these labels; a Service without a selector selects none."""
        return bool(self.selector) and self.selector.items() <= labels.items()

    def port(self, wanted: int | str) -> ServicePort | None:
        """The port of that name or number, or None."""
        return next((port for port in self.ports if wanted in (port.name, port.number)), None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod as an EndpointSlice of one Service lists it, at its address of one family."""

    service: str
    pod_name: str
    pod_uid: str
    ip: str
    serving: bool
    terminating: bool
    # Port numbers at the pod by port name of the Service.
    ports: Mapping[str, int] = field(default_factory=dict)
    # Family of the slice: a dual-stack Service has a slice for each, and they do not change at the same moment.
    family: str = ""

    @property
    def counts(self) -> bool:
        """New connections may go to the pod."""
        return self.serving and not self.terminating
