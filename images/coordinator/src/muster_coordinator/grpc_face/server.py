"""The gRPC server: sizes, keepalive, health and reflection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from muster_coordinator.grpc_face.authentication import Authentication
from muster_coordinator.grpc_face.guard import Guard
from muster_coordinator.grpc_face.handlers import Wellformed
from muster_coordinator.grpc_face.interceptor import CallMeter, Observed
from muster_coordinator.grpc_face.service import CoordinatorService
from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import add_CoordinatorServiceServicer_to_server

SERVICE = pb.DESCRIPTOR.services_by_name["CoordinatorService"].full_name

_MINUTE_MS = 60 * 1000
_MESSAGE_BYTES = 10 * 1024 * 1024

_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_connection_idle_ms", 15 * _MINUTE_MS),
    ("grpc.max_connection_age_ms", 30 * _MINUTE_MS),
    ("grpc.max_connection_age_grace_ms", 5 * _MINUTE_MS),
    ("grpc.keepalive_time_ms", 5 * _MINUTE_MS),
    ("grpc.keepalive_timeout_ms", 20 * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Workers of the first contract ping every 10 s, and one that is idle sends nothing else. Three
    # pings below this interval, with nothing sent between them, end a connection.
    ("grpc.http2.min_ping_interval_without_data_ms", 5 * 1000),
    # A second process on the same port is an error, not a half of the traffic.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service with its methods.

    Attributes:
        name: in full, with its package.
        add: adds its methods to a server.
        own_callers: whether it judges by itself who calls.
    """

    name: str
    add: Callable[[grpc.aio.Server], None]
    own_callers: bool = False


def coordinator_service(service: CoordinatorService) -> Service:
    """The service of workers."""
    return Service(
        SERVICE, lambda server: add_CoordinatorServiceServicer_to_server(service, server)
    )


@dataclass(frozen=True, slots=True)
class Security:
    """Who may connect, and as whom: by default anybody, as anybody.

    Attributes:
        credentials: the server's certificate; None serves without TLS.
        authentication: None asks for no tokens.
    """

    credentials: grpc.ServerCredentials | None = None
    authentication: Authentication | None = None


class GrpcServer:
    """Serves services on one port.

    Args:
        port: TCP port on all addresses; 0 takes a free one, see `bound_port`.

    Raises:
        RuntimeError: the port is taken.
    """

    def __init__(
        self, services: Sequence[Service], meter: CallMeter, port: int, security: Security
    ) -> None:
        # The first is the outermost: refusals are counted too.
        interceptors: list[grpc.aio.ServerInterceptor] = [Observed(meter), Wellformed()]
        if security.authentication is not None:
            others = [one.name for one in services if one.own_callers]
            interceptors.insert(1, Guard(security.authentication, others))
        self._server = grpc.aio.server(interceptors=interceptors, options=_OPTIONS)
        self._health = health.aio.HealthServicer()
        self._names = [one.name for one in services]
        for one in services:
            one.add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        address = f"[::]:{port}"
        self.bound_port = (
            self._server.add_insecure_port(address)
            if security.credentials is None
            else self._server.add_secure_port(address, security.credentials)
        )

    async def start(self) -> None:
        """Begin to serve."""
        for name in (*self._names, ""):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no more calls, and cut off after `grace` seconds those that have not ended."""
        await self._server.stop(grace)

    async def leave(self) -> None:
        """Say over grpc.health.v1 that this replica goes away."""
        await self._health.enter_graceful_shutdown()
