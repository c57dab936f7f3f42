"""The HTTP server: uvicorn, stopped by the process and not by signals of its own."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence

import h11
import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from muster_runtime.http_certificates import Encryption

PEER_CERTIFICATE = "peer_certificate"
"""Where in a scope's state the client's certificate is, in DER; missing where it has none."""

HEAD_SECONDS = 5.0
"""For the head of a request to arrive, from its first byte or that of the connection."""

_LARGEST_MESSAGE = 64 * 1024
_PING_SECONDS = 20.0

_LEARNT = ("X-Request-ID", "Retry-After", "Idempotency-Replayed", "Location")
_RATE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID", "traceparent")


def for_pages_of(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """`app`, for scripts of web pages of `origins` too; `*` stands for all."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=_SENT,
        expose_headers=(*_LEARNT, *_RATE),
    )


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(H11Protocol):
    """Knows the client's certificate, and closes where a request's head takes too long to arrive.

    uvicorn itself would wait for ever.
    """

    _waiting: asyncio.TimerHandle | None = None
    _upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        encryption: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        certificate = encryption.getpeercert(binary_form=True) if encryption else None
        if certificate:
            self.app_state = self.app_state | {PEER_CERTIFICATE: certificate}
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._upgraded:
            return
        # uvicorn does not declare that there is none before the first request.
        if self.cycle and not self.cycle.response_complete:  # type: ignore[truthy-bool]
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._upgraded = True
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class HttpServer:
    """Serves an application on one port.

    Args:
        port: TCP port on all addresses; 0 takes a free one, see `bound_port`.
        encryption: None serves without TLS.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self, app: ASGIApp, port: int, drain_seconds: float, encryption: Encryption | None = None
    ) -> None:
        self._socket = _listen(port)
        self.bound_port = int(self._socket.getsockname()[1])
        self._encryption = encryption
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Connection,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="websockets-sansio",
                ws_max_size=_LARGEST_MESSAGE,
                ws_ping_interval=_PING_SECONDS,
                ws_ping_timeout=_PING_SECONDS,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=int(drain_seconds),
                ssl_context_factory=None if encryption is None else lambda *_: encryption.context,
            )
        )

    async def run(self) -> None:
        """Serve until `stop`."""
        if self._encryption is None:
            await self._server.serve(sockets=[self._socket])
            return
        following = asyncio.create_task(self._encryption.follow())
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            following.cancel()

    def stop(self) -> None:
        """Take no more requests; `run` returns when those under way are answered."""
        self._server.should_exit = True


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
        )
    return socket.create_server(("", port), backlog=1024)
