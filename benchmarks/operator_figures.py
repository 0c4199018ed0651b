"""The operator's own figures, as its metrics have them."""

import time
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.burst import Figures
from benchmarks.counting import AuditLog, reads_of_server
from tests.cluster.paths import AUDIT_LOG
from tests.support.release import NAME, NAMESPACE, Release

_EVENTS: Final = "resilience_operator_event_to_action_seconds"
_USER: Final = f"system:serviceaccount:{NAMESPACE}:{NAME}"


@dataclass(frozen=True, slots=True)
class Sample:
    """The operator's own metrics at one moment. `requests` by verb; `events`: count by upper bound in seconds."""

    at: float
    cpu: float
    rss: float
    series: int
    passes: float
    requests: dict[str, float]
    events: dict[float, float]


@dataclass(frozen=True, slots=True)
class Span:
    """The change between two moments."""

    before: Sample
    after: Sample

    @property
    def seconds(self) -> float:
        return self.after.at - self.before.at

    @property
    def cpu(self) -> float:
        """Share of a core."""
        return (self.after.cpu - self.before.cpu) / self.seconds

    def per_minute(self, *verbs: str) -> float:
        """Requests to the API a minute; all of them without a verb."""
        made = {verb: count - self.before.requests.get(verb, 0) for verb, count in self.after.requests.items()}
        return sum(count for verb, count in made.items() if not verbs or verb in verbs) * 60 / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds from an event to the action, as histogram_quantile has it."""
        counts = sorted((bound, count - self.before.events.get(bound, 0)) for bound, count in self.after.events.items())
        whole = counts[-1][1] if counts else 0.0
        low, below = 0.0, 0.0
        for bound, count in counts:
            if whole and count >= share * whole:
                within = (share * whole - below) / (count - below) if count > below else 1.0
                return low if bound == float("inf") else low + (bound - low) * within
            low, below = bound, count
        return float("nan")


def sample(release: Release) -> Sample:
    """The leader's metrics now."""
    text = release.kube.text(f"/api/v1/namespaces/{release.kube.namespace}/pods/{release.leader()}:8080/proxy/metrics")
    values: dict[str, float] = {}
    requests: dict[str, float] = {}
    events: dict[float, float] = {}
    passes, series = 0.0, 0
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            series += 1
            values[each.name] = each.value
            if each.name == "resilience_operator_api_requests_total":
                requests[each.labels["verb"]] = requests.get(each.labels["verb"], 0) + each.value
            elif each.name == f"{_EVENTS}_bucket":
                events[float(each.labels["le"])] = each.value
            elif each.name == "resilience_operator_reconciles_total":
                passes += each.value
    cpu, rss = values["process_cpu_seconds_total"], values["process_resident_memory_bytes"]
    return Sample(time.monotonic(), cpu, rss, series, passes, requests, events)


class Operator:
    """The operator as a controller to be measured; its leader must stay the same meanwhile."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._log = AuditLog(AUDIT_LOG, _USER)

    def figures(self) -> Figures:
        """Now. Reads are those of all clients."""
        now = sample(self._release)
        requests = reads_of_server(self._release.kube.text("/metrics")) + self._log.writes()
        return Figures(cpu=now.cpu, rss=now.rss, passes=now.passes, requests=requests)
