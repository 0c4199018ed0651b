"""The difference between two statuses that makes a write worth its cost."""

import json
from datetime import datetime, timedelta

from resilience.api.base import ApiModel
from resilience.api.scalars import format_duration
from resilience.api.status_base import format_time


def is_worth_writing(before: ApiModel, after: ApiModel) -> bool:
    """Something that a person would act on changed; latencies, counts and times alone are no reason to write."""
    return _digest(before) != _digest(after)


def _digest(status: ApiModel) -> str:
    return json.dumps(_without_volatile(status), sort_keys=True)


def _without_volatile(model: object) -> object:
    if isinstance(model, list):
        return [_without_volatile(item) for item in model]
    # A value that was read back has lost what the API does not store: both sides are compared as they are stored.
    if isinstance(model, datetime):
        return format_time(model)
    if isinstance(model, timedelta):
        return format_duration(model)
    fields = getattr(type(model), "model_fields", None)
    if fields is None:
        return str(model)
    return {
        name: _without_volatile(getattr(model, name))
        for name, info in fields.items()
        if not (isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("volatile"))
    }
