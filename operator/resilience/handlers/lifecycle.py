"""Settings and login of kopf, and nothing else."""

from dataclasses import replace
from typing import Any

import kopf

from resilience.api.names import GROUP, LABEL_FLAGS_OF, LABEL_MANAGED, LABEL_MANAGED_VALUE

_WATCHED_BY_LABEL = (
    ("", "v1", "services"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("apps", "v1", "deployments"),
    ("apps", "v1", "statefulsets"),
    ("apps", "v1", "daemonsets"),
)


def settings(*, clusterwide: bool) -> kopf.OperatorSettings:
    """Settings with which kopf only watches, with filters on the server and time-outs everywhere."""
    kopf_settings = kopf.OperatorSettings()
    for group, version, plural in _WATCHED_BY_LABEL:
        kopf_settings.watching.label_selectors[group, version, plural] = f"{LABEL_MANAGED}={LABEL_MANAGED_VALUE}"
    kopf_settings.watching.label_selectors["", "v1", "configmaps"] = LABEL_FLAGS_OF
    kopf_settings.persistence.finalizer = f"{GROUP}/kopf"
    kopf_settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    kopf_settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    kopf_settings.watching.server_timeout = 600
    kopf_settings.watching.client_timeout = 630
    kopf_settings.watching.connect_timeout = 10
    kopf_settings.watching.inactivity_timeout = 70
    # Pages hold whole objects, and any tenant may put our labels on large ones.
    kopf_settings.watching.chunk_size = 10
    kopf_settings.queueing.worker_limit = None
    # Until then the worker of an object keeps its last event.
    kopf_settings.queueing.idle_timeout = 0.1
    kopf_settings.networking.request_timeout = 15
    kopf_settings.networking.error_backoffs = (0.5, 1, 2, 4)
    kopf_settings.posting.enabled = False
    # Definitions are cluster-scoped: with rights in a few namespaces only, they cannot be watched.
    kopf_settings.scanning.disabled = not clusterwide
    kopf_settings.peering.standalone = True
    kopf_settings.execution.default_backoff = 5
    return kopf_settings


def register_login(registry: kopf.OperatorRegistry, *, server: str) -> None:
    """Registers the login: the pod's service account at `server` in a cluster, the user's kubeconfig outside.

    kopf would go to kubernetes.default.svc, and its watches would need the cluster's DNS, unlike all other requests.
    """

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        account = kopf.login_with_service_account(**kwargs)
        return replace(account, server=server) if account is not None else kopf.login_with_kubeconfig(**kwargs)
