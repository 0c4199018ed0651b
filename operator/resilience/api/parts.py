"""Reads a specification part by part: what is wrong in one part must not stop what the others are for.

The smallest unit that can be left out without harm is left out: a route, a silence, a check, a policy, a flag, else the
part. Where that would do harm, the last readable settings stay in force. Wrong values get here that no rule of a CRD
finds, and a later version's words after a rollback of the operator.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from resilience.api.checks import CHECK_KINDS
from resilience.api.restarts import POLICY_KINDS
from resilience.api.status import LONGEST_SETTINGS
from resilience.api.v1alpha1 import Drain, Promotion, ResilientServiceSpec, Rollout, Strategy, TargetKind

Path = tuple[int | str, ...]
# The last readable settings of a part, as status keeps them.
Known = Mapping[str, str]

# A specification with more wrong values than this is not worth the time.
_MOST: Final = 200
_BY_ITEM: Final = frozenset(
    {
        ("alerts", "routes"),
        ("alerts", "silences"),
        ("health", "checks"),
        ("restart", "policies"),
        ("degradation", "flags"),
    }
)
_BY_FIELD: Final = frozenset({"alerts", "health", "restart"})
_AS_A_WHOLE: Final = frozenset({"degradation", "slo", "probes", "verify"})
# Of these exactly one has to be set, and one that this version does not know was set by a later one.
_KINDS: Final = ((("health", "checks"), CHECK_KINDS), (("restart", "policies"), POLICY_KINDS))
# Parts whose last readable settings stay in force.
_KEPT: Final[Mapping[str, type[BaseModel]]] = {"rollout": Rollout, "drain": Drain}
# Fields of `restart` by which pods are restarted unasked: without a limit that is wrong nothing may set them free.
_UNASKED: Final = ("policies", "onChange")
_LIMITS: Final[Sequence[Path]] = (("restart", "coolDown"), ("restart", "budget"), ("restart", "windows"))
_EFFECTS: Final[Mapping[Path, str]] = {
    ("alerts",): "it is left out",
    ("alerts", "routes"): "this route is left out",
    ("alerts", "silences"): "this silence silences nobody",
    ("health",): "the default is in force",
    ("health", "checks"): "this check does not run",
    ("restart",): "the default is in force",
    ("restart", "policies"): "this policy restarts nothing",
    ("restart", "onChange"): "changed configuration restarts nothing",
    **dict.fromkeys(_LIMITS, "neither policies nor onChange restart anything"),
    ("degradation",): "the flags stay as they are",
    ("degradation", "flags"): "this flag stays as it is",
    ("slo",): "outages are recorded, and the objective is not judged",
    ("probes",): "managed fields stay as they are",
    ("verify",): "nothing is measured",
    ("rollout",): "no release begins, and one in flight ends by the last settings that could be read",
    ("drain",): "the last settings that could be read stay in force",
}
_PASSWORD: Final = re.compile(r"(?<=://)\S*@")
# The value of a header may be a secret.
_UNSHOWN: Final = "value"
_LONGEST_VALUE: Final = 80
_LONGEST_WORDS: Final = 300
# What is in the place of an object may be a secret whose name was meant.
_OBJECTS: Final = ("model_type", "model_attributes_type", "dict_type", "list_type")


@dataclass(frozen=True, slots=True)
class Problem:
    """A value that cannot be read. `part`: the field of the specification, `item`: the name of what is left out of it.

    `item` is empty when what is left out has no name, or is more than one check, policy or flag.
    """

    part: str
    item: str
    # The path, the value, what is wrong with it, and what is not in force because of it.
    words: str
    # A check of a dependency, or maybe one, is left out: nothing is known of that dependency.
    hides_dependency: bool = False


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A wrong value: its path, itself, and what is wrong with it."""

    path: Path
    value: object
    words: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A specification as far as it is in force, and what is wrong with it; `spec` is None when too much is."""

    spec: ResilientServiceSpec | None
    problems: tuple[Problem, ...] = ()


def read(raw: object, known: Known) -> Reading:
    """The readable parts of a specification. `known`: the last readable settings, as `settings` has written them."""
    content: Any = raw
    problems: list[Problem] = []
    for _ in range(_MOST):
        spec, wrong = _validated(content)
        if not wrong:
            return Reading(spec, tuple(problems))
        content = copy.deepcopy(content) if content is raw else content
        problems += [_problem(content, entry) for entry in wrong]
        # From the end of lists, so that the indices of the others stay right.
        units = sorted({_unit(entry.path) for entry in wrong}, key=_sorted_as, reverse=True)
        if not all(unit and _leave_out(content, unit, known) for unit in units):
            break
    return Reading(None, tuple(problems))


def settings(part: BaseModel) -> str:
    """A part as JSON, for the time in which it cannot be read; empty when it is too long for a status."""
    text = part.model_dump_json(by_alias=True, exclude_defaults=True)
    return text if len(text) <= LONGEST_SETTINGS else ""


def _unit(location: Sequence[int | str]) -> Path:
    """The path of the smallest unit around a value that may be left out; empty when nothing works without it."""
    path = tuple(location)
    if path[:2] in _BY_ITEM and len(path) > 2:
        return path[:3]
    if path and path[0] in _BY_FIELD:
        return path[:2]
    return path[:1] if path and (path[0] in _AS_A_WHOLE or path[0] in _KEPT) else ()


def _sorted_as(path: Path) -> list[str]:
    return [str(step).zfill(8) for step in path]


def _validated(content: object) -> tuple[ResilientServiceSpec | None, list[_Wrong]]:
    unknown = list(_without_kind(content))
    try:
        return ResilientServiceSpec.model_validate(content), unknown
    except ValidationError as error:
        errors = error.errors(include_url=False)
    known = [_Wrong(tuple(e["loc"]), None if e["type"] in _OBJECTS else e["input"], e["msg"]) for e in errors]
    return None, known + unknown


def _without_kind(content: Any) -> Iterator[_Wrong]:
    """Checks without a type, and policies without a rule, that this version knows."""
    for (part, field), kinds in _KINDS:
        items = content.get(part) if isinstance(content, Mapping) else None
        items = items.get(field) if isinstance(items, Mapping) else None
        for index, item in enumerate(items if isinstance(items, list) else []):
            if isinstance(item, Mapping) and all(item.get(kind) is None for kind in kinds):
                yield _Wrong((part, field, index), item, f"none of {', '.join(kinds)} is set")


def _problem(content: Any, wrong: _Wrong) -> Problem:
    unit = _unit(wrong.path)
    holder = content
    for step in unit:
        holder = holder[step]
    name = holder.get("name") if len(unit) > 2 and isinstance(holder, Mapping) else None
    effect = _EFFECTS.get(unit[:2]) or _EFFECTS.get(unit[:1], "")
    words = _redacted(wrong.words.removeprefix("Value error, "))[:_LONGEST_WORDS]
    text = f"spec{_written(content, wrong.path)}{_shown(wrong)}: {words}"
    text += f"; until that is corrected, {effect}" if effect else ""
    part, item = str((*wrong.path, "")[0]), name if isinstance(name, str) else ""
    return Problem(part, item, text, _hides_dependency(unit, holder))


def _hides_dependency(unit: Path, left_out: object) -> bool:
    if unit[:2] != ("health", "checks") and unit != ("health",):
        return False
    return (
        len(unit) < 3 or not isinstance(left_out, Mapping) or left_out.get("scope", "Service") not in ("Service", "Pod")
    )


def _shown(wrong: _Wrong) -> str:
    """The value, if it is a short one that cannot be a secret."""
    if not isinstance(wrong.value, str | int | float) or wrong.path[-1:] == (_UNSHOWN,):
        return ""
    return f" is {json.dumps(_redacted(str(wrong.value))[:_LONGEST_VALUE], ensure_ascii=False)}"


def _redacted(text: str) -> str:
    return _PASSWORD.sub("***@", text)


def _written(content: Any, path: Path) -> str:
    """The path as people write it, as far as it exists, and the field that is missing there."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
        is_there = step in content if isinstance(content, Mapping) else isinstance(step, int) and step < len(content)
        content = content[step] if is_there else None
        if not isinstance(content, Mapping | list):
            break
    return text


