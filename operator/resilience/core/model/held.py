"""Tells which template a held target serves with: the record on the target, unless the pods contradict it.

The record is a hash in an annotation, so it can be wrong. A later API server defaults one more field, a later operator
hashes anew, and `kubectl rollout undo` restores the annotations that an old ReplicaSet carries. A paused Deployment
moves no pod to another template, so the ReplicaSet that has pods is the one that serves.
"""

from collections.abc import Iterable

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_LEFT, ANNOTATION_PAUSED_FOR, ANNOTATION_SERVING
from resilience.core.model.workload import ReplicaSet, Workload


def is_held(workload: Workload) -> bool:
    """The operator has paused the target for blue-green and has not handed it back, even if its record was lost.

    Field ownership survives what replaces the annotations: only this operator's own pause is its own.
    """
    notes = workload.annotations
    if ANNOTATION_SERVING in notes:
        return True
    is_explained = ANNOTATION_PAUSED_FOR in notes or ANNOTATION_LEFT in notes
    is_failed = notes.get(ANNOTATION_FAILED) == workload.template.fingerprint
    return workload.paused and workload.paused_by_operator and not is_explained and not is_failed


def serving_template(workload: Workload, replica_sets: Iterable[ReplicaSet], *, known: str = "") -> str:
    """Fingerprint of the template that the target's own pods serve with; empty when the operator does not hold it.

    A template that failed does not count, unless it is `known` to serve or no other one can be meant.
    """
    if not is_held(workload):
        return ""
    noted = workload.annotations.get(ANNOTATION_SERVING, "")
    sets = tuple(replica_sets)
    active = [replica_set for replica_set in sets if replica_set.replicas]
    if any(replica_set.fingerprint == noted for replica_set in active):
        return noted
    is_certain = any(replica_set.fingerprint == noted for replica_set in sets)
    failed = workload.annotations.get(ANNOTATION_FAILED) if is_certain else None
    able = [replica_set for replica_set in active if replica_set.fingerprint == known] or [
        replica_set for replica_set in active if replica_set.fingerprint != failed
    ]
    # Between several, the wanted one came last and has not proved itself.
    wanted = workload.template.fingerprint
    best = max(able, key=lambda candidate: (candidate.replicas, candidate.fingerprint != wanted), default=None)
    return best.fingerprint if best is not None else noted
