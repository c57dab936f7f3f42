"""The way into the HTTP side of the workload API: who asks, and how often it may."""

from collections.abc import Collection, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from muster_coordinator.accounts.authentication import Credential, bearer
from muster_coordinator.accounts.entrance import Entrance
from muster_coordinator.accounts.errors import Unauthenticated
from muster_coordinator.engine.errors import EngineError
from muster_coordinator.http_face.clients import Network, client
from muster_coordinator.http_face.errors import problem
from muster_coordinator.http_face.frame import Answer
from muster_coordinator.http_face.server import PEER_CERTIFICATE

BEARER_PROTOCOL = "bearer."
"""Before the key in `Sec-WebSocket-Protocol`, as pages can't send `Authorization` there."""


class Entry:
    """Wraps an ASGI application, which then finds its `Caller` in `scope["state"]["caller"]`.

    Args:
        open_paths: what anybody may ask for, as often as strangers may.
        trusted: networks of the proxies that say truly for whom they ask.
    """

    def __init__(
        self,
        app: ASGIApp,
        entrance: Entrance,
        open_paths: Collection[str],
        trusted: Sequence[Network] = (),
    ) -> None:
        self._app = app
        self._entrance = entrance
        self._open_paths = open_paths
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        try:
            headers = await self._admitted(scope)
        except EngineError as error:
            refusal = problem(error).response(scope["state"]["request_id"])
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, Answer(send, headers))

    async def _admitted(self, scope: Scope) -> dict[str, str]:
        address = client(scope, self._trusted)
        if scope["path"] in self._open_paths:
            allowance = self._entrance.stranger(address)
        else:
            caller, allowance = await self._entrance.admit(credential(scope), address)
            scope["state"]["caller"] = caller
        return allowance.headers if allowance else {}


def credential(scope: Scope) -> Credential:
    """What a request shows.

    Raises:
        Unauthenticated: more than one `authorization`, or one of another kind.
    """
    given = Headers(scope=scope).getlist("authorization")
    if len(given) > 1:
        raise Unauthenticated(f"authorization is there {len(given)} times; allowed: once")
    offered = [
        one.removeprefix(BEARER_PROTOCOL)
        for one in scope.get("subprotocols", ())
        if one.startswith(BEARER_PROTOCOL)
    ]
    if given:
        token = bearer(given[0])
    elif offered:
        token = bearer(f"Bearer {offered[0]}")
    else:
        token = ""
    return Credential(token, scope["state"].get(PEER_CERTIFICATE, b""))
