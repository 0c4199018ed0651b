"""The readable parts of a specification that cannot be read as a whole: a later operator wrote it, or a person erred.

A part that fails by itself leaves the others at work. For handing a workload back any part is better than none.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from resilience.adapters.kube import readable
from resilience.api.alerts import Alerts
from resilience.api.restarts import Restart
from resilience.api.v1alpha1 import ResilientServiceSpec, TargetRef

# A specification with more wrong values than this is not worth the time.
_MOST: Final = 200

# Parts without which everything else is as it was. Without any other part releases or probes would change.
_SEPARATE: Final[Mapping[str, type[BaseModel]]] = {"alerts": Alerts, "restart": Restart}
# Fields of `restart` by which pods are restarted unasked: one wrong limit must not set them free.
_UNASKED: Final = ("policies", "onChange")


def partial(raw: object) -> ResilientServiceSpec | None:
    """The specification without the parts that cannot be read; None when one of these is more than a part."""
    if not isinstance(raw, Mapping):
        return None
    wrong = _wrong_parts(raw)
    if not wrong <= _SEPARATE.keys():
        return None
    rest = dict(raw)
    for part in wrong:
        rest[part] = _readable(_SEPARATE[part], raw[part])
    if "restart" in wrong:
        rest["restart"] = {name: value for name, value in rest["restart"].items() if name not in _UNASKED}
    try:
        return ResilientServiceSpec.model_validate(rest)
    except ValidationError:
        # Fields that are right by themselves may contradict one another.
        return None


def _wrong_parts(raw: Mapping[str, Any]) -> set[str]:
    try:
        ResilientServiceSpec.model_validate(raw)
    except ValidationError as error:
        return {str((*problem["loc"], "")[0]) for problem in error.errors(include_url=False, include_input=False)}
    return set()


def _readable(model: type[BaseModel], raw: object) -> dict[str, Any]:
    """The fields that are valid, each by itself."""

    def is_valid(name: str, value: object) -> bool:
        try:
            model.model_validate({name: value})
        except ValidationError:
            return False
        return True

    return {name: value for name, value in raw.items() if is_valid(name, value)} if isinstance(raw, Mapping) else {}


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
