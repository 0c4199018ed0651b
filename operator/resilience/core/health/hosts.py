"""The Host header of requests that go through a Service, and the plain headers of the spec.

Applications that check the Host header (Django's ALLOWED_HOSTS, Rails, ASP.NET) refuse the cluster IP, which nobody
can know when the application is configured. A pod's own address is what the kubelet's probes say, and such
applications are configured to accept it, so requests to a pod say that unless the spec sets another host.
"""

from typing import Final

from resilience.api.checks import Check, Scheme
from resilience.api.http import HttpRequest
from resilience.core.model.service import Service

_USUAL_PORTS: Final = {Scheme.HTTP: 80, Scheme.HTTPS: 443}


def service_host(service: Service, port: int, scheme: Scheme = Scheme.HTTP) -> str:
    """The Service's name as its clients write it, with the port unless it is the scheme's usual one."""
    name = f"{service.name}.{service.namespace}.svc"
    return name if port == _USUAL_PORTS[scheme] else f"{name}:{port}"


def check_host(check: Check, service: Service, port: int) -> str:
    """The Host that an http check of this Service says by default; empty for other checks."""
    return "" if check.http is None else service_host(service, port, check.http.scheme_ or Scheme.HTTP)


def plain_headers(http: HttpRequest) -> tuple[tuple[str, str], ...]:
    """The headers that the spec itself holds: names and values."""
    return tuple((header.name, header.value) for header in http.headers)
