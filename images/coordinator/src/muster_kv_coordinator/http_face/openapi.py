"""The OpenAPI document, made of the routes and of the models that bodies are checked with."""

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from muster_kv_coordinator.core.errors import ErrorCode
from muster_kv_coordinator.http_face.routes import ROUTES, Route
from muster_kv_coordinator.http_face.views import STATUS

_REFERENCE = "#/components/schemas/{model}"
_ERRORS = sorted({int(status) for status in STATUS.values()} | {413, 504})
_PLACE = re.compile(r"\{(\w+)\}")

_ERROR = {
    "type": "object",
    "required": ["status", "error_code", "message", "request_id"],
    "properties": {
        "status": {"const": "error"},
        "error_code": {"enum": [code.name for code in ErrorCode]},
        "message": {"type": "string"},
        "request_id": {"type": "string"},
        "vector_clock": {
            "type": "object",
            "description": "with KEY_NOT_FOUND: the context of a write that follows a deletion",
        },
    },
}
_HEADERS = {
    name: {"description": text, "schema": {"type": "integer"}}
    for name, text in {
        "X-RateLimit-Limit": "requests a minute",
        "X-RateLimit-Remaining": "of which this many are left",
        "X-RateLimit-Reset": "Unix seconds of the moment when all of them are",
    }.items()
}


def document(version: str) -> dict[str, Any]:
    """The whole document."""
    models: list[type[BaseModel]] = [route.body for route in ROUTES if route.body is not None]
    _, shared = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REFERENCE
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Key-value store",
            "version": version,
            "description": "Replicated values with tunable consistency, by tenant.",
        },
        "paths": paths,
        "components": {
            "schemas": {**shared["$defs"], "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.call,
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": {str(int(route.success)): {"description": "done", "headers": _HEADERS}}
        | {str(status): _error() for status in _ERRORS},
    }
    if route.body is not None:
        schema = {"$ref": _REFERENCE.format(model=route.body.__name__)}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    text = {"type": "string"}
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": text}
        for name in _PLACE.findall(route.path)
    ]
    found += [
        {
            "name": parameter.name,
            "in": "query",
            "required": parameter.required,
            "description": parameter.text,
            "schema": dict(parameter.schema),
        }
        for parameter in route.query
    ]
    if route.idempotent:
        what = "the same request with the same key happens once, within 24 hours"
        found.append(
            {"name": "Idempotency-Key", "in": "header", "description": what, "schema": text}
        )
    return found


def _error() -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="Error")}
    return {"description": "see error_code", "content": {"application/json": {"schema": schema}}}
