"""Lets only those calls in whose callers are who they should be."""

from collections.abc import AsyncIterator, Collection
from typing import Any

import grpc

from muster_coordinator.grpc_face.authentication import Authentication, Principal, act_as
from muster_coordinator.grpc_face.handlers import Context, Continuation, Found, preceded

OPEN_TO_ALL = "grpc.health.v1.Health"
"""Probes have no tokens, and learn nothing but whether it serves."""


class Guard(grpc.aio.ServerInterceptor):
    """Asks for a bearer token before each call, of whichever service.

    A stream is judged when it opens; it ends with its connection, which has an age limit.

    Args:
        others: services that judge their callers by themselves.
    """

    def __init__(self, authentication: Authentication, others: Collection[str] = ()) -> None:
        self._authentication = authentication
        self._open = tuple(f"/{name}/" for name in (OPEN_TO_ALL, *others))

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Found:
        """Called by gRPC for each call."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(self._open):
            return handler
        return preceded(handler, self._admitted)

    async def _admitted(self, request: Any, context: Context) -> Any:
        metadata = context.invocation_metadata() or ()
        headers = [
            value if isinstance(value, str) else value.decode("latin-1")
            for key, value in metadata
            if key == "authorization"
        ]
        principal = await self._authentication.caller(headers)
        # Whatever message names a worker speaks for it, those of later versions too.
        act_as(principal, getattr(request, "worker_id", None))
        if isinstance(request, AsyncIterator):
            return _each_as(principal, request)
        return request


async def _each_as(principal: Principal, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The requests of a stream, each looked at; one that names no worker is about the first's."""
    async for request in requests:
        act_as(principal, getattr(request, "worker_id", "") or None)
        yield request
