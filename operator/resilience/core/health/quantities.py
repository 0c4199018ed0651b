"""Conversion of API amounts (`90%`, `512Mi`, `750m`) to numbers, and of numbers to text for people."""

from typing import Final

from resilience.core.model.observation import Pod
from resilience.core.model.workload import Container, Resources

_SUFFIXES: Final = {
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
}


def share(percent: str, whole: float = 1.0) -> float:
    """A percentage of the whole; `80%` alone is 0.8."""
    return whole * float(percent.removesuffix("%")) / 100


def resolve(amount: str, whole: float | None) -> float | None:
    """The amount in bytes or cores; a percentage is of `whole`, and None when there is no whole."""
    if amount.endswith("%"):
        return None if whole is None else share(amount, whole)
    suffix = next((ending for ending in _SUFFIXES if amount.endswith(ending)), "")
    return float(amount.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1.0)


def resources(pod: Pod | None, container: Container) -> Resources:
    """Resources of the pod's container; those of the template when the pod, or its container, is not known."""
    return container.resources if pod is None else pod.resources.get(container.name, container.resources)


def whole(resources: Resources, resource: str, of: str) -> float | None:
    """The amount of this resource that is 100 %; None when there is no such limit or request."""
    return (resources.limits if of == "Limit" else resources.requests).get(resource)


def words(value: float, resource: str) -> str:
    """The value with its unit: `312 MiB` or `0.42 cores`."""
    return f"{value / 2**20:.0f} MiB" if resource == "memory" else f"{value:.2f} cores"
