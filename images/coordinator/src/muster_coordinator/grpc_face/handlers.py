"""Putting something around the handlers of a gRPC server, whatever their kind."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from muster_coordinator.engine.errors import InvalidRequest

Context = grpc.aio.ServicerContext[Any, Any]
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Found: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

Unary = Callable[[Any, Context], Awaitable[object]]
Stream = Callable[[Any, Context], AsyncIterator[object]]
First = Callable[[Any, Context], Awaitable[Any]]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Found]]


def wrapped(
    handler: MethodHandler,
    unary: Callable[[Unary], Unary],
    stream: Callable[[Stream], Stream],
    deserialize: Callable[[bytes], object] | None = None,
) -> MethodHandler:
    """The handler with `unary` around a method that answers once, `stream` around any other.

    Args:
        deserialize: instead of the handler's own.

    Raises:
        TypeError: a stream of requests with one answer, which no service here has.
    """
    # The types of gRPC's stubs are those of its blocking servers.
    make: Callable[..., MethodHandler]
    inner: Any = handler
    behaviour: Unary | Stream
    if inner.unary_unary is not None:
        make, behaviour = grpc.unary_unary_rpc_method_handler, unary(inner.unary_unary)
    elif inner.unary_stream is not None:
        yielding = _yielding(inner.unary_stream)
        make, behaviour = grpc.unary_stream_rpc_method_handler, stream(yielding)
    elif inner.stream_stream is not None:
        yielding = _yielding(inner.stream_stream)
        make, behaviour = grpc.stream_stream_rpc_method_handler, stream(yielding)
    else:
        raise TypeError("a method with a stream of requests and one answer")
    return make(
        behaviour,
        request_deserializer=deserialize or handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def preceded(
    handler: MethodHandler,
    first: First,
    deserialize: Callable[[bytes], object] | None = None,
) -> MethodHandler:
    """The handler with `first` called before its method, which gets the request that it answers.

    Args:
        deserialize: instead of the handler's own.
    """

    def unary(call: Unary) -> Unary:
        async def handle(request: Any, context: Context) -> object:
            return await call(await first(request, context), context)

        return handle

    def stream(call: Stream) -> Stream:
        async def handle(request: Any, context: Context) -> AsyncIterator[object]:
            async for answer in call(await first(request, context), context):
                yield answer

        return handle

    return wrapped(handler, unary, stream, deserialize)


def _yielding(call: Callable[[Any, Context], Any]) -> Stream:
    """A method that streams, as a generator; it may be a coroutine that writes to its context."""

    async def handle(request: Any, context: Context) -> AsyncIterator[object]:
        answers = call(request, context)
        if inspect.isawaitable(answers):
            await answers
            return
        async for answer in answers:
            yield answer

    return handle


@dataclass(frozen=True, slots=True)
class _Malformed:
    """Bytes that are not the message they should be."""


class Wellformed(grpc.aio.ServerInterceptor):
    """Answers bytes that are no message with INVALID_ARGUMENT; gRPC itself says UNKNOWN.

    To be the innermost interceptor: it raises what those around it translate.
    """

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Found:
        """Called by gRPC for each call."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        return preceded(handler, _checked, _lenient(handler.request_deserializer))


def _lenient(deserialize: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        try:
            return deserialize(data)
        except DecodeError:
            return _Malformed()

    return read


async def _checked(request: Any, _context: Context) -> Any:
    return _whole(request)


def _whole(request: Any) -> Any:
    if isinstance(request, _Malformed):
        raise InvalidRequest("the request is no message of this method; allowed: its protobuf form")
    if isinstance(request, AsyncIterator):
        return _all_whole(request)
    return request


async def _all_whole(requests: AsyncIterator[object]) -> AsyncIterator[object]:
    async for request in requests:
        yield _whole(request)
