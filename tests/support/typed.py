"""Objects as the Kubernetes API's types read them: an unknown field, a wrong type or a missing part is a fault.

Kinds of the Prometheus operator, of which the library has no types, are read by what the chart may use of them.
Must not judge what an object is for.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kubernetes.client import models
from pydantic import BaseModel, Field, ValidationError

Object = dict[str, Any]


class _Endpoint(BaseModel):
    port: str
    path: str
    honors: bool = Field(alias="honorLabels")
    interval: str
    relabelings: list[Object] = []
    of_metrics: list[Object] = Field(default=[], alias="metricRelabelings")


class _ServiceMonitorSpec(BaseModel):
    selector: models.V1LabelSelector
    endpoints: list[_Endpoint]


class _PodMonitorSpec(BaseModel):
    selector: models.V1LabelSelector
    endpoints: list[_Endpoint] = Field(alias="podMetricsEndpoints")


class _Rule(BaseModel):
    expr: str
    record: str = ""
    alert: str = ""
    during: str = Field(default="", alias="for")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Group(BaseModel):
    name: str
    interval: str
    rules: list[_Rule] = Field(min_length=1)


class _PrometheusRuleSpec(BaseModel):
    groups: list[_Group]


_SPECS: Final[Mapping[str, type[BaseModel]]] = {
    "ServiceMonitor": _ServiceMonitorSpec,
    "PodMonitor": _PodMonitorSpec,
    "PrometheusRule": _PrometheusRuleSpec,
}


def faults(item: Object) -> list[str]:
    """Everything that is wrong with an object, one line each with its path."""
    kind = item["kind"]
    if kind in _SPECS:
        unread = set(item) - {"apiVersion", "kind", "metadata", "spec"}
        parts = [(item["metadata"], models.V1ObjectMeta, "metadata"), (item["spec"], _SPECS[kind], "spec")]
        found = [*(f"{name}: no such field" for name in unread), *(line for part in parts for line in _wrong(*part))]
    else:
        version = item["apiVersion"].rpartition("/")[2].capitalize()
        found = list(_wrong(item, getattr(models, f"{version}{kind}"), ""))
    return [f"{kind} {line}" for line in (*found, *_nulls(item, ""))]


def _wrong(value: Any, model: Any, at: str) -> Iterator[str]:
    try:
        model.model_validate(value, strict=True, extra="forbid", by_alias=True)
    except ValidationError as error:
        for each in error.errors():
            place = ".".join(str(step) for step in (at, *each["loc"]) if step != "")
            yield f"{place}: {each['msg']}"


def _nulls(value: Any, at: str) -> Iterator[str]:
    """An API server takes null for absent: a template that writes it has lost something."""
    if value is None:
        yield f"{at}: null"
    elif isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nulls(part, f"{at}.{name}" if at else str(name))
