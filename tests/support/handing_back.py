"""A workload that the operator has adopted with managed fields, and whether it is the user's again.

Must not judge.
"""

from tests.support.kube import Object
from tests.support.shop_manifests import deployment, resilient, service
from tests.support.space import CLAIM, MANAGED, Space

PROBES: Object = {"readiness": {"check": "ready"}, "startup": {"check": "live"}}


def ours(found: Object) -> set[str]:
    """Names of the operator's labels and annotations on the object."""
    meta = found["metadata"]
    marks = {*(meta.get("labels") or {}), *(meta.get("annotations") or {})}
    return {mark for mark in marks if mark.startswith("resilience.dev/")}


def as_the_user_had_it(space: Space, before: Object) -> bool:
    """The shop's Deployment has the specification of `before`, and nothing of it is the operator's."""
    target = space.get("deployments", "shop")
    return target["spec"] == before["spec"] and not ours(target) and not ours(space.get("services", "shop"))


def with_managed_fields(space: Space) -> Object:
    """A shop whose template has managed fields; returns the Deployment as it was before."""
    space.apply(deployment(probe=None), service())
    before = space.get("deployments", "shop")
    space.start(resilient(probes=PROBES))
    space.request("adopt")
    space.wait_for("ProbesSynced", "True", reason="Applied")
    space.wait_running()
    target = space.get("deployments", "shop")
    assert ours(target) == {MANAGED, CLAIM}
    assert target["spec"] != before["spec"]
    return before
