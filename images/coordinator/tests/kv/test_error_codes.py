"""Every code of the contract, got over both wires."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest

from muster_kv.wire.messages import Merge, Take
from muster_kv_coordinator.core.administration import Administration
from muster_kv_coordinator.core.errors import ErrorCode
from muster_protos import kv_pb2 as pb

from .harness import Coordinator, serving, settings
from .nodes import MemoryNode, memory_nodes

pytestmark = pytest.mark.integration

SECRET = "s" * 40
KV = "/v1/key-value"
ID = "00000000-0000-0000-0000-000000000000"


def _token(**claims: Any) -> str:
    # Some are made with this module, long before they are shown.
    return jwt.encode({"exp": time.time() + 3600} | claims, SECRET, "HS256")


@dataclass(frozen=True)
class Asked:
    """One mistake: how it is made by gRPC and by REST, and the status that REST answers."""

    method: str
    fields: dict[str, Any]
    rest: tuple[str, str, dict[str, Any]]
    status: int
    token: str = ""


def _write(**fields: Any) -> dict[str, Any]:
    return {"tenant_id": "t", "key": "k", "value": "1"} | fields


MISTAKES: dict[ErrorCode, Asked] = {
    ErrorCode.INVALID_REQUEST: Asked(
        "WriteKeyValue", {"tenant_id": "t", "key": "k" * 1025},
        ("POST", KV, {"json": _write(key="k" * 1025)}), 400,
    ),
    ErrorCode.TENANT_NOT_FOUND: Asked(
        "GetTenant", {"tenant_id": "x"}, ("GET", "/v1/tenants/x", {}), 404,
    ),
    ErrorCode.TENANT_EXISTS: Asked(
        "CreateTenant", {"tenant_id": "t", "replication_factor": 1},
        ("POST", "/v1/tenants", {"json": {"tenant_id": "t", "replication_factor": 1}}), 409,
    ),
    ErrorCode.KEY_NOT_FOUND: Asked(
        "ReadKeyValue", {"tenant_id": "t", "key": "none"},
        ("GET", KV, {"params": {"tenant_id": "t", "key": "none"}}), 404,
    ),
    ErrorCode.IDEMPOTENCY_KEY_CONFLICT: Asked(
        "WriteKeyValue",
        {"tenant_id": "t", "key": "once", "value": b"2", "idempotency_key": "i"},
        ("POST", KV, {"json": _write(key="once", value="2"), "headers": {"Idempotency-Key": "i"}}),
        409,
    ),
    ErrorCode.INVALID_REPLICATION_FACTOR: Asked(
        "UpdateReplicationFactor", {"tenant_id": "t", "new_replication_factor": 11},
        ("PUT", "/v1/tenants/t/replication-factor", {"json": {"replication_factor": 11}}), 400,
    ),
    ErrorCode.NODE_IN_USE: Asked(
        "RemoveStorageNode", {"node_id": "n-1"},
        ("DELETE", "/v1/admin/storage-nodes/n-1", {}), 409,
    ),
    ErrorCode.MIGRATION_NOT_FOUND: Asked(
        "GetMigrationStatus", {"migration_id": ID},
        ("GET", f"/v1/admin/migrations/{ID}", {}), 404,
    ),
    ErrorCode.UNAUTHORIZED: Asked(
        "ListStorageNodes", {}, ("GET", "/v1/admin/storage-nodes", {}), 401, "nonsense",
    ),
    ErrorCode.FORBIDDEN: Asked(
        "ListStorageNodes", {}, ("GET", "/v1/admin/storage-nodes", {}), 403, _token(tenant="t"),
    ),
    ErrorCode.RATE_LIMIT_EXCEEDED: Asked(
        "WriteKeyValue", {"tenant_id": "busy", "key": "k"},
        ("POST", KV, {"json": _write(tenant_id="busy")}), 429,
    ),
    ErrorCode.INTERNAL_ERROR: Asked(
        "StartRepair", {}, ("POST", "/v1/admin/repairs", {}), 500,
    ),
    ErrorCode.QUORUM_NOT_REACHED: Asked(
        "WriteKeyValue", {"tenant_id": "t", "key": "q", "value": b"1", "context": pb.VectorClock()},
        ("POST", KV, {"json": _write(key="q", context={})}), 503,
    ),
}  # fmt: skip
"""In this order: the last one makes the store silent."""


@asynccontextmanager
async def _store(
    dsn: str, home: Path, *, write_timeout: str
) -> AsyncIterator[tuple[Coordinator, MemoryNode]]:
    (home / "secret").write_text(SECRET)
    document = settings(
        dsn,
        server={"read_timeout": "60s", "write_timeout": "60s"},
        auth={"mode": "jwt", "secret_file": str(home / "secret")},
        consistency={"write_timeout": write_timeout},
        topology={"disk_limit": 100, "enabled": False},
    )
    async with memory_nodes("n-1") as (node,), serving(document, home) as kv:
        kv.grpc.token = _token(admin=True)
        await kv.join(node.member)
        slow = pb.TenantPolicy(writes_per_minute=1)
        for tenant, policy in (("t", None), ("busy", slow)):
            made = await kv.grpc.call(
                "CreateTenant", tenant_id=tenant, replication_factor=1, policy=policy
            )
            assert made.success, made.error_message
        assert (await kv.grpc.write("once", b"1", idempotency_key="i")).success
        assert (await kv.grpc.write("k", b"1", "busy")).success
        yield kv, node


async def test_each_is_told_by_grpc_and_by_rest(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Administration, "ask_repair", broken)
    assert set(MISTAKES) == set(ErrorCode) - {ErrorCode.UNKNOWN}
    async with _store(dsn, tmp_path, write_timeout="6s") as (kv, node):
        admin = kv.grpc.token
        for code, asked in MISTAKES.items():
            if code is ErrorCode.QUORUM_NOT_REACHED:
                node.silent |= {Take, Merge}
            kv.grpc.token = asked.token or admin
            answer = await kv.grpc.call(asked.method, **asked.fields)
            assert (answer.success, answer.error_code) == (False, code), answer
            assert answer.error_message.startswith(f"{code.name}: ")
            method, path, more = asked.rest
            shown = {"Authorization": f"Bearer {kv.grpc.token}"}
            more = more | {"headers": more.get("headers", {}) | shown}
            found = await kv.http.request(method, path, **more)
            body = found.json()
            assert (found.status_code, body["error_code"]) == (asked.status, code.name), body
            assert body["status"] == "error"
            if code is ErrorCode.QUORUM_NOT_REACHED:
                for text in (answer.error_message, body["message"]):
                    assert "0 of 1 needed replicas answered" in text
                    assert "the write may have happened" in text
            if code is ErrorCode.INTERNAL_ERROR:
                assert "a fault of ours" not in answer.error_message + body["message"]


async def test_limits_hold_on_the_wire(dsn: str, tmp_path: Path) -> None:
    largest, tenant = 10 << 20, "t"
    async with _store(dsn, tmp_path, write_timeout="60s") as (kv, _):

        async def batch(count: int, size: int) -> Any:
            one = pb.WriteKeyValueRequest(tenant_id=tenant, key="b", value=bytes(size))
            return await kv.grpc.call("Batch", operations=[pb.Operation(write=one)] * count)

        fits = (
            await kv.grpc.write("k" * 1024, b"1"),
            await kv.grpc.write("large", bytes(largest)),
            await kv.grpc.write("k", b"1", idempotency_key="i" * 256),
            await batch(1000, 0),
            await batch(3, largest),
        )
        assert [one.error_message for one in fits] == [""] * len(fits)
        assert all(one.write.success for one in fits[-1].outcomes)
        for field, answer in {
            "key: ": await kv.grpc.write("k" * 1025, b"1"),
            "value: ": await kv.grpc.write("k", bytes(largest + 1)),
            "tenant_id: ": await kv.grpc.write("k", b"1", "t" * 257),
            "idempotency_key: ": await kv.grpc.write("k", b"1", idempotency_key="i" * 257),
            "ttl_seconds: ": await kv.grpc.write("k", b"1", ttl_seconds=-1),
            "batch: 1001 items": await batch(1001, 0),
            "batch: 367": await batch(4, largest * 7 // 8),
        }.items():
            assert answer.error_code == pb.INVALID_REQUEST, answer
            assert answer.error_message.startswith(f"INVALID_REQUEST: {field}"), answer
            assert "; allowed: " in answer.error_message
        read = pb.ReadKeyValueRequest(tenant_id=tenant, key="large")
        write = pb.WriteKeyValueRequest(tenant_id=tenant, key="after", value=b"1")
        operations = [*[pb.Operation(read=read)] * 4, pb.Operation(write=write)]
        *reads, written = (await kv.grpc.call("Batch", operations=operations)).outcomes
        # What its answer has no room for has to be read by itself.
        assert [one.read.success for one in reads] == [True, True, True, False]
        assert reads[3].read.error_message.startswith("INVALID_REQUEST: batch: ")
        assert written.write.success
