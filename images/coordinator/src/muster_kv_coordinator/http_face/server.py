"""The HTTP server: aiohttp, which the operations endpoints are served with too."""

import asyncio
import logging
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from google.protobuf.message import Message

from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.service import Service
from muster_kv_coordinator.core.errors import ErrorCode, KvError, invalid
from muster_kv_coordinator.core.limits import VALUE_BYTES
from muster_kv_coordinator.core.ratelimit import Allowance
from muster_kv_coordinator.http_face import views
from muster_kv_coordinator.http_face.bodies import shown_clock
from muster_kv_coordinator.http_face.openapi import document
from muster_kv_coordinator.http_face.routes import ROUTES, Asked, Route
from muster_runtime.http_certificates import Encryption
from muster_runtime.logs import bind

log = logging.getLogger(__name__)

# A value of the largest size in base64, and what is around it.
_BODY_BYTES = VALUE_BYTES * 4 // 3 + 64 * 1024
_ID = web.RequestKey("request_id", str)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

Check = Callable[[], Awaitable[bool]]


class HttpFace:
    """Serves the REST API on one port.

    Args:
        port: TCP port; 0 takes a free one, see `bound_port`.
        seconds: for one request, its body among them.
        encryption: None serves without TLS.
        ready: whether this replica should be sent requests.
    """

    def __init__(
        self,
        service: Service,
        version: str,
        *,
        address: tuple[str, int],
        seconds: float,
        encryption: Encryption | None,
        ready: Check,
    ) -> None:
        self._service = service
        self._seconds = seconds
        self._ready = ready
        self._address = address
        self._encryption = encryption
        self._following: asyncio.Task[None] | None = None
        self._document = document(version)
        app = web.Application(client_max_size=_BODY_BYTES, middlewares=[self._frame])
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._handler(route))
        app.router.add_get("/openapi.json", self._described)
        for path in ("/health", "/health/live"):
            app.router.add_get(path, self._alive)
        for path in ("/ready", "/health/ready"):
            app.router.add_get(path, self._is_ready)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=seconds)

    @property
    def bound_port(self) -> int:
        """The TCP port that is listened on."""
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Begin to serve.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        host, port = self._address
        context = None if self._encryption is None else self._encryption.context
        site = web.TCPSite(self._runner, host, port, ssl_context=context, backlog=1024)
        await site.start()
        if self._encryption is not None:
            self._following = asyncio.create_task(self._encryption.follow(), name="certificates")

    async def stop(self) -> None:
        """Take no more requests, and return when those under way are answered."""
        if self._following is not None:
            self._following.cancel()
        await self._runner.cleanup()

    @web.middleware
    async def _frame(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request[_ID] = request_id
        with bind(request_id=request_id):
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await handler(request)
            except TimeoutError:
                text = f"not done within {self._seconds:g} s; a write may have happened"
                answer = _error(request, HTTPStatus.GATEWAY_TIMEOUT, _internal(text))
            except web.HTTPException as error:
                answer = _error(request, HTTPStatus(error.status), _refused(error))
                if "Allow" in error.headers:
                    answer.headers["Allow"] = error.headers["Allow"]
            except KvError as error:
                answer = _error(request, views.status(error.code, error.retry_after), error)
            except Exception:
                log.exception("request failed", extra={"path": request.path})
                text = "internal error; see the coordinator's log"
                answer = _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, _internal(text))
        answer.headers["X-Request-ID"] = request_id
        return answer

    def _handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
        known = {parameter.name for parameter in route.query}

        async def handle(request: web.Request) -> web.Response:
            for name in request.query:
                if name not in known:
                    raise invalid(name, request.query[name], "no such parameter")
            body = await request.read() if route.body is not None else b""
            asked = Asked(request.match_info, request.query, request.headers, body)
            caller = Caller(request.headers.get("Authorization", ""), seconds=self._seconds)
            answer = await self._service.call(route.call, route.message(asked), caller)
            return _answer(request, route, answer, caller)

        return handle

    async def _described(self, _: web.Request) -> web.Response:
        return web.json_response(self._document)

    async def _alive(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def _is_ready(self, _: web.Request) -> web.Response:
        ready = await self._ready()
        return web.json_response({"ready": ready}, status=200 if ready else 503)


def _answer(request: web.Request, route: Route, answer: Message, caller: Caller) -> web.Response:
    message: Any = answer
    if message.success:
        response = web.json_response(
            {"status": "success"} | route.view(message), status=route.success
        )
    else:
        code = ErrorCode(message.error_code)
        text = message.error_message.removeprefix(f"{code.name}: ")
        error = KvError(code, text, retry_after=caller.retry_after)
        more = {}
        if code is ErrorCode.KEY_NOT_FOUND and message.vector_clock.entries:
            more = {"vector_clock": shown_clock(message.vector_clock)}
        response = _error(request, views.status(code, caller.retry_after), error, more)
    if caller.allowance is not None and caller.allowance.limit:
        response.headers.update(_rate(caller.allowance))
    return response


def _rate(allowance: Allowance) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(allowance.limit),
        "X-RateLimit-Remaining": str(allowance.remaining),
        "X-RateLimit-Reset": str(math.ceil(time.time()) + allowance.reset),
    }


def _error(
    request: web.Request, status: HTTPStatus, error: KvError, more: Mapping[str, Any] | None = None
) -> web.Response:
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    body = {
        "status": "error",
        "error_code": error.code.name,
        "message": error.message,
        "request_id": request[_ID],
        **(more or {}),
    }
    return web.json_response(body, status=status, headers=headers)


def _refused(error: web.HTTPException) -> KvError:
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return invalid("body", "more", f"at most {_BODY_BYTES} bytes")
    return KvError(ErrorCode.INVALID_REQUEST, f"{error.reason}; see /openapi.json")


def _internal(text: str) -> KvError:
    return KvError(ErrorCode.INTERNAL_ERROR, text)
