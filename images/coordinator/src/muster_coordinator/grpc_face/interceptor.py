"""Around every call: errors become status codes, calls are counted, log lines get the method."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import grpc

from muster_coordinator.engine.errors import (
    EngineError,
    Fenced,
    InvalidRequest,
    InvalidState,
    NotFound,
    QueueFull,
    StaleEpoch,
    Unavailable,
)
from muster_runtime.logs import bind

log = logging.getLogger(__name__)

_CODES: dict[type[EngineError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Fenced: grpc.StatusCode.FAILED_PRECONDITION,
    InvalidState: grpc.StatusCode.FAILED_PRECONDITION,
    StaleEpoch: grpc.StatusCode.ABORTED,
    QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}


class CallMeter(Protocol):
    """Counts calls."""

    def handled(self, method: str, kind: str, code: str, seconds: float) -> None:
        """A call of `/service/method` ended with a status code such as `OK`."""
        ...


Context = grpc.aio.ServicerContext[Any, Any]
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class Observed(grpc.aio.ServerInterceptor):
    """Wraps the handlers of all services of a server."""

    def __init__(self, meter: CallMeter) -> None:
        self._meter = meter

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MethodHandler:
        """Called by gRPC for each call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return handler
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return handler

    def _unary(self, method: str, call: Any) -> Any:
        async def handle(request: object, context: Context) -> object:
            with _Outcome(self._meter, method, "unary", context) as outcome, bind(method=method):
                try:
                    return await call(request, context)
                except Exception as error:
                    await outcome.abort(error)
                    raise

        return handle

    def _stream(self, method: str, call: Any) -> Any:
        async def handle(request: object, context: Context) -> AsyncIterator[object]:
            kind = "server_stream"
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
            raise error
        text = str(error)
        if isinstance(error, EngineError):
            self._code = _CODES.get(type(error), grpc.StatusCode.UNKNOWN)
        else:
            log.error("call failed", exc_info=error)
            self._code = grpc.StatusCode.INTERNAL
            text = "internal error; see the coordinator's log"
        await self._context.abort(self._code, text)
