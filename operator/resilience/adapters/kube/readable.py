"""Reads the part of a stored status that this version can read: a newer operator, or a person, may have written it.

After a rollback the status is that of a newer version, with words that this one does not know. Only the smallest part
that cannot be read is left out: dropping a whole field would forget restarts, flags and notifications that are known.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
# In place of a word that this version does not know, if the field allows one of these: neither causes an action.
_FALLBACKS: Final = ("Unknown", "critical")
_TOO_LONG: Final = ("too_long", "string_too_long")


def read(model: type[Model], raw: Mapping[str, Any]) -> tuple[Model, frozenset[str]]:
    """The readable part of `raw`, and the top-level fields of which something was left out."""
    content: Any = None
    damaged: set[str] = set()
    while True:
        try:
            return model.model_validate(raw if content is None else content), frozenset(damaged)
        except ValidationError as error:
            problems = error.errors(include_url=False)
        content = copy.deepcopy(dict(raw)) if content is None else content
        paths = [(present(content, problem["loc"]), problem) for problem in problems]
        damaged |= {str(path[0]) for path, _ in paths if path}
        # From the end of lists, so that the indices of the other problems stay right.
        for path, problem in sorted(paths, key=lambda entry: [str(part).zfill(8) for part in entry[0]], reverse=True):
            _mend(content, path, problem)


def holder(content: Any, path: Sequence[int | str]) -> Any:
    """The object or list that holds the last part of a path that exists."""
    for part in path[:-1]:
        content = content[part]
    return content


def present(content: Any, location: Sequence[int | str]) -> tuple[int | str, ...]:
    """The longest part of the location that exists: an absent field is the problem of its object."""
    path: list[int | str] = []
    for part in location:
        is_there = part in content if isinstance(content, dict) else _is_index(content, part)
        if not is_there:
            break
        content = content[part]
        path.append(part)
    return tuple(path)


def _is_index(content: Any, part: int | str) -> bool:
    return isinstance(content, list) and isinstance(part, int) and part < len(content)


def _mend(content: Any, path: tuple[int | str, ...], problem: ErrorDetails) -> None:
    """Replace the value by one that can be read, or remove it; it may be gone with another one already."""
    if present(content, path) != path:
        return
    if not path:
        content.clear()
        return
    content = holder(content, path)
    last, context = path[-1], problem.get("ctx") or {}
    is_exact = len(path) == len(problem["loc"])
    expected = str(context.get("expected", ""))
    fallback = next((word for word in _FALLBACKS if f"'{word}'" in expected), None)
    if is_exact and problem["type"] in _TOO_LONG and len(content[last]) > context["max_length"]:
        # The newest entries are the last ones; of a text the beginning says most.
        limit = context["max_length"]
        content[last] = content[last][:limit] if isinstance(content[last], str) else content[last][-limit:]
    elif is_exact and problem["type"] == "enum" and fallback is not None:
        content[last] = fallback
    else:
        del content[last]
