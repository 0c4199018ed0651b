"""Requests to the API server, counted by verb and resource: by itself, by its audit log, and by Argo Rollouts.

The API server's own counters know no client. Of reads they hold those of every client, but in this cluster only who is
measured reads by `get` and `list`; writes are counted by the audit log, which knows who wrote.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# By verb and resource, as Kubernetes names them: ("list", "services").
Requests = Counter[tuple[str, str]]
READS: Final = ("get", "list")
# Events tell people, and leases are renewed whatever happens.
_LEFT_OUT: Final = ("events", "leases")
_SERVER: Final = "apiserver_request_total"
_ARGO: Final = "controller_clientset_k8s_request_total"
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def reads_of_server(metrics: str) -> Requests:
    """Reads of single objects and of collections by all clients since the API server's start."""
    counts = Requests()
    for labels, value in _samples(metrics, _SERVER):
        if not labels.get("subresource") and labels["verb"].lower() in READS:
            _add(counts, labels["verb"], labels["resource"], value)
    return counts


def requests_of_argo(metrics: str) -> Requests:
    """Requests of Argo Rollouts since its start, without watches."""
    counts = Requests()
    for labels, value in _samples(metrics, _ARGO):
        if labels["verb"] not in ("Watch", "Unknown"):
            _add(counts, labels["verb"], labels["kind"], value)
    return counts


@dataclass(slots=True)
class AuditLog:
    """Writes of one user, from lines that the log gets after this object was made."""

    file: Path
    user: str
    _position: int = field(init=False)
    _writes: Requests = field(init=False, default_factory=Requests)

    def __post_init__(self) -> None:
        self._position = self.file.stat().st_size

    def writes(self) -> Requests:
        """All of them so far."""
        with self.file.open("rb") as log:
            # A log that is begun anew is shorter.
            log.seek(self._position if self._position <= self.file.stat().st_size else 0)
            for line in log:
                if not line.endswith(b"\n"):
                    # It is still being written.
                    break
                self._position += len(line)
                self._count(json.loads(line))
        return Requests(self._writes)

    def _count(self, entry: Mapping[str, Mapping[str, str]]) -> None:
        if entry["user"]["username"] == self.user:
            _add(self._writes, str(entry["verb"]), entry["objectRef"]["resource"], 1)


def only_writes(requests: Requests) -> Requests:
    """Those that change something."""
    return Requests({key: count for key, count in requests.items() if key[0] not in READS})


def most(requests: Requests, releases: int) -> Iterator[tuple[str, float]]:
    """Verb and resource with the requests of one release, the most frequent first."""
    for (verb, resource), count in sorted(requests.items(), key=lambda item: (-item[1], item[0])):
        yield f"{verb} {resource}", count / releases


def _samples(metrics: str, name: str) -> Iterable[tuple[dict[str, str], int]]:
    """Labels and values of one metric. Only its lines are read: an API server has tens of thousands."""
    for line in metrics.splitlines():
        if line.startswith(f"{name}{{"):
            labels, _, value = line.rpartition(" ")
            yield dict(_LABEL.findall(labels)), round(float(value))


def _add(counts: Requests, verb: str, resource: str, count: int) -> None:
    if resource not in _LEFT_OUT:
        counts[verb.lower(), resource] += count
