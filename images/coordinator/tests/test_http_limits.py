"""How much one client may ask, how much may wait, and which web pages may ask."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from muster_coordinator import faces
from muster_coordinator.engine.customers import Tier
from muster_coordinator.http_face import server
from muster_testing.waiting import eventually

from .answers import refused
from .harness import NO_TLS, process, serving, settings
from .tenants import client, make_key

pytestmark = pytest.mark.integration

ADDITIONS = "/api/v1/tasks/addition"
TASKS = "/api/v1/tasks"
SUM = {"a": 1, "b": 2}
PAGE = "https://app.example.com"


def _limited(**http: Any) -> dict[str, Any]:
    return settings() | {"http": http}


class Clock:
    """Time that passes when the test says so, in place of the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def test_a_client_may_ask_20_times_at_once_by_default(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(faces, "time", clock)
    document = settings()
    del document["http"]
    async with serving(dsn, document, tmp_path) as replica:
        answers = await asyncio.gather(*(replica.http.get(TASKS) for _ in range(40)))
        passed = [answer for answer in answers if answer.status_code == 200]
        assert len(passed) == 20
        late = [answer for answer in answers if answer.status_code != 200][-1]
        error = refused(late, 429, "RATE_LIMITED")
        assert late.headers["Retry-After"] == "1"
        assert late.headers["X-RateLimit-Limit"] == "20"
        assert late.headers["X-RateLimit-Remaining"] == "0"
        assert "X-RateLimit-Reset" in late.headers
        assert error["details"] == {"limit": 20, "retry_after": 1}
        clock.now += error["details"]["retry_after"]
        assert (await replica.http.get(TASKS)).status_code == 200
        assert (
            await replica.metric('coordinator_http_requests_total{method="GET",status="429"}') >= 1
        )


async def test_the_rate_is_configured_and_a_new_connection_does_not_pass_it(
    dsn: str, tmp_path: Path
) -> None:
    async with serving(dsn, _limited(rate_limit=0.01, rate_burst=2), tmp_path) as replica:
        statuses = []
        for _ in range(4):
            async with httpx.AsyncClient(
                base_url=replica.http.base_url, timeout=60.0, verify=NO_TLS
            ) as connection:
                statuses.append((await connection.get(TASKS)).status_code)
        assert statuses == [200, 200, 429, 429]


async def test_a_refused_submission_is_not_stored(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, _limited(rate_limit=0.01, rate_burst=2), tmp_path) as replica:
        await replica.add()
        listed = await replica.http.get(TASKS)
        assert len(listed.json()["tasks"]) == 1
        refused(await replica.http.post(ADDITIONS, json=SUM), 429, "RATE_LIMITED")


async def test_forwarded_addresses_count_from_trusted_proxies_only(
    dsn: str, tmp_path: Path
) -> None:
    for trusted, expected in (([], [200, 429]), (["127.0.0.1", "::1"], [200, 200])):
        document = _limited(rate_limit=0.01, rate_burst=1, trusted_proxies=trusted)
        async with serving(dsn, document, tmp_path) as replica:
            statuses = [
                (await replica.http.get(TASKS, headers={"X-Forwarded-For": client})).status_code
                for client in ("198.51.100.1", "198.51.100.2")
            ]
        assert statuses == expected


async def test_no_rate_limit_where_it_is_0(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, _limited(rate_limit=0), tmp_path) as replica:
        answers = await asyncio.gather(*(replica.http.get(TASKS) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert "X-RateLimit-Limit" not in answers[0].headers


async def test_web_pages_may_not_ask_by_default(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(), tmp_path) as replica:
        answer = await replica.http.get(TASKS, headers={"Origin": PAGE})
        assert "Access-Control-Allow-Origin" not in answer.headers
        preflight = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
        refused(await replica.http.options(ADDITIONS, headers=preflight), 405, "INVALID_INPUT")


async def test_web_pages_of_configured_origins_may_ask(dsn: str, tmp_path: Path) -> None:
    document = _limited(rate_limit=0.01, rate_burst=1, cors_origins=[PAGE])
    async with serving(dsn, document, tmp_path) as replica:
        asked = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, idempotency-key, x-request-id",
        }
        preflight = await replica.http.options(ADDITIONS, headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == PAGE
        stranger = await replica.http.options(
            ADDITIONS, headers=asked | {"Origin": "https://evil.example.com"}
        )
        assert "Access-Control-Allow-Origin" not in stranger.headers
        for status in (200, 429):
            answer = await replica.http.get(TASKS, headers={"Origin": PAGE})
            assert answer.status_code == status
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            exposed = answer.headers["Access-Control-Expose-Headers"]
            assert "X-Request-ID" in exposed
            assert "Retry-After" in exposed


async def test_a_full_pool_takes_nothing_more(dsn: str, tmp_path: Path) -> None:
    document = settings(max_queued=3, poll_interval="1h")
    async with serving(dsn, document, tmp_path) as replica:
        first = [await replica.add() for _ in range(2)]
        batch = {"tasks": [{"circuit": "addition"} | SUM] * 2}
        answer = await replica.http.post("/api/v1/tasks/batch", json=batch)
        error = refused(answer, 503, "SERVICE_UNAVAILABLE")
        assert error["message"] == "pool demo: 2 tasks wait, of at most 3; come back later"
        assert answer.headers["Retry-After"] == "5"
        first.append(await replica.add())
        answer = await replica.http.post(ADDITIONS, json=SUM)
        refused(answer, 503, "SERVICE_UNAVAILABLE")
        listed = (await replica.http.get(TASKS)).json()["tasks"]
        assert [task["task_id"] for task in listed] == first[::-1]


async def test_a_pool_without_a_limit_takes_all(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(max_queued=0), tmp_path) as replica:
        await replica.add()
        await replica.add()


@pytest.mark.parametrize(
    ("before", "sent"),
    [(0, b""), (0, b"GET /x HTTP/1.1\r\nHost: x\r\n"), (1, b"GET /x HTTP/1.1\r\nHost: x\r\n")],
)
async def test_a_connection_without_a_request_is_closed(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, sent: bytes
) -> None:
    # A machine may be slow while there is something to wait for.
    monkeypatch.setattr(server, "HEAD_SECONDS", 600.0 if before else 0.5)
    async with serving(dsn, settings(), tmp_path) as replica:
        reader, writer = await asyncio.open_connection("127.0.0.1", replica.ports.http)
        for _ in range(before):
            writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            [length] = re.findall(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length))
        monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
        writer.write(sent)
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()


async def test_a_long_poll_outlasts_the_patience_with_heads(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 3.0)
    async with serving(dsn, settings(), tmp_path) as replica:
        task = await replica.task(await replica.add(), wait="3500ms")
        assert task["status"] == "pending"


async def test_the_request_id_is_in_the_log(dsn: str, tmp_path: Path) -> None:
    with process(dsn, settings(), tmp_path / "c-0") as running:
        replica = await running.serving()
        await replica.http.post(ADDITIONS, json=SUM, headers={"X-Request-ID": "r-77"})
        await replica.close()

        def logged() -> list[dict[str, Any]]:
            return [line for line in running.lines if line.get("request_id") == "r-77"]

        [line] = await eventually(logged)
        assert line["message"] == "tasks submitted"
        assert line["task_id"]


async def test_proofs_need_a_key_where_that_is_configured(dsn: str, tmp_path: Path) -> None:
    document = settings() | {"http": {"rate_limit": 0, "require_keys": True}}
    async with serving(dsn, document, tmp_path) as replica:
        for answer in (
            await replica.http.get(TASKS),
            await replica.http.post(ADDITIONS, json=SUM),
            await replica.http.get(TASKS, headers={"Authorization": "Bearer nyt_acme_nothing"}),
        ):
            refused(answer, 401, "UNAUTHORIZED")
        described = (await replica.http.get("/openapi.json")).json()
        assert described["security"] == [{"bearer": []}]

        key = await make_key(dsn, "acme", Tier.STANDARD)
        async with client(replica, key) as acme:
            taken = await acme.post(ADDITIONS, json=SUM)
            assert taken.status_code == 202
            assert taken.headers["X-RateLimit-Limit"] == "50"
            [task] = (await acme.get(TASKS)).json()["tasks"]
            assert task["task_id"] == taken.json()["task_id"]


async def test_proofs_need_no_key_by_default(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(), tmp_path) as replica:
        assert (await replica.http.get(TASKS)).status_code == 200
        assert "security" not in (await replica.http.get("/openapi.json")).json()
