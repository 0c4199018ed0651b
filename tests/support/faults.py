"""Pods in trouble, as the reader builds them. Must not judge."""

from resilience.core.model.observation import Pod
from tests.support.factories import make_pod

IMAGE = "registry.example.com/shop/checkout:2.0"


def broken(fault: str, words: str = "", **fields: object) -> Pod:
    """A pod that is not ready, with the fault and the text that a kubelet or scheduler has for it."""
    return make_pod("green-1", ready=False, fault=fault, trouble=f"{fault}: {words}" if words else fault, **fields)
