"""The base of all models, and the scalar types that custom resources are written with."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from muster_api.duration import format_duration, parse_duration

GROUP = "muster.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

DURATION_PATTERN = r"^([0-9]{1,6}(ms|s|m|h))+$"
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
IMAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule of the API server, and the sentence that says what to write instead.

    Args:
        expression: true where the value is accepted; `self` is the value.
        message: shown to who wrote the value.
        field: the path below `self` that the error points at, such as `.minReplicas`.
    """

    expression: str
    message: str
    field: str | None = None

    def schema(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        entry = {"rule": self.expression, "message": self.message}
        return entry | ({"fieldPath": self.field} if self.field else {})


def between(lowest: str, highest: str) -> Rule:
    """A duration's range; `lowest` and `highest` are durations themselves."""
    return Rule(
        f"duration(self) >= duration('{lowest}') && duration(self) <= duration('{highest}')",
        f"write a duration from {lowest} to {highest}",
    )


def ruled(*rules: Rule, **extra: Any) -> dict[str, Any]:
    """The `json_schema_extra` of a field that obeys `rules`."""
    return {"x-kubernetes-validations": [rule.schema() for rule in rules], **extra}


class Model(BaseModel):
    """A part of a custom resource: camelCase outside, snake_case inside, immutable.

    Fields that are not known are ignored, because a newer API server may send them; the API server
    itself prunes what the schema does not name.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        """Add the rules of the class to its schema."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if cls.rules:
            schema["x-kubernetes-validations"] = [rule.schema() for rule in cls.rules]
        return schema

    def to_wire(self) -> dict[str, Any]:
        """The JSON form, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _duration_schema(pattern: str = DURATION_PATTERN) -> dict[str, Any]:
    return {"type": "string", "pattern": pattern, "maxLength": 16}


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_duration_schema()),
]
"""A time span such as `500ms`, `30s`, `5m` or `1h30m`."""

Quantity = Annotated[
    str,
    BeforeValidator(str),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY_PATTERN,
            "maxLength": 32,
        }
    ),
]
"""An amount of a resource such as `100m`, `512Mi` or `2`."""

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN)]
"""The name of an object in the same namespace."""

Image = Annotated[str, Field(min_length=1, max_length=512, pattern=IMAGE_PATTERN)]
"""A container image reference."""

Labels = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)]
