"""The gRPC server: every call of the service, health and reflection.

The front in Rust takes connections, and `NativeFront` answers the service's calls. Health and
reflection are grpc.aio's: the front passes them on to it, and with them calls that nobody knows.
"""

import asyncio
import os
import secrets
import time
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from muster_front import Front, Nodes
from muster_kv_coordinator.api.service import NAME, Service
from muster_kv_coordinator.core.limits import BATCH_BYTES
from muster_kv_coordinator.grpc_face.certificates import Certificates
from muster_kv_coordinator.grpc_face.native import NativeFront, paths

# The largest batch, and what the outcomes of its writes need beside the values that it reads.
_MESSAGE_BYTES = BATCH_BYTES + 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Transport:
    """How callers come in.

    Args:
        certificates: the server's, and what it asks of clients; None serves without TLS.
        tokens: whether callers show any, so that they are looked for.
        names: whether callers are known by their certificates, so that those are looked at.
        most: calls at once; more are answered RESOURCE_EXHAUSTED.
    """

    certificates: Certificates | None = None
    tokens: bool = False
    names: bool = False
    most: int = 1000


class GrpcFace:
    """Serves the service on one port.

    Args:
        port: TCP port; 0 takes a free one, see `bound_port`.
        nodes: what a native front answers plain calls by.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        service: Service,
        host: str,
        port: int,
        transport: Transport,
        nodes: Nodes | None = None,
    ) -> None:
        # No file: an abstract name goes with its process, and needs no folder to write to.
        self._behind = f"muster-kv-{os.getpid()}-{secrets.token_hex(8)}"
        self._certificates = transport.certificates
        self._bound = Front(
            host,
            port,
            methods=paths(service),
            streamed=f"/{NAME}/Stream",
            behind=self._behind,
            most=transport.most,
            largest=_MESSAGE_BYTES,
            authorization=transport.tokens,
            names=transport.names,
            tls=transport.certificates.tls if transport.certificates else None,
            nodes=nodes,
        )
        self.bound_port = self._bound.port
        self._front = NativeFront(self._bound, service)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve."""
        await self._health.set(NAME, health_pb2.HealthCheckResponse.SERVING)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        self._server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self._server.add_insecure_port(f"unix-abstract:{self._behind}")
        await self._server.start()
        self._front.start()
        if self._certificates is not None:
            following = self._certificates.follow(self._bound.renew)
            self._following = asyncio.create_task(following, name="certificates")

    async def failed(self) -> None:
        """Wait until connections are no longer taken though nobody said so; mostly for ever.

        Raises:
            RuntimeError: that has happened.
        """
        await asyncio.shield(self._front.ended)
        raise RuntimeError("the native front has ended")

    async def leave(self) -> None:
        """Say over grpc.health.v1 that this replica goes away."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no more calls, and cut off after `grace` seconds those that have not ended.

        One that has not begun to serve, or was stopped before, has nothing left to stop.
        """
        if self._following is not None:
            self._following.cancel()
        end = time.monotonic() + grace
        await self._front.stop(grace)
        if self._server is not None:
            await self._server.stop(max(0.0, end - time.monotonic()))
