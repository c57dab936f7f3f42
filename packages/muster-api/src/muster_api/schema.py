"""From a pydantic model to a structural schema (`apiextensions.k8s.io/v1`).

pydantic writes JSON Schema 2020-12; Kubernetes takes a part of OpenAPI 3.0 without references,
without unions and without null. What has no counterpart there is an error, never dropped.
"""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from muster_api.duration import format_duration

_DROPPED = {"title", "additionalProperties", "propertyNames"}
_KEPT = {
    "default",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "required",
    "type",
}
_NULL = {"type": "null"}


class _Generator(GenerateJsonSchema):
    """pydantic's generator, with durations as Kubernetes writes them (pydantic: ISO 8601)."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


class SchemaError(Exception):
    """A model says something that a structural schema can't."""


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of `model`, with fixed order of keys.

    Raises:
        SchemaError: the model uses JSON Schema that Kubernetes does not know.
    """
    document = model.model_json_schema(
        by_alias=True, mode="validation", schema_generator=_Generator
    )
    definitions = document.pop("$defs", {})
    return _converted(document, definitions)


def _converted(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    node = _resolved(node, definitions)
    if node.get("x-kubernetes-int-or-string"):
        return {key: value for key, value in sorted(node.items()) if key not in _DROPPED}
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            out[key] = {
                name: _converted(child, definitions) for name, child in sorted(value.items())
            }
        elif key == "items":
            out[key] = _converted(value, definitions)
        elif key == "const":
            out["enum"] = [value]
        elif key in _KEPT or key.startswith("x-kubernetes-"):
            out[key] = value
        elif key not in _DROPPED:
            raise SchemaError(f"{key}: {value!r} has no structural form")
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        out["additionalProperties"] = _converted(values, definitions)
    return dict(sorted(out.items()))


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Put references in place and take `| None` away: what is absent is never null."""
    while "$ref" in node or ("anyOf" in node and _NULL in node["anyOf"]):
        rest = {key: value for key, value in node.items() if key not in {"$ref", "anyOf"}}
        if "$ref" in node:
            inner = definitions[node["$ref"].removeprefix("#/$defs/")]
        else:
            kinds = [kind for kind in node["anyOf"] if kind != _NULL]
            if len(kinds) != 1:
                raise SchemaError(f"anyOf: {node['anyOf']!r} has no structural form")
            inner = kinds[0]
        if rest.get("default", ...) is None:
            del rest["default"]
        node = {**inner, **rest}
    if "default" in node:
        node = {**node, "default": _without_null(node["default"])}
    return node


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_null(inner) for inner in value]
    return value
