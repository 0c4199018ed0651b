"""How kopf runs: its settings in one place, its login, and nothing else."""

import logging
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
    """kopf as we use it: watches only, filtered by the server, with time-outs everywhere."""
    # One line for each event of each object says nothing that our own lines do not say better.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    made = kopf.OperatorSettings()
    for group, version, plural in _WATCHED_BY_LABEL:
        made.watching.label_selectors[group, version, plural] = f"{LABEL_MANAGED}={LABEL_MANAGED_VALUE}"
    made.watching.label_selectors["", "v1", "configmaps"] = LABEL_FLAGS_OF
    made.persistence.finalizer = f"{GROUP}/kopf"
    made.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    made.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    made.watching.server_timeout = 600
    made.watching.client_timeout = 630
    made.watching.connect_timeout = 10
    made.watching.inactivity_timeout = 70
    made.watching.chunk_size = 500
    made.queueing.worker_limit = None
    made.queueing.idle_timeout = 1
    made.networking.request_timeout = 15
    made.networking.error_backoffs = (0.5, 1, 2, 4)
    made.posting.enabled = False
    # Definitions belong to the cluster: with rights in a few namespaces only they cannot be watched.
    made.scanning.disabled = not clusterwide
    made.peering.standalone = True
    made.execution.default_backoff = 5
    return made


def register_login(registry: kopf.OperatorRegistry) -> None:
    """The pod's service account in a cluster, the user's kubeconfig outside."""

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
