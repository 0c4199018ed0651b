"""Amounts of the API (`90%`, `512Mi`, `750m`) as numbers, and numbers in words for people."""

from typing import Final

from resilience.core.model.workload import Container

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
    """`80%` of the whole: by itself 0.8."""
    return whole * float(percent.removesuffix("%")) / 100


def resolve(amount: str, whole: float | None) -> float | None:
    """Bytes or cores; a share of `whole`, and None when there is no whole to have a share of."""
    if amount.endswith("%"):
        return None if whole is None else share(amount, whole)
    suffix = next((each for each in _SUFFIXES if amount.endswith(each)), "")
    return float(amount.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1.0)


def whole(container: Container, resource: str, of: str) -> float | None:
    """What a percentage of this resource is of; None when the container sets no such limit or request."""
    return (container.limits if of == "Limit" else container.requests).get(resource)


def words(value: float, resource: str) -> str:
    """`312 MiB` or `0.42 cores`."""
    return f"{value / 2**20:.0f} MiB" if resource == "memory" else f"{value:.2f} cores"
