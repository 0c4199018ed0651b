"""The difference between two statuses that makes a write worth its cost."""

from datetime import datetime, timedelta
from functools import cache

from resilience.api.base import ApiModel
from resilience.api.scalars import format_duration
from resilience.api.status import Status
from resilience.api.status_base import format_time


def is_worth_writing(before: ApiModel, after: ApiModel) -> bool:
    """Something that a person would act on changed; latencies, counts and times alone are no reason to write.

    It ends at the first difference and skips what both sides share, because it runs in every pass.
    """
    return _differ(before, after)


def is_only_words(before: Status, after: Status) -> bool:
    """The difference is in sentences about the wait that is over: no step, no result and no condition changed."""
    return not is_worth_writing(_without_words(before), _without_words(after))


def _without_words(status: Status) -> Status:
    return status.model_copy(
        update={
            "explanation": "",
            "rollout": status.rollout.model_copy(update={"message": ""}),
            "conditions": [condition.model_copy(update={"message": ""}) for condition in status.conditions],
        }
    )


def _differ(before: object, after: object) -> bool:
    if before is after:
        return False
    if isinstance(before, ApiModel) and type(before) is type(after):
        return any(_differ(getattr(before, name), getattr(after, name)) for name in _lasting_fields(type(before)))
    if isinstance(before, list) and isinstance(after, list):
        return len(before) != len(after) or any(_differ(old, new) for old, new in zip(before, after, strict=True))
    return before != after and _as_stored(before) != _as_stored(after)


def _as_stored(value: object) -> str:
    """The value as the API stores it; one that was read back has lost the rest."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, timedelta):
        return format_duration(value)
    return str(value)


@cache
def _lasting_fields(model: type[ApiModel]) -> tuple[str, ...]:
    """Fields whose change is a reason to write: those that are not declared volatile."""
    return tuple(
        name
        for name, info in model.model_fields.items()
        if not (isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("volatile"))
    )
