"""The gRPC server: every call of the service by its name, health and reflection.

All of it is served by grpc.aio. Where the front is native, that is what takes connections; it
answers plain unary calls through `NativeFront`, and passes all else on to grpc.aio.
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from muster_front import Front
from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.service import NAME, Service
from muster_kv_coordinator.grpc_face.native import NativeFront, paths
from muster_kv_coordinator.grpc_face.stream import outcomes
from muster_protos import kv_pb2 as pb

_MINUTE_MS = 60 * 1000
# The largest batch, and what its messages cost around the values.
_MESSAGE_BYTES = 20 * 1024 * 1024

_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 5 * _MINUTE_MS),
    ("grpc.keepalive_timeout_ms", 20 * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5 * 1000),
    # A second process on the same port is an error, not a half of the traffic.
    ("grpc.so_reuseport", 0),
)

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Transport:
    """How callers come in.

    Args:
        credentials: the server's certificate; None serves without TLS.
        tokens: whether callers show any, so that they are looked for.
        certificates: whether callers have any, so that their names are looked at.
        most: calls at once; more are answered RESOURCE_EXHAUSTED.
        native: whether connections are taken by the native front; only without TLS.
    """

    credentials: grpc.ServerCredentials | None = None
    tokens: bool = False
    certificates: bool = False
    most: int = 1000
    native: bool = False


class GrpcFace:
    """Serves the service on one port.

    Args:
        port: TCP port; 0 takes a free one, see `bound_port`.

    Raises:
        RuntimeError, OSError: the port is taken.
    """

    def __init__(self, service: Service, host: str, port: int, transport: Transport) -> None:
        self._transport = transport
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=transport.most)
        self._health = health.aio.HealthServicer()
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                self._unary(service, name, method.request),
                response_serializer=method.answer.SerializeToString,
            )
            for name, method in service.methods.items()
        }
        handlers["Stream"] = grpc.stream_stream_rpc_method_handler(
            self._stream(service),
            response_serializer=pb.BatchResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(NAME, handlers),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self._front: NativeFront | None = None
        if transport.native:
            # No file: an abstract name goes with its process, and needs no folder to write to.
            behind = f"muster-kv-{os.getpid()}-{secrets.token_hex(8)}"
            front = _front(service, host, port, behind, transport)
            self._server.add_insecure_port(f"unix-abstract:{behind}")
            self._front = NativeFront(front, service)
            self.bound_port = front.port
        else:
            address = f"{host if ':' not in host else f'[{host}]'}:{port}"
            self.bound_port = (
                self._server.add_insecure_port(address)
                if transport.credentials is None
                else self._server.add_secure_port(address, transport.credentials)
            )

    async def start(self) -> None:
        """Begin to serve."""
        await self._health.set(NAME, health_pb2.HealthCheckResponse.SERVING)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()
        if self._front is not None:
            self._front.start()

    async def failed(self) -> None:
        """Wait until connections are no longer taken though nobody said so; mostly for ever.

        Raises:
            RuntimeError: that has happened.
        """
        if self._front is None:
            await asyncio.Event().wait()
        else:
            await asyncio.shield(self._front.ended)
            raise RuntimeError("the native front has ended")

    async def leave(self) -> None:
        """Say over grpc.health.v1 that this replica goes away."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no more calls, and cut off after `grace` seconds those that have not ended."""
        if self._front is not None:
            end = time.monotonic() + grace
            await self._front.stop(grace)
            grace = max(0.0, end - time.monotonic())
        await self._server.stop(grace)

    def _unary(
        self, service: Service, name: str, kind: type[Message]
    ) -> Callable[[bytes, Context], Awaitable[Message]]:
        # Bytes come in as they are, since gRPC itself answers UNKNOWN for what is no message.
        parse = kind.FromString

        async def handle(data: bytes, context: Context) -> Message:
            try:
                request = parse(data)
            except DecodeError:
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"the request is no message of {name}; allowed: its protobuf form",
                )
                raise
            return await service.call(name, request, self._caller(context))

        return handle

    def _stream(
        self, service: Service
    ) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[pb.BatchResponse]]:
        # gRPC tells a generator by its code.
        async def handle(
            batches: AsyncIterator[bytes], context: Context
        ) -> AsyncIterator[pb.BatchResponse]:
            parsed = _parsed(batches, context)
            async for answer in outcomes(service, parsed, self._caller(context)):
                yield answer

        return handle

    def _caller(self, context: Context) -> Caller:
        caller = Caller(seconds=context.time_remaining())
        if self._transport.tokens:
            for key, value in context.invocation_metadata() or ():
                if key == "authorization" and isinstance(value, str):
                    caller.authorization = value
        if self._transport.certificates:
            names = list(context.auth_context().get("x509_common_name", ()))
            caller.common_name = names[0].decode("utf-8", "replace") if names else ""
        return caller


def _front(service: Service, host: str, port: int, behind: str, transport: Transport) -> Front:
    return Front(
        host,
        port,
        methods=paths(service),
        behind=behind,
        most=transport.most,
        largest=_MESSAGE_BYTES,
        authorization=transport.tokens,
    )


async def _parsed(
    batches: AsyncIterator[bytes], context: Context
) -> AsyncIterator[pb.BatchRequest]:
    async for data in batches:
        try:
            yield pb.BatchRequest.FromString(data)
        except DecodeError:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                "a request is no message of Stream; allowed: its protobuf form",
            )
