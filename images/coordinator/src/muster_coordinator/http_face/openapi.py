"""The OpenAPI document: generated from the models that requests are checked with."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from muster_coordinator.http_face.errors import ErrorAnswer

_REFERENCE = "#/components/schemas/{model}"

_WHAT = {
    400: "something in the request can't be right; details name field, value and what is allowed",
    401: "the caller did not show who it is",
    403: "the caller is known, and may not do this",
    404: "there is none",
    409: "the state of what is asked for, or an earlier request, does not allow it",
    413: "the body is too large",
    429: "asked too often",
    500: "an error of the coordinator; its log says more",
    503: "too much waits, or the database is away, or it took too long",
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "seconds after which to try again",
        "schema": {"type": "integer", "minimum": 1},
    }
}


_KEYED = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "an API key as in nyt_acme_…, or a token",
    }
}


def errors(*more: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The errors that an endpoint may answer: those of all endpoints, and `more`.

    Args:
        body: whether it takes a body.
    """
    statuses = {400, 429, 500, 503, *more} | ({413} if body else set())
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted(statuses):
        found[status] = {"model": ErrorAnswer, "description": _WHAT[status]}
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            found[status]["headers"] = _RETRY_AFTER
    return found


def body(model: type[BaseModel]) -> dict[str, Any]:
    """A request body that is checked with `model` by the endpoint itself."""
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def install(app: FastAPI, models: Iterable[type[BaseModel]], *, keyed: bool = False) -> None:
    """Let `app` describe itself, with the `models` of its bodies among the components.

    Args:
        keyed: whether each request needs a key.
    """
    described: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in models
    ]
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            _, shared = models_json_schema(described, ref_template=_REFERENCE)
            made.update(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=app.routes,
                )
            )
            if keyed:
                made["components"]["securitySchemes"] = _KEYED
                made["security"] = [{name: []} for name in _KEYED]
            components = made["components"]["schemas"]
            components.update(shared["$defs"])
            # The framework's own form of errors is never answered.
            for name in ("HTTPValidationError", "ValidationError"):
                components.pop(name, None)
            for path in made["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
        return made

    app.openapi = document  # type: ignore[method-assign]
