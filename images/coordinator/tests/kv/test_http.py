"""The REST face."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from muster_testing.postgres import PostgresServer

from .harness import Coordinator, serving, settings
from .nodes import memory_nodes

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

KV = "/v1/key-value"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kv(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Coordinator]:
    """A coordinator with three nodes and the tenant `t`."""
    home: Path = tmp_path_factory.mktemp("http")
    document = settings(await postgres.create_database())
    async with (
        memory_nodes("n-1", "n-2", "n-3") as nodes,
        serving(document, home) as coordinator,
    ):
        for node in nodes:
            body = {"node_id": node.node_id, "host": "127.0.0.1", "port": node.member.port}
            answer = await coordinator.http.post("/v1/admin/storage-nodes", json=body)
            assert answer.status_code == 202, answer.text
        await coordinator.healthy(3)
        made = await coordinator.http.post("/v1/tenants", json={"tenant_id": "t"})
        assert made.status_code == 201, made.text
        assert made.json()["replication_factor"] == 3
        yield coordinator


async def _put(kv: Coordinator, key: str, value: str, **more: Any) -> Any:
    body = {"tenant_id": "t", "key": key, "value": value} | more
    answer = await kv.http.post(KV, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _get(kv: Coordinator, key: str) -> Any:
    return await kv.http.get(KV, params={"tenant_id": "t", "key": key})


async def test_write_read_delete(kv: Coordinator) -> None:
    written = await _put(kv, "a", "1")
    assert (written["status"], written["consistency"]) == ("success", "quorum")
    assert written["replica_count"] >= 2
    read = (await _get(kv, "a")).json()
    assert (read["value"], read["vector_clock"]) == ("1", written["vector_clock"])
    where = {"tenant_id": "t", "key": "a"}
    deleted = await kv.http.delete(KV, params=where)
    assert deleted.status_code == 200, deleted.text
    gone = await _get(kv, "a")
    assert gone.status_code == 404
    assert gone.json()["error_code"] == "KEY_NOT_FOUND"
    assert gone.json()["vector_clock"]


async def test_siblings_and_contexts(kv: Coordinator) -> None:
    await _put(kv, "s", "1")
    await _put(kv, "s", "2", context={})
    read = (await _get(kv, "s")).json()
    assert {sibling["value"] for sibling in read["siblings"]} == {"1", "2"}
    await _put(kv, "s", "3", context=read["vector_clock"])
    assert "siblings" not in (await _get(kv, "s")).json()


async def test_bytes_that_are_no_text(kv: Coordinator) -> None:
    data = base64.b64encode(b"\xff\x00").decode()
    answer = await kv.http.post(KV, json={"tenant_id": "t", "key": "b", "value_base64": data})
    assert answer.status_code == 200, answer.text
    assert (await _get(kv, "b")).json()["value_base64"] == data


async def test_idempotency_keys(kv: Coordinator) -> None:
    for value, status, duplicate in (("1", 200, False), ("1", 200, True), ("2", 409, None)):
        body = {"tenant_id": "t", "key": "i", "value": value}
        answer = await kv.http.post(KV, json=body, headers={"Idempotency-Key": "k"})
        assert answer.status_code == status, answer.text
        assert answer.json().get("is_duplicate") == duplicate


async def test_scans(kv: Coordinator) -> None:
    for n in range(5):
        await _put(kv, f"scan/{n}", str(n))
    params: dict[str, Any] = {"tenant_id": "t", "prefix": "scan/", "page_size": 3}
    first = (await kv.http.get("/v1/key-values", params=params)).json()
    assert len(first["entries"]) == 3
    params["page_token"] = first["next_page_token"]
    second = (await kv.http.get("/v1/key-values", params=params)).json()
    keys = [entry["key"] for page in (first, second) for entry in page["entries"]]
    assert sorted(keys) == [f"scan/{n}" for n in range(5)]
    assert second["next_page_token"] == ""


async def test_tenants_and_their_rates(kv: Coordinator) -> None:
    made = await kv.http.post("/v1/tenants", json={"tenant_id": "slow"})
    assert made.status_code == 201
    policy = {"reads_per_minute": 2}
    changed = await kv.http.put("/v1/tenants/slow/policy", json=policy)
    assert changed.json()["policy"]["reads_per_minute"] == 2
    params = {"tenant_id": "slow", "key": "a"}
    answers = [await kv.http.get(KV, params=params) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].headers["X-RateLimit-Limit"] == "2"
    # Of two in a minute both are used: a minute until both are there again.
    assert 0 < int(answers[2].headers["X-RateLimit-Reset"]) - time.time() <= 62
    assert int(answers[2].headers["Retry-After"]) >= 1
    assert answers[2].json()["error_code"] == "RATE_LIMIT_EXCEEDED"
    found = (await kv.http.get("/v1/tenants/slow")).json()
    assert (found["tenant_id"], found["replication_factor"]) == ("slow", 3)


async def test_topology(kv: Coordinator) -> None:
    nodes = (await kv.http.get("/v1/admin/storage-nodes")).json()["nodes"]
    assert {node["node_id"]: node["status"] for node in nodes} == {
        f"n-{n}": "active" for n in (1, 2, 3)
    }
    assert all(node["reachable"] for node in nodes)
    body = {"node_id": "n-4", "host": "h", "port": 1}
    added = await kv.http.post("/v1/admin/storage-nodes", json=body)
    assert added.status_code == 202
    where = f"/v1/admin/migrations/{added.json()['migration_id']}"
    status = (await kv.http.get(where)).json()
    assert (status["status"], status["migration_status"]) == ("success", "pending")
    cancelled = await kv.http.post(f"{where}/cancel")
    assert cancelled.json()["migration_status"] == "cancelled"
    changed = await kv.http.put("/v1/tenants/t/replication-factor", json={"replication_factor": 9})
    assert changed.status_code == 400
    assert changed.json()["error_code"] == "INVALID_REPLICATION_FACTOR"
    removed = await kv.http.delete("/v1/admin/storage-nodes/n-1", params={"force": "true"})
    assert removed.status_code == 409
    assert removed.json()["error_code"] == "NODE_IN_USE"


WRITE = {"tenant_id": "t", "key": "k", "value": "v"}
FUTURE = {f"n-{n}#00000000": 10**9 for n in (1, 2, 3)}


@pytest.mark.parametrize(
    ("method", "path", "request_", "named"),
    [
        ("POST", KV, {"content": b"{"}, "body"),
        ("POST", KV, {"json": WRITE | {"key": ""}}, "key"),
        ("POST", KV, {"json": WRITE | {"key": "k" * 1025}}, "key"),
        ("POST", KV, {"json": WRITE | {"key": 1}}, "key"),
        ("POST", KV, {"json": WRITE | {"tenant_id": "a:b"}}, "tenant_id"),
        ("POST", KV, {"json": WRITE | {"tenant_id": "t" * 257}}, "tenant_id"),
        ("POST", KV, {"json": WRITE | {"consistency": "most"}}, "consistency"),
        ("POST", KV, {"json": WRITE | {"context": {"a": 0}}}, "context"),
        ("POST", KV, {"json": WRITE | {"context": FUTURE}}, "context"),
        ("POST", KV, {"json": WRITE | {"ttl_seconds": -1}}, "ttl_seconds"),
        ("POST", KV, {"json": WRITE | {"more": 1}}, "more"),
        ("POST", KV, {"json": WRITE | {"value_base64": ""}}, "value"),
        ("POST", KV, {"json": {"tenant_id": "t", "key": "k"}}, "value"),
        ("POST", KV, {"json": WRITE, "headers": {"Idempotency-Key": "k" * 257}}, "idempotency_key"),
        ("GET", KV, {"params": {"tenant_id": "t"}}, "key"),
        ("GET", KV, {"params": {"tenant_id": "t", "key": "k", "x": "1"}}, "x"),
        ("DELETE", KV, {"params": {"tenant_id": "t", "key": "k", "context": "[]"}}, "context"),
        ("GET", "/v1/key-values", {"params": {"tenant_id": "t", "page_size": "x"}}, "page_size"),
        ("GET", "/v1/key-values", {"params": {"tenant_id": "t", "page_size": "9999"}}, "page_size"),
        ("GET", "/v1/key-values", {"params": {"tenant_id": "t", "page_token": "!"}}, "page_token"),
        ("GET", "/v1/key-values", {"params": {"tenant_id": "t", "prefix": "p" * 1025}}, "prefix"),
        ("POST", "/v1/tenants", {"json": {}}, "tenant_id"),
        ("POST", "/v1/tenants", {"json": {"tenant_id": "x", "policy": {"durability": "No"}}},
         "policy.durability"),
        ("PUT", "/v1/tenants/t/policy", {"json": {"reads_per_minute": -5}},
         "reads_per_minute"),
        ("DELETE", "/v1/admin/storage-nodes/n-1", {"params": {"force": "maybe"}}, "force"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(
    kv: Coordinator, method: str, path: str, request_: dict[str, Any], named: str
) -> None:
    answer = await kv.http.request(method, path, **request_)
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert (body["status"], body["error_code"]) == ("error", "INVALID_REQUEST")
    assert body["message"].startswith(named), body["message"]
    assert "allowed: " in body["message"]
    assert body["request_id"] == answer.headers["X-Request-ID"]


async def test_unknown_places_and_methods(kv: Coordinator) -> None:
    answer = await kv.http.get("/v1/nothing")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "INVALID_REQUEST")
    answer = await kv.http.patch(KV)
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


async def test_a_body_beyond_all_limits(kv: Coordinator) -> None:
    body = {"tenant_id": "t", "key": "k", "value": "v" * (11 << 20)}
    answer = await kv.http.post(KV, json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_REQUEST")
    answer = await kv.http.post(KV, content=b"x" * (15 << 20))
    assert answer.status_code == 413


@pytest.mark.asyncio
async def test_a_request_that_does_not_come_to_its_end(dsn: str, tmp_path: Path) -> None:
    soon = {"read_timeout": "1s", "write_timeout": "1s"}
    async with serving(settings(dsn, server=soon), tmp_path) as kv:
        reader, writer = await asyncio.open_connection("127.0.0.1", kv.ports.http)
        head = f"POST {KV} HTTP/1.1\r\nHost: kv\r\nContent-Length: 100\r\n\r\n{{"
        writer.write(head.encode())
        answer = await reader.readuntil(b"}")
        writer.close()
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"not done within 1 s; a write may have happened" in answer


async def test_the_document_names_every_endpoint(kv: Coordinator) -> None:
    document = (await kv.http.get("/openapi.json")).json()
    assert set(document["paths"][KV]) == {"get", "post", "delete"}
    body = document["paths"][KV]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].rsplit("/", 1)[1] in document["components"]["schemas"]


@pytest.mark.asyncio
@pytest.mark.parametrize("enabled", [True, False])
async def test_metrics_are_where_they_should_be(dsn: str, tmp_path: Path, enabled: bool) -> None:
    document = settings(dsn, metrics={"port": 0, "path": "/own/metrics", "enabled": enabled})
    async with serving(document, tmp_path) as kv:
        answer = await kv.ops.get("/own/metrics")
        assert answer.status_code == 200
        assert ("coordinator_ring_version" in answer.text) is enabled


async def test_health(kv: Coordinator) -> None:
    for path in ("/health", "/health/live"):
        assert (await kv.http.get(path)).json() == {"status": "healthy"}
    for path in ("/ready", "/health/ready"):
        assert (await kv.http.get(path)).json() == {"ready": True}
    for path in ("/health/live", "/health/ready", "/health", "/ready"):
        assert (await kv.ops.get(path)).status_code == 200
