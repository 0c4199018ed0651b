"""Implements the port `Cluster` over the Kubernetes API: reads and writes together."""

from collections.abc import Sequence

from resilience.adapters.kube.flags import KubeFlags
from resilience.adapters.kube.reader import KubeReader
from resilience.adapters.kube.releases import KubeRollouts
from resilience.adapters.kube.transport import Transport
from resilience.adapters.kube.writer import KubeWriter


class KubeCluster(KubeReader, KubeWriter, KubeRollouts, KubeFlags):
    """Implements `ports.Cluster` over one transport."""

    def __init__(self, *, transport: Transport, namespaces: Sequence[str], instance: str) -> None:
        KubeReader.__init__(self, transport=transport, namespaces=namespaces)
        KubeWriter.__init__(self, transport=transport, instance=instance)
        KubeRollouts.__init__(self, transport=transport)
        KubeFlags.__init__(self, transport=transport)
