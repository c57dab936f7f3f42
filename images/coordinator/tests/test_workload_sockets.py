"""Updates over WebSocket, as a real client hears them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from muster_coordinator.http_face import server
from muster_coordinator.workload_face.sockets import SUBPROTOCOL
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .hands import Hands
from .harness import Replica, serving
from .tenants import client, make_key, submit, workloads

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dsn(postgres: PostgresServer) -> str:
    return await postgres.create_database()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replica]:
    async with serving(dsn, workloads(), tmp_path_factory.mktemp("sockets")) as shared:
        yield shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(dsn: str) -> str:
    return await make_key(dsn, "acme")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme(served: Replica, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(served, key) as found:
        yield found


@contextlib.asynccontextmanager
async def _watch(
    replica: Replica, key: str | None, workload_id: str, subprotocols: Sequence[str] = ()
) -> AsyncIterator[ClientConnection]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with connect(
        f"ws://127.0.0.1:{replica.ports.http}/v1/ws/workloads/{workload_id}",
        additional_headers=headers,
        subprotocols=list(subprotocols) or None,  # type: ignore[arg-type]
        open_timeout=60,
        proxy=None,
    ) as socket:
        yield socket


async def _next(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(60):
        found: dict[str, Any] = json.loads(await socket.recv())
    return found


async def _until(socket: ClientConnection, kind: str, **fields: Any) -> list[dict[str, Any]]:
    heard = []
    while True:
        heard.append(await _next(socket))
        if heard[-1]["type"] == kind and fields.items() <= heard[-1].items():
            return heard


async def test_a_workload_is_told_of_from_its_queue_to_its_end(
    served: Replica, key: str, acme: httpx.AsyncClient
) -> None:
    workload_id = await submit(acme)
    async with _watch(served, key, workload_id) as socket:
        first = await _next(socket)
        assert (first["type"], first["status"]) == ("status_update", "PENDING")
        assert first["workload_id"] == workload_id
        async with Hands(served) as hands:
            assignment = await hands.begin()
            await _until(socket, "status_update", status="RUNNING", worker_id="hands")
            await hands.progress(assignment, 50, "half")
            await _until(socket, "status_update", progress_percent=50, progress_message="half")
            await hands.log(assignment, "hello")
            *_, line = await _until(socket, "log_line")
            assert line["line"]["message"] == "hello"
            await hands.complete(assignment, {"slept": 2})
            *_, ended = await _until(socket, "completed")
        assert ended["result_data"] == {"slept": 2}
        with pytest.raises(ConnectionClosed) as closed:
            await _next(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000


async def test_a_failure_says_why(served: Replica, key: str, acme: httpx.AsyncClient) -> None:
    workload_id = await submit(acme)
    async with _watch(served, key, workload_id) as socket, Hands(served) as hands:
        await hands.fail(await hands.begin(), "no bed")
        *_, ended = await _until(socket, "failed")
    assert ended["error_message"] == "no bed"


async def test_what_is_at_its_end_is_told_at_once(
    served: Replica, key: str, acme: httpx.AsyncClient
) -> None:
    workload_id = await submit(acme, "unheard")
    await acme.post(f"/v1/workloads/{workload_id}/cancel")
    async with _watch(served, key, workload_id) as socket:
        assert (await _next(socket))["status"] == "CANCELLED"
        with pytest.raises(ConnectionClosed):
            await _next(socket)


async def test_a_page_shows_its_key_as_a_subprotocol(
    served: Replica, key: str, acme: httpx.AsyncClient
) -> None:
    workload_id = await submit(acme, "unheard")
    async with _watch(served, None, workload_id, [SUBPROTOCOL, f"bearer.{key}"]) as socket:
        assert socket.subprotocol == SUBPROTOCOL
        assert (await _next(socket))["status"] == "PENDING"


async def test_a_watch_outlasts_the_patience_with_heads(
    served: Replica, key: str, acme: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 3.0)
    workload_id = await submit(acme, "unheard")
    async with _watch(served, key, workload_id) as socket:
        await _next(socket)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.5):
                await socket.recv()
        await acme.post(f"/v1/workloads/{workload_id}/cancel")
        assert (await _next(socket))["status"] == "CANCELLED"


@pytest.mark.parametrize(
    ("known", "workload_id", "status", "code"),
    [
        (False, UNKNOWN, 401, "UNAUTHORIZED"),
        (True, UNKNOWN, 404, "NOT_FOUND"),
        (True, "7", 400, "INVALID_INPUT"),
    ],
)
async def test_a_watch_that_can_not_be_is_refused(
    served: Replica, key: str, known: bool, workload_id: str, status: int, code: str
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with _watch(served, key if known else None, workload_id):
            pass
    response = caught.value.response
    assert response.status_code == status
    error = json.loads(response.body or b"")["error"]
    assert error["code"] == code
    assert error["request_id"] == response.headers["X-Request-ID"]


async def test_workloads_of_others_are_not_watched(
    served: Replica, dsn: str, acme: httpx.AsyncClient
) -> None:
    workload_id = await submit(acme, "unheard")
    with pytest.raises(InvalidStatus) as caught:
        async with _watch(served, await make_key(dsn, "thief"), workload_id):
            pass
    assert caught.value.response.status_code == 404


async def test_administrators_watch_nothing(
    served: Replica, dsn: str, acme: httpx.AsyncClient
) -> None:
    workload_id = await submit(acme, "unheard")
    with pytest.raises(InvalidStatus) as caught:
        async with _watch(served, await make_key(dsn, None), workload_id):
            pass
    assert caught.value.response.status_code == 403


async def test_a_customer_has_so_many_watches_and_no_more(
    served: Replica, key: str, acme: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert served.coordinator is not None
    watches = served.coordinator.watches
    # Those of before end on this side only after their clients have hung up.
    await eventually(lambda: not watches._open, what="nobody watches")
    monkeypatch.setattr(watches, "_most", 1)
    workload_id = await submit(acme, "unheard")
    async with _watch(served, key, workload_id) as first:
        await _next(first)
        with pytest.raises(InvalidStatus) as caught:
            async with _watch(served, key, workload_id):
                pass
        assert caught.value.response.status_code == 429


async def test_a_watch_ends_when_the_coordinator_stops(
    dsn: str, tmp_path_factory: pytest.TempPathFactory, key: str
) -> None:
    async with serving(dsn, workloads(), tmp_path_factory.mktemp("stopping")) as replica:
        async with client(replica, key) as customer:
            workload_id = await submit(customer, "unheard")
        watching = connect(
            f"ws://127.0.0.1:{replica.ports.http}/v1/ws/workloads/{workload_id}",
            additional_headers={"Authorization": f"Bearer {key}"},
            open_timeout=60,
            proxy=None,
        )
        socket = await watching
        await _next(socket)
    with pytest.raises(ConnectionClosed) as closed:
        await _next(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code in {1001, 1012}
