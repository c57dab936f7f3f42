"""Errors on the wire: `{"error": {"code", "message", "details", "request_id"}}`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from muster_coordinator.accounts.errors import Forbidden, Unauthenticated
from muster_coordinator.accounts.ratelimit import TooOften
from muster_coordinator.engine.errors import (
    Conflict,
    EngineError,
    InvalidRequest,
    InvalidState,
    NotFound,
    OverLimit,
    QueueFull,
    Unavailable,
)
from muster_proving import InvalidInput

_SHOWN = 60


class ErrorBody(BaseModel):
    """What went wrong; `details` depends on `code`."""

    code: str
    message: str
    details: dict[str, Any] = {}
    request_id: str


class ErrorAnswer(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorBody


@dataclass(frozen=True, slots=True)
class Problem:
    """An error on its way to the wire; `retry_after` in seconds."""

    status: HTTPStatus
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    retry_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, request_id: str) -> Response:
        """The answer."""
        body = ErrorBody(
            code=self.code,
            message=self.message,
            details=dict(self.details),
            request_id=request_id,
        )
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        content = ErrorAnswer(error=body).model_dump()
        return JSONResponse(content, status_code=self.status, headers=headers)


_STATUS: dict[type[EngineError], tuple[HTTPStatus, str]] = {
    InvalidRequest: (HTTPStatus.BAD_REQUEST, "INVALID_INPUT"),
    NotFound: (HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    InvalidState: (HTTPStatus.CONFLICT, "INVALID_STATE"),
    Conflict: (HTTPStatus.CONFLICT, "CONFLICT"),
    QueueFull: (HTTPStatus.SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
    OverLimit: (HTTPStatus.TOO_MANY_REQUESTS, "RATE_LIMITED"),
    Unavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
    Unauthenticated: (HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED"),
    Forbidden: (HTTPStatus.FORBIDDEN, "FORBIDDEN"),
    TooOften: (HTTPStatus.TOO_MANY_REQUESTS, "RATE_LIMITED"),
}

INTERNAL = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "internal error; see the coordinator's log"
)


def problem(error: Exception) -> Problem:
    """What an exception of a handler is answered with."""
    if isinstance(error, EngineError):
        status, code = _STATUS.get(type(error), (INTERNAL.status, INTERNAL.code))
        return Problem(
            status,
            code,
            str(error),
            _details(error),
            getattr(error, "retry_after", None),
            _headers(error),
        )
    if isinstance(error, InvalidInput):
        details = {"field": error.field, "value": error.value, "allowed": error.allowed}
        return Problem(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", str(error), details)
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        code = "NOT_FOUND" if status is HTTPStatus.NOT_FOUND else "INVALID_INPUT"
        headers = error.headers or {}
        message = (
            status.phrase if error.detail == status.phrase else f"{status.phrase}: {error.detail}"
        )
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            message = f"{status.phrase}; allowed: {headers.get('Allow')}"
        return Problem(status, code, message, headers=headers)
    return INTERNAL


def _headers(error: EngineError) -> Mapping[str, str]:
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooOften):
        return error.allowance.headers
    return {}


def _details(error: EngineError) -> Mapping[str, Any]:
    if isinstance(error, TooOften):
        return {"limit": error.allowance.limit, "retry_after": error.retry_after}
    return {}


def _validation(
    error: RequestValidationError, allowed: Mapping[str, str], document: str | None
) -> Problem:
    """The first parameter that can't be right, in one sentence.

    Args:
        document: where the parameters are described.
    """
    first = error.errors()[0]
    field = str(first["loc"][1])
    value = "missing" if first["type"] == "missing" else repr(first["input"])[:_SHOWN]
    if field not in allowed:
        return problem(InvalidInput(field, "no parameter", f"only those of {document}"))
    return problem(InvalidInput(field, value, allowed[field]))


def _methods(app: FastAPI, request: Request) -> set[str]:
    """What may be done with a path, as far as its routes are the application's own."""
    found: set[str] = set()
    for route in app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return found


def install(app: FastAPI, allowed: Mapping[str, str]) -> None:
    """Answer every exception of `app` in this form; unexpected ones are also raised on.

    Args:
        allowed: what each parameter in a path, query or header may be.
    """

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # The framework tells the methods of the first of several routes.
            told = set((error.headers or {}).get("Allow", "").split(", "))
            error.headers = {"Allow": ", ".join(sorted(told | _methods(app, request)))}
        return problem(error).response(request.state.request_id)

    async def refuse(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        refusal = _validation(error, allowed, app.openapi_url)
        return refusal.response(request.state.request_id)

    for kind in (EngineError, InvalidInput, HTTPException, Exception):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(RequestValidationError, refuse)
