"""Retries that are recognised with a real Redis, and without it while it is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from muster_kv.errors import FailureCode
from muster_kv.ops import op_of
from muster_kv.slots import slot
from muster_kv.wire.messages import Lookup, Merge
from muster_kv_coordinator import redis_memory
from muster_protos import kv_pb2 as pb

from .harness import Coordinator, serving, settings
from .nodes import MemoryNode, memory_nodes
from .redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is given up where it is away, and not because a machine is slow."""
    monkeypatch.setattr(redis_memory, "_CALL_SECONDS", 60.0)


@asynccontextmanager
async def _cluster(
    dsn: str, redis: RedisServer, home: Path, **more: int
) -> AsyncIterator[tuple[Coordinator, list[MemoryNode]]]:
    """A coordinator with Redis, and the tenant `t` that wants it."""
    (home / "password").write_text(f"{redis.password}\n")
    section = {
        "host": "127.0.0.1",
        "port": redis.port,
        "password_file": str(home / "password"),
        "min_idle_conns": 1,
        **more,
    }
    async with (
        memory_nodes("n-1", "n-2", "n-3") as nodes,
        serving(settings(dsn, redis=section), home) as kv,
    ):
        await kv.join(*(node.member for node in nodes))
        policy = pb.TenantPolicy(idempotency="Redis")
        made = await kv.grpc.call("CreateTenant", tenant_id="t", policy=policy)
        assert made.success, made.error_message
        yield kv, nodes


def _lookups(nodes: list[MemoryNode]) -> int:
    return sum(kind is Lookup for node in nodes for kind in node.seen)


async def test_a_retry_is_recognised_without_asking_replicas(dsn: str, tmp_path: Path) -> None:
    async with RedisServer(tmp_path) as redis, _cluster(dsn, redis, tmp_path) as (kv, nodes):
        first = await kv.grpc.write("a", b"1", idempotency_key="k")
        assert first.success, first.error_message
        # What it does not know may have been forgotten.
        asked = _lookups(nodes)
        assert asked >= 2
        again = await kv.grpc.write("a", b"1", idempotency_key="k")
        assert again.is_duplicate
        assert again.vector_clock == first.vector_clock
        other = await kv.grpc.write("a", b"2", idempotency_key="k")
        assert other.error_code == pb.IDEMPOTENCY_KEY_CONFLICT
        assert _lookups(nodes) == asked
        async with Redis(port=redis.port, password=redis.password) as client:
            left = await client.ttl(b"muster:kv:op:" + op_of("t", "a", "k"))
        assert 23 * 3600 < left <= 24 * 3600


async def test_a_retry_at_a_higher_level_is_brought_to_as_many(dsn: str, tmp_path: Path) -> None:
    async with RedisServer(tmp_path) as redis, _cluster(dsn, redis, tmp_path) as (kv, nodes):
        for node in nodes:
            node.refuses = {Merge: FailureCode.DISK_FULL}
        first = await kv.grpc.write("a", b"1", idempotency_key="k", consistency="one")
        assert (first.success, first.replica_count) == (True, 1)
        again = await kv.grpc.write("a", b"1", idempotency_key="k", consistency="one")
        assert (again.is_duplicate, again.replica_count) == (True, 1)
        refused = await kv.grpc.write("a", b"1", idempotency_key="k", consistency="all")
        assert refused.error_code == pb.QUORUM_NOT_REACHED
        for node in nodes:
            node.refuses = {}
        again = await kv.grpc.write("a", b"1", idempotency_key="k", consistency="all")
        assert (again.is_duplicate, again.replica_count) == (True, 3)
        assert all(slot("t", "a") in node.records for node in nodes)


async def test_connections_are_there_before_they_are_needed(dsn: str, tmp_path: Path) -> None:
    async with (
        RedisServer(tmp_path) as redis,
        _cluster(dsn, redis, tmp_path, min_idle_conns=4, pool_size=6, db=3) as (kv, _),
        Redis(port=redis.port, password=redis.password, db=3) as client,
    ):
        # This one's is there too.
        assert len(await client.client_list()) == 4 + 1
        answers = (kv.grpc.write(f"k{n}", b"1", idempotency_key="k") for n in range(50))
        assert all(answer.success for answer in await asyncio.gather(*answers))
        assert 4 + 1 <= len(await client.client_list()) <= 6 + 1
        # What Redis does not take in time replicas know.
        assert 0 < await client.dbsize() <= 50


async def test_what_redis_has_that_is_none_of_ours_is_no_answer(dsn: str, tmp_path: Path) -> None:
    async with RedisServer(tmp_path) as redis, _cluster(dsn, redis, tmp_path) as (kv, _):
        name = b"muster:kv:op:" + op_of("t", "a", "k")
        async with Redis(port=redis.port, password=redis.password) as client:
            await client.set(name, b"\xff")
        assert (await kv.grpc.write("a", b"1", idempotency_key="k")).success
        assert (await kv.grpc.write("a", b"1", idempotency_key="k")).is_duplicate


async def test_replicas_recognise_what_redis_has_forgotten(dsn: str, tmp_path: Path) -> None:
    async with RedisServer(tmp_path) as redis, _cluster(dsn, redis, tmp_path) as (kv, _):
        await kv.grpc.write("a", b"1", idempotency_key="k")
        await kv.grpc.write("a", b"2")
        redis.stop()
        await redis.start()
        again = await kv.grpc.write("a", b"1", idempotency_key="k")
        assert again.is_duplicate
        assert (await kv.grpc.read("a")).value == b"2"


async def test_replicas_are_asked_while_redis_is_away(dsn: str, tmp_path: Path) -> None:
    async with RedisServer(tmp_path) as redis, _cluster(dsn, redis, tmp_path) as (kv, nodes):
        await kv.grpc.write("a", b"1", idempotency_key="k")
        redis.stop()
        again = await kv.grpc.write("a", b"1", idempotency_key="k")
        assert again.is_duplicate, again.error_message
        assert _lookups(nodes) > 0
        assert (await kv.grpc.write("b", b"1", idempotency_key="k")).success
        assert await kv.metric("coordinator_redis_failures_total") >= 2
        await kv.ready()
