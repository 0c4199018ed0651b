"""Base of all API models, and the CEL rule that a model or a field carries into the CRD."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """camelCase outside, immutable inside. Unknown fields are refused by the API server, not here:

    an older operator must be able to read what a newer API server stored.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_api(self) -> dict[str, Any]:
        """The object as the API server stores it: camelCase keys, unset values left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rule(expression: str, message: str) -> dict[str, str]:
    """One CEL validation; `message` says how to correct the value."""
    return {"rule": expression, "message": message}


def rules(*validations: dict[str, str]) -> dict[str, Any]:
    """CEL validations as a JSON schema extension."""
    return {"x-kubernetes-validations": list(validations)}


def list_map(key: str) -> dict[str, Any]:
    """Marks a list as keyed by a field, so that server-side apply merges it item by item."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def validated(*validations: dict[str, str]) -> ConfigDict:
    """The configuration of a model that carries CEL validations; the rest comes from `ApiModel`."""
    return ConfigDict(json_schema_extra=rules(*validations))
