"""The readable parts of a specification that cannot be read as a whole: a later operator wrote it, or a person erred.

For handing a workload back, where any part is better than none. Nothing is rolled out or restarted by it.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

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
    holder, last, node = None, None, raw
    for part in path:
        is_there = part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))
        if not is_there:
            break
        holder, last, node = node, part, node[part]
    if holder is None:
        return False
    del holder[last]
    return True
