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

from muster_coordinator.engine.errors import (
    Conflict,
    EngineError,
    InvalidRequest,
    InvalidState,
    NotFound,
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
    Unavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
}

INTERNAL = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "internal error; see the coordinator's log"
)


def problem(error: Exception) -> Problem:
    """What an exception of a handler is answered with."""
    if isinstance(error, EngineError):
        status, code = _STATUS.get(type(error), (INTERNAL.status, INTERNAL.code))
        retry_after = getattr(error, "retry_after", None)
        return Problem(status, code, str(error), retry_after=retry_after)
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


def _validation(error: RequestValidationError, allowed: Mapping[str, str]) -> Problem:
    """The first parameter that can't be right, in one sentence."""
    first = error.errors()[0]
    field = str(first["loc"][1])
    value = "missing" if first["type"] == "missing" else repr(first["input"])[:_SHOWN]
    if field not in allowed:
        return problem(InvalidInput(field, "no parameter", "only those of /openapi.json"))
    return problem(InvalidInput(field, value, allowed[field]))


def install(app: FastAPI, allowed: Mapping[str, str]) -> None:
    """Answer every exception of `app` in this form; unexpected ones are also raised on.

    Args:
        allowed: what each parameter in a path, query or header may be.
    """

    async def answer(request: Request, error: Exception) -> Response:
        return problem(error).response(request.state.request_id)

    async def refuse(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        return _validation(error, allowed).response(request.state.request_id)

    for kind in (EngineError, InvalidInput, HTTPException, Exception):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(RequestValidationError, refuse)
