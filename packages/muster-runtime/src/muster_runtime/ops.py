"""The operations endpoints of a process: `/health`, `/ready`, `/metrics` and `/`.

aiohttp serves them, because the Kubernetes client brings it along anyway.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


@dataclass(frozen=True, slots=True)
class Health:
    """An answer of `/health` or `/ready`: 200 where `ok`, else 503, with `body` as JSON."""

    ok: bool
    body: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], Awaitable[Health]]
Route = Callable[[], Awaitable[Mapping[str, Any]]]


class OpsServer:
    """Serves one process's operations endpoints while its context is open.

    `/health` says whether the process works at all (liveness), `/ready` whether it should be sent
    work (readiness), `/metrics` is the Prometheus exposition of `registry`, `/` names the service
    and its endpoints, and `routes` adds further GET endpoints that answer JSON.

    Args:
        port: TCP port on all addresses; 0 takes a free one, see `bound_port`.
    """

    def __init__(
        self,
        *,
        service: str,
        version: str,
        port: int,
        registry: CollectorRegistry,
        health: Check,
        ready: Check,
        routes: Mapping[str, Route] | None = None,
    ) -> None:
        self._port = port
        self._registry = registry
        self._info: dict[str, Any] = {
            "service": service,
            "version": version,
            "endpoints": {"health": "/health", "ready": "/ready", "metrics": "/metrics"},
        }
        self._app = app = web.Application()
        app.router.add_get("/", self._root)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", _checked(health))
        app.router.add_get("/ready", _checked(ready))
        for path, route in (routes or {}).items():
            app.router.add_get(path, _answered(route))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    def describe(self, **more: str) -> None:
        """Let `/` say more about this process."""
        self._info |= more

    def add_check(self, path: str, check: Check) -> None:
        """Let `path` answer as `/health` and `/ready` do; before this is opened."""
        self._app.router.add_get(path, _checked(check))

    def add_metrics(self, path: str) -> None:
        """Let `path` answer as `/metrics` does; before this is opened."""
        if path != "/metrics":
            self._app.router.add_get(path, self._metrics)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        await web.SockSite(self._runner, _listener(self._port)).start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    @property
    def bound_port(self) -> int:
        """The TCP port that is listened on."""
        return int(self._runner.addresses[0][1])

    async def _root(self, _: web.Request) -> web.Response:
        return web.json_response(self._info)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


def _listener(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _checked(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        found = await check()
        return web.json_response(dict(found.body), status=200 if found.ok else 503)

    return answer


def _answered(route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(dict(await route()))

    return answer
