"""Around submissions: the span `submit`, where the trace of a task begins or goes on."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muster_runtime.tracing import Step, Tracer

_TASKS = "/api/v1/tasks/"
_WORKLOADS = "/v1/workloads"


class Traced:
    """Wraps an ASGI application, which then finds the span in `traceparent`."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if not _submits(scope):
            await self._app(scope, receive, send)
            return
        parent = Headers(scope=scope).get("traceparent", "")
        with self._tracer.span(Step("submit", parent, "server")) as span:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.note(status=message["status"])
                    if message["status"] >= 500:
                        span.failed(f"status {message['status']}")
                await send(message)

            others = [(name, value) for name, value in scope["headers"] if name != b"traceparent"]
            own = (b"traceparent", span.traceparent.encode("latin-1"))
            await self._app({**scope, "headers": [*others, own]}, receive, noted)


def _submits(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"]
    task = path.startswith(_TASKS) and "/" not in path.removeprefix(_TASKS)
    return task or path == _WORKLOADS


def traced(app: ASGIApp, tracer: Tracer) -> ASGIApp:
    """The application, traced if traces go anywhere."""
    return Traced(app, tracer) if tracer.enabled else app
