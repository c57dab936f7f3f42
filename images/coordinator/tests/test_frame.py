"""What is around every HTTP request, whatever the endpoint does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from muster_coordinator.http_face import errors, frame, traced
from muster_coordinator.http_face.frame import Frame

Seen = list[tuple[str, int]]


@contextlib.asynccontextmanager
async def _client(seen: Seen) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    errors.install(app, {})

    async def broken() -> None:
        raise RuntimeError("a secret detail")

    async def slow() -> None:
        await asyncio.sleep(60)

    app.add_api_route("/broken", broken)
    app.add_api_route("/slow", slow)
    framed = Frame(app, lambda method, status, _: seen.append((method, status)))
    transport = httpx.ASGITransport(framed)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_an_unexpected_error_is_logged_and_not_told() -> None:
    seen: Seen = []
    async with _client(seen) as client:
        answer = await client.get("/broken", headers={"X-Request-ID": "r-1"})
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] == "r-1"
    assert answer.json()["error"] == {
        "code": "INTERNAL_ERROR",
        "message": "internal error; see the coordinator's log",
        "details": {},
        "request_id": "r-1",
    }
    assert seen == [("GET", 500)]


async def test_a_request_that_takes_too_long_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frame, "TIMEOUT_SECONDS", 0.05)
    seen: Seen = []
    async with _client(seen) as client:
        answer = await client.get("/slow")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.json()["error"]["request_id"] == answer.headers["X-Request-ID"]
    assert seen == [("GET", 503)]


@pytest.mark.parametrize(
    ("method", "path", "begins"),
    [
        ("POST", "/api/v1/tasks/merkle", True),
        ("POST", "/api/v1/tasks/batch", True),
        ("POST", "/v1/workloads", True),
        ("GET", "/v1/workloads", False),
        ("POST", "/v1/workloads/7/cancel", False),
        ("POST", "/api/v1/tasks/7/cancel", False),
        ("POST", "/api/v1/verify", False),
    ],
)
def test_a_trace_begins_with_each_submission(method: str, path: str, begins: bool) -> None:
    scope = {"type": "http", "method": method, "path": path}
    assert traced._submits(scope) is begins
