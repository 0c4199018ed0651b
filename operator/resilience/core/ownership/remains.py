"""The specification by which a workload is handed back, whatever its resource says: no hand-back needs a readable one.

The workload is the one that carries the claim. What cannot be read has its default, or the value that status kept.
"""

from dataclasses import replace

from resilience.api.status import Effective
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetRef
from resilience.core.model.observation import Resource
from resilience.core.model.profiles import resolve
from resilience.core.model.workload import Workload


def completed(resource: Resource, workload: Workload) -> Resource:
    """The resource with a specification of this workload, as far as it can be read."""
    target = TargetRef(kind=workload.kind, name=workload.name)
    spec = resource.spec or resource.remains or ResilientServiceSpec(target_ref=target)
    if resource.spec is not None and resource.spec.target_ref == target:
        return resource
    return replace(resource, spec=spec.model_copy(update={"target_ref": target}))


def settings(resource: Resource, spec: ResilientServiceSpec) -> Effective:
    """The settings in force: those of the specification, or, when it cannot be read, the last that could."""
    known = resource.status.effective
    return known if resource.spec is None and known is not None else resolve(spec)
