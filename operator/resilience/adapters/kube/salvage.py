"""The readable rest of a specification that is not in force: any part helps to hand a workload back.

`resilience.api.parts` reads one whose wrong parts leave the others at work.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from resilience.adapters.kube import readable
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetRef

# A specification with more wrong values than this is not worth the time.
_MOST: Final = 200


def target(raw: object) -> TargetRef | None:
    """The target that a raw specification names, or None when it names none that can be read."""
    try:
        return TargetRef.model_validate(raw.get("targetRef")) if isinstance(raw, Mapping) else None
    except ValidationError:
        return None


def remains(raw: object, *, name: str) -> ResilientServiceSpec | None:
    """The specification without the values that are wrong; None when nothing can be read.

    `name`: of the resource, for the target's name when the specification has none that can be read.
    """
    rest: dict[str, Any] = dict(copy.deepcopy(raw)) if isinstance(raw, Mapping) else {}
    if target(raw) is None:
        rest["targetRef"] = {"kind": "Deployment", "name": name}
    for _ in range(_MOST):
        try:
            return ResilientServiceSpec.model_validate(rest)
        except ValidationError as error:
            if not _drop(rest, error.errors(include_url=False, include_input=False)[0]["loc"]):
                return None
    return None


def _drop(raw: Any, path: Sequence[str | int]) -> bool:
    """Removes the deepest value on the path that exists; false when there is none.

    The path of a missing value leads to what misses it, and the names of a union's choices lead nowhere.
    """
    there = readable.present(raw, path)
    if there:
        del readable.holder(raw, there)[there[-1]]
    return bool(there)
