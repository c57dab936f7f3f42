"""Around every request: an id, limits of rate, time and size, and an answer whatever happens."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muster_coordinator.accounts.ratelimit import Allowance, RateLimit, TooOften
from muster_coordinator.http_face.clients import Network, client
from muster_coordinator.http_face.errors import INTERNAL, Problem, problem
from muster_runtime.logs import bind

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 5 * 1024 * 1024
TIMEOUT_SECONDS = 30.0

_HEADS = {"http.response.start", "websocket.http.response.start", "websocket.accept"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

Observe = Callable[[str, int, float], None]

_TOO_SLOW = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "SERVICE_UNAVAILABLE",
    f"not done within {TIMEOUT_SECONDS:g} s; come back later",
    retry_after=2,
)


@dataclass(frozen=True, slots=True)
class Gate:
    """How often each client may ask.

    Args:
        limit: None for any number of times.
        trusted: networks of the proxies that say truly for whom they ask.
    """

    limit: RateLimit | None = None
    trusted: Sequence[Network] = ()

    def admit(self, scope: Scope) -> Allowance | None:
        """Count one request; None where nothing is counted."""
        if self.limit is None:
            return None
        return self.limit.take(client(scope, self.trusted))


class Frame:
    """Wraps an ASGI application.

    Takes over a sane `X-Request-ID`, or makes one; it is in the answer, in every log line and in
    every error.

    Args:
        observe: told method, status and seconds of each request.
        gate: who may ask how often; anybody at any rate by default.
    """

    def __init__(self, app: ASGIApp, observe: Observe, gate: Gate | None = None) -> None:
        self._app = app
        self._observe = observe
        self._gate = gate or Gate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one WebSocket, which has an id but no limits."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        with bind(request_id=request_id):
            if scope["type"] == "websocket":
                await self._app(scope, receive, Answer(send, {"X-Request-ID": request_id}))
            else:
                await self._request(scope, receive, send, request_id)

    async def _request(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        allowance = self._gate.admit(scope)
        more = {"X-Request-ID": request_id} | (allowance.headers if allowance else {})
        answer = Answer(send, more)
        begun = time.monotonic()
        failure = _too_often(allowance) or await self._served(
            scope, _limited(Headers(scope=scope), receive), answer
        )
        if failure is not None and not answer.status:
            await failure.response(request_id)(scope, receive, answer)
        self._observe(scope["method"], answer.status, time.monotonic() - begun)

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> Problem | None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._app(scope, receive, send)
        except TimeoutError:
            return _TOO_SLOW
        except Exception:
            log.exception("request failed", extra={"path": scope["path"]})
            return INTERNAL
        return None


class Answer:
    """The sending side: adds headers, and remembers what was begun.

    Attributes:
        status: of the answer; 0 before it.
    """

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = headers
        self.status = 0

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] in _HEADS:
            self.status = message.get("status", HTTPStatus.SWITCHING_PROTOCOLS)
            MutableHeaders(scope=message).update(self._headers)
        await self._send(message)


def _too_often(allowance: Allowance | None) -> Problem | None:
    if allowance is None or allowance.retry_after is None:
        return None
    return problem(TooOften(allowance))


def _too_large() -> HTTPException:
    detail = f"the body is too large; allowed: {MAX_BODY_BYTES} bytes"
    return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def _limited(headers: Headers, receive: Receive) -> Receive:
    """`receive`, as long as the body is within its limit.

    The framework has such a limit too, but answers in a form of its own.
    """
    announced = headers.get("content-length", "0")
    left = MAX_BODY_BYTES
    too_large = announced.isdigit() and int(announced) > MAX_BODY_BYTES

    async def limited() -> Message:
        nonlocal left
        if too_large:
            raise _too_large()
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _too_large()
        return message

    return limited
