"""Policies that select pods by labels, as far as a pod that leaves its Services has to know."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PodPolicy:
    """A policy of the network or of a service mesh that selects the target's pods by these label keys."""

    kind: str
    # With its namespace, unless it has none.
    name: str
    labels: frozenset[str]