def _leave_out(content: dict[str, Any], unit: Path, known: Known) -> bool:
    """Takes the unit out of the content, or puts the last readable settings there; false when there are none."""
    part, last = str(unit[0]), unit[-1]
    if part in _KEPT:
        kept = _last_readable(part, known)
        if kept is None and part == "rollout":
            kept = _careful(content)
        if kept is not None:
            content[part] = kept
        return kept is not None
    holder: Any = content
    for step in unit[:-1]:
        holder = holder.get(step, {}) if isinstance(holder, dict) else holder[step]
    if isinstance(holder, list) and isinstance(last, int):
        del holder[last]
        return True
    for field in (last, *(_UNASKED if unit in _LIMITS else ())):
        holder.pop(field, None)
    return True


def _last_readable(part: str, known: Known) -> dict[str, Any] | None:
    text = known.get(part, "")
    try:
        _KEPT[part].model_validate_json(text)
    except ValidationError:
        return None
    settings: dict[str, Any] = json.loads(text)
    return settings


def _careful(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of releases when nobody knows any: the readable fields, and only a person promotes.

    A strategy that cannot be read is taken for BlueGreen where that is possible: by that one nothing is handed back and
    nothing is begun.
    """
    raw, target = content["rollout"], content.get("targetRef")
    fields = {name: raw[name] for name in raw if _is_valid({name: raw[name]})} if isinstance(raw, Mapping) else {}
    is_deployment = isinstance(target, Mapping) and target.get("kind") == TargetKind.DEPLOYMENT
    is_lost = not isinstance(raw, Mapping) or ("strategy" in raw and "strategy" not in fields)
    if is_lost and is_deployment and content.get("service") is not None:
        fields["strategy"] = Strategy.BLUE_GREEN.value
    if fields.get("strategy") == Strategy.BLUE_GREEN:
        fields["blueGreen"] = dict(fields.get("blueGreen") or {}) | {"promotion": Promotion.MANUAL.value}
    return fields


def _is_valid(rollout: Mapping[str, Any]) -> bool:
    try:
        Rollout.model_validate(rollout)
    except ValidationError:
        return False
    return True
