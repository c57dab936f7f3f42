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
    EngineError,
    InvalidRequest,
    InvalidState,
    NotFound,
    QueueFull,
    Unavailable,
)
from muster_proving import InvalidInput


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

    def response(self, request_id: str) -> Response:
        """The answer."""
        body = ErrorBody(
            code=self.code,
            message=self.message,
            details=dict(self.details),
            request_id=request_id,
        )
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after else None
        content = ErrorAnswer(error=body).model_dump()
        return JSONResponse(content, status_code=self.status, headers=headers)


_STATUS: dict[type[EngineError], tuple[HTTPStatus, str]] = {
    InvalidRequest: (HTTPStatus.BAD_REQUEST, "INVALID_INPUT"),
    NotFound: (HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    InvalidState: (HTTPStatus.CONFLICT, "INVALID_STATE"),
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
    if isinstance(error, RequestValidationError):
        return _validation(error)
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        code = "NOT_FOUND" if status is HTTPStatus.NOT_FOUND else "INVALID_INPUT"
        return Problem(status, code, f"{status.phrase}: {error.detail}")
    return INTERNAL


def _validation(error: RequestValidationError) -> Problem:
    """Every wrong parameter in one sentence."""
    wrong = [
        {
            "field": ".".join(str(part) for part in one["loc"][1:]) or "body",
            "allowed": str(one["msg"]).removeprefix("Value error, "),
        }
        for one in error.errors()
    ]
    message = "; ".join(f"{one['field']}: allowed: {one['allowed']}" for one in wrong)
    return Problem(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", message, {"errors": wrong})


def install(app: FastAPI) -> None:
    """Answer every exception of `app` in this form; unexpected ones are also raised on."""

    async def answer(request: Request, error: Exception) -> Response:
        return problem(error).response(request.state.request_id)

    for kind in (EngineError, InvalidInput, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)
