"""Around every call: errors become status codes, calls are counted, log lines get the method."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc

from muster_coordinator.accounts.errors import Forbidden, Unauthenticated
from muster_coordinator.accounts.ratelimit import TooOften
from muster_coordinator.engine.errors import (
    Conflict,
    EngineError,
    Fenced,
    InvalidRequest,
    InvalidState,
    NotFound,
    OverLimit,
    QueueFull,
    StaleEpoch,
    Unavailable,
)
from muster_coordinator.grpc_face.handlers import (
    Context,
    Continuation,
    Found,
    Stream,
    Unary,
    wrapped,
)
from muster_runtime.logs import bind

log = logging.getLogger(__name__)

_CODES: dict[type[EngineError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Fenced: grpc.StatusCode.FAILED_PRECONDITION,
    InvalidState: grpc.StatusCode.FAILED_PRECONDITION,
    StaleEpoch: grpc.StatusCode.ABORTED,
    Conflict: grpc.StatusCode.ALREADY_EXISTS,
    QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    OverLimit: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooOften: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
}

_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class CallMeter(Protocol):
    """Counts calls."""

    def handled(self, method: str, kind: str, code: str, seconds: float) -> None:
        """A call of `/service/method` ended with a status code such as `OK`."""
        ...


class Observed(grpc.aio.ServerInterceptor):
    """Wraps the handlers of all services of a server."""

    def __init__(self, meter: CallMeter) -> None:
        self._meter = meter

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Found:
        """Called by gRPC for each call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return handler
        kind = "bidi_stream" if handler.request_streaming else "server_stream"
        return wrapped(
            handler,
            lambda call: self._unary(method, call),
            lambda call: self._stream(method, kind, call),
        )

    def _unary(self, method: str, call: Unary) -> Unary:
        async def handle(request: Any, context: Context) -> object:
            with _Outcome(self._meter, method, "unary", context) as outcome, bind(method=method):
                try:
                    return await call(request, context)
                except Exception as error:
                    await outcome.abort(error)
                    raise

        return handle

    def _stream(self, method: str, kind: str, call: Stream) -> Stream:
        async def handle(request: Any, context: Context) -> AsyncIterator[object]:
            with _Outcome(self._meter, method, kind, context) as outcome, bind(method=method):
                try:
                    async for answer in call(request, context):
                        yield answer
                except Exception as error:  # noqa: BLE001 - becomes a status
                    await outcome.abort(error)

        return handle


class _Outcome:
    """How one call ends; counted once, at its end."""

    def __init__(self, meter: CallMeter, method: str, kind: str, context: Context) -> None:
        self._meter = meter
        self._method = method
        self._kind = kind
        self._context = context
        self._code = grpc.StatusCode.OK
        self._begun = time.monotonic()

    def __enter__(self) -> "_Outcome":
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        code = self._code
        if exc_type is not None and issubclass(exc_type, asyncio.CancelledError | GeneratorExit):
            code = grpc.StatusCode.CANCELLED
        seconds = time.monotonic() - self._begun
        self._meter.handled(self._method, self._kind, code.name, seconds)

    async def abort(self, error: Exception) -> None:
        if isinstance(error, grpc.aio.AbortError):
            self._code = _code(self._context)
            raise error
        text = str(error)
        if isinstance(error, EngineError):
            self._code = _CODES.get(type(error), grpc.StatusCode.UNKNOWN)
        else:
            log.error("call failed", exc_info=error)
            self._code = grpc.StatusCode.INTERNAL
            text = "internal error; see the coordinator's log"
        await self._context.abort(self._code, text)


def _code(context: Context) -> grpc.StatusCode:
    """The status that a call has been ended with."""
    code: Any = context.code()  # a number, whatever the types say
    return _BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN)
