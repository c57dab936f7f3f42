"""Tenants, storage nodes, migrations; and what is left while PostgreSQL is away."""

import signal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from muster_protos import kv_pb2 as pb
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .harness import Coordinator, process, serving, settings
from .nodes import memory_nodes

pytestmark = pytest.mark.integration


async def _add(kv: Coordinator, node_id: str, **fields: Any) -> pb.AddStorageNodeResponse:
    given: dict[str, Any] = {"host": "127.0.0.1", "port": 1, "node_id": node_id} | fields
    answer: pb.AddStorageNodeResponse = await kv.grpc.call("AddStorageNode", **given)
    return answer


async def _status(kv: Coordinator, migration_id: str) -> pb.GetMigrationStatusResponse:
    answer: pb.GetMigrationStatusResponse = await kv.grpc.call(
        "GetMigrationStatus", migration_id=migration_id
    )
    assert answer.success, answer.error_message
    return answer


async def _nodes(kv: Coordinator) -> dict[str, str]:
    listed = await kv.grpc.call("ListStorageNodes")
    return {node.node_id: node.status for node in listed.nodes}


async def test_the_first_nodes_join_without_moving_anything(dsn: str, tmp_path: Path) -> None:
    async with serving(settings(dsn), tmp_path) as kv:
        for name in ("n-1", "n-2"):
            added = await _add(kv, name)
            assert added.success, added.error_message
            assert added.message == "the node is a member"
            status = await _status(kv, added.migration_id)
            assert (status.status, status.type, status.node_id) == (
                "completed",
                "node_addition",
                name,
            )
            assert status.progress.percentage == 100
        assert await _nodes(kv) == {"n-1": "active", "n-2": "active"}
        assert await kv.metric("coordinator_ring_version") == 2


async def test_a_node_that_registers_again_is_the_same_node(dsn: str, tmp_path: Path) -> None:
    async with serving(settings(dsn), tmp_path) as kv:
        first = await _add(kv, "n-1")
        again = await _add(kv, "n-1")
        assert again.migration_id == first.migration_id
        assert await kv.metric("coordinator_ring_version") == 1
        moved = await _add(kv, "n-1", port=2)
        assert moved.success, moved.error_message
        assert await kv.metric("coordinator_ring_version") == 2
        other = await _add(kv, "n-1", virtual_nodes=7)
        assert other.error_code == pb.NODE_IN_USE


async def test_a_node_joins_tenants_by_a_migration(dsn: str, tmp_path: Path) -> None:
    async with serving(settings(dsn), tmp_path) as kv:
        await _add(kv, "n-1")
        assert (await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=1)).success
        added = await _add(kv, "n-2")
        assert (await _status(kv, added.migration_id)).status == "pending"
        assert await _nodes(kv) == {"n-1": "active", "n-2": "joining"}
        assert await kv.metric("coordinator_ring_version") == 1
        stands = (await kv.ops.get("/topology")).json()
        # Nobody listens where the node is said to be.
        assert (stands["ring_version"], stands["under_replicated_ranges"]) == (1, 150)
        assert [(one["node_id"], one["status"]) for one in stands["migrations"]] == [
            ("n-2", "pending")
        ]
        cancelled = await kv.grpc.call("CancelMigration", migration_id=added.migration_id)
        assert cancelled.status == "cancelled"
        assert await _nodes(kv) == {"n-1": "active", "n-2": "inactive"}
        assert (await kv.ops.get("/topology")).json()["migrations"] == []


async def test_a_node_leaves_only_where_the_others_are_enough(dsn: str, tmp_path: Path) -> None:
    async with serving(settings(dsn), tmp_path) as kv:
        for name in ("n-1", "n-2", "n-3"):
            await _add(kv, name)
        await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=2)
        leaving = await kv.grpc.call("RemoveStorageNode", node_id="n-3")
        assert (await _status(kv, leaving.migration_id)).status == "pending"
        assert (await _nodes(kv))["n-3"] == "draining"
        again = await kv.grpc.call("RemoveStorageNode", node_id="n-3")
        assert again.migration_id == leaving.migration_id
        forced = await kv.grpc.call("RemoveStorageNode", node_id="n-3", force=True)
        assert forced.migration_id == leaving.migration_id
        assert (await _status(kv, forced.migration_id)).status == "pending"
        assert await kv.grpc.call("CreateTenant", tenant_id="u", replication_factor=3)
        for force in (False, True):
            refused = await kv.grpc.call("RemoveStorageNode", node_id="n-2", force=force)
            assert refused.error_code == pb.NODE_IN_USE
            assert "1 would remain, and tenants want 3" in refused.error_message
        for name in ("n-9", "", "n\0"):
            unknown = await kv.grpc.call("RemoveStorageNode", node_id=name)
            assert unknown.error_code == pb.INVALID_REQUEST, unknown


async def test_a_node_leaves_only_where_the_others_have_room(dsn: str, tmp_path: Path) -> None:
    document = settings(dsn, topology={"enabled": False, "disk_limit": 90})
    async with (
        memory_nodes("n-1", "n-2", "n-3") as nodes,
        serving(document, tmp_path) as kv,
    ):
        # Two disks of 1,000 bytes, used to an eighth.
        nodes[0].data_bytes = 1600
        await kv.join(*(node.member for node in nodes))
        await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=1)
        refused = await kv.grpc.call("RemoveStorageNode", node_id="n-1")
        assert refused.error_code == pb.NODE_IN_USE
        assert "the disk of n-2 would be 92% full" in refused.error_message
        assert (await _nodes(kv))["n-1"] == "active"
        assert (await kv.grpc.call("RemoveStorageNode", node_id="n-2")).success


async def test_tenants_are_made_once_and_looked_up(dsn: str, tmp_path: Path) -> None:
    async with serving(settings(dsn), tmp_path) as kv:
        for name in ("n-1", "n-2", "n-3"):
            await _add(kv, name)
        made = await kv.grpc.call("CreateTenant", tenant_id="t")
        assert (made.success, made.replication_factor) == (True, 3)
        assert made.created_at > 1_700_000_000
        again = await kv.grpc.call("CreateTenant", tenant_id="t")
        assert again.error_code == pb.TENANT_EXISTS
        found = await kv.grpc.call("GetTenant", tenant_id="t")
        assert found.policy.conflict_resolution == "Siblings"
        hits, misses = (f"coordinator_cache_{what}_total" for what in ("hits", "misses"))
        assert await kv.metric(misses) >= 1

        async def cached() -> bool:
            # The news that it was made may make it be asked for once more.
            assert (await kv.grpc.call("GetTenant", tenant_id="t")).success
            return await kv.metric(hits) > 0

        await eventually(cached, what="it is in the cache")
        missing = await kv.grpc.call("GetTenant", tenant_id="u")
        assert missing.error_code == pb.TENANT_NOT_FOUND
        for factor in (-1, 4, 11):
            wrong = await kv.grpc.call("CreateTenant", tenant_id="w", replication_factor=factor)
            assert wrong.error_code == pb.INVALID_REPLICATION_FACTOR


async def test_another_replication_factor_is_a_migration(dsn: str, tmp_path: Path) -> None:
    async with serving(settings(dsn), tmp_path) as kv:
        for name in ("n-1", "n-2", "n-3"):
            await _add(kv, name)
        assert (await kv.ops.get("/topology")).json()["replication_factor"] == 0
        await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=1)
        assert (await kv.ops.get("/topology")).json()["replication_factor"] == 1
        change: dict[str, Any] = {"tenant_id": "t", "new_replication_factor": 3}
        asked = await kv.grpc.call("UpdateReplicationFactor", **change)
        assert (asked.old_replication_factor, asked.new_replication_factor) == (1, 3)
        status = await _status(kv, asked.migration_id)
        assert (status.type, status.status, status.tenant_id) == (
            "replication_change",
            "pending",
            "t",
        )
        # Whoever takes nodes away has to leave as many as it is to have.
        told = (await kv.ops.get("/topology")).json()
        assert (told["replication_factor"], told["smallest_replication_factor"]) == (3, 1)
        again = await kv.grpc.call("UpdateReplicationFactor", **change)
        assert again.migration_id == asked.migration_id
        assert (await kv.grpc.call("GetTenant", tenant_id="t")).replication_factor == 1
        same = await kv.grpc.call(
            "UpdateReplicationFactor", tenant_id="u", new_replication_factor=3
        )
        assert same.error_code == pb.TENANT_NOT_FOUND


@pytest.mark.parametrize("migration_id", ["", "no-uuid", "5f0c6a52-3a0e-4c0f-9d57-3c5ba3b6a1d0"])
async def test_an_unknown_migration(dsn: str, tmp_path: Path, migration_id: str) -> None:
    async with serving(settings(dsn), tmp_path) as kv:
        for call in ("GetMigrationStatus", "CancelMigration"):
            answer = await kv.grpc.call(call, migration_id=migration_id)
            assert answer.error_code == pb.MIGRATION_NOT_FOUND


async def test_a_policy_is_changed_and_known_to_all_at_once(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with memory_nodes("n-1") as (node,), serving(settings(dsn), tmp_path) as kv:
        await kv.join(node.member)
        await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=1)
        async with serving(settings(dsn), tmp_path / "other") as other:
            for n in range(3):
                assert (await other.grpc.write("a", b"%d" % n)).success
            policy = pb.TenantPolicy(writes_per_minute=1)
            changed = await kv.grpc.call("UpdateTenantPolicy", tenant_id="t", policy=policy)
            assert changed.policy.writes_per_minute == 1
            assert changed.policy.reads_per_minute == -1

            async def limited() -> bool:
                answer = await other.grpc.write("a", b"1")
                return bool(answer.error_code == pb.RATE_LIMIT_EXCEEDED)

            await eventually(limited, what="the other coordinator knows it")
        wrongs: tuple[tuple[str, Any], ...] = (
            ("conflict_resolution", "Newest"),
            ("durability", "Maybe"),
            ("idempotency", "Redis"),
            ("idempotency", "Sometimes"),
            ("writes_per_minute", -2),
        )
        for field, value in wrongs:
            wrong = await kv.grpc.call(
                "UpdateTenantPolicy", tenant_id="t", policy=pb.TenantPolicy(**{field: value})
            )
            assert wrong.error_code == pb.INVALID_REQUEST
            assert f"policy.{field}: got" in wrong.error_message
        missing = await kv.grpc.call("UpdateTenantPolicy", tenant_id="u")
        assert missing.error_code == pb.TENANT_NOT_FOUND


async def test_a_tenant_may_choose_not_to_wait_for_the_disks(dsn: str, tmp_path: Path) -> None:
    async with (
        memory_nodes("n-1", "n-2", "n-3") as nodes,
        serving(settings(dsn), tmp_path) as kv,
    ):
        await kv.join(*(node.member for node in nodes))
        hasty = pb.TenantPolicy(durability="Async")
        await kv.grpc.call("CreateTenant", tenant_id="hasty", replication_factor=3, policy=hasty)
        await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=3)
        answer = await kv.grpc.call("GetTenant", tenant_id="hasty")
        assert answer.policy.durability == "Async"
        for tenant, unsynced in (("hasty", True), ("t", False)):
            for node in nodes:
                node.unsynced.clear()
            for answer in (
                await kv.grpc.write("a", b"1", tenant=tenant, consistency="all"),
                await kv.grpc.write(
                    "b", b"1", tenant=tenant, consistency="all", idempotency_key="i"
                ),
                await kv.grpc.delete("a", tenant=tenant, consistency="all"),
            ):
                assert answer.success, answer.error_message
            assert [node.unsynced for node in nodes] == [[unsynced] * 3] * 3


async def test_known_tenants_are_served_while_postgres_is_away(tmp_path: Path) -> None:
    with PostgresServer() as postgres:
        dsn = await postgres.create_database()
        document = settings(dsn, cache={"tenant_config_ttl": "100ms"})
        async with memory_nodes("n-1") as (node,), serving(document, tmp_path) as kv:
            await kv.join(node.member)
            await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=1)
            assert (await kv.grpc.write("a", b"1")).success
            assert await kv.metric("coordinator_database_seconds_count") > 0
            assert await kv.metric("coordinator_database_failures_total") == 0

            async def idle() -> bool:
                # What looks at the database now and then may have the only one just now.
                return await kv.metric('coordinator_database_connections{state="idle"}') > 0

            await eventually(idle, what="a connection is idle")
            postgres.stop(mode="immediate")
            for n in range(5):
                written = await kv.grpc.write("a", b"%d" % n)
                assert written.success, written.error_message
            unknown = await kv.grpc.read("a", tenant="u")
            assert unknown.error_code == pb.INTERNAL_ERROR
            assert "metadata store is away" in unknown.error_message
            refused = await _add(kv, "n-2")
            assert refused.error_code == pb.INTERNAL_ERROR
            assert (await kv.http.get("/v1/tenants/u")).status_code == 503
            await eventually(lambda: _database(kv, "disconnected"))
            assert (await kv.ops.get("/health/ready")).status_code == 200
            assert await kv.metric("coordinator_database_failures_total") > 0
            postgres.start()
            await eventually(lambda: _database(kv, "connected"))
            unknown = await kv.grpc.read("a", tenant="u")
            assert unknown.error_code == pb.TENANT_NOT_FOUND


async def _database(kv: Coordinator, state: str) -> bool:
    body = (await kv.ops.get("/ready")).json()
    return bool(body["dependencies"]["database"] == state)


async def test_the_version_of_a_ring_only_rises(dsn: str, tmp_path: Path) -> None:
    async with serving(settings(dsn), tmp_path) as kv:
        await _add(kv, "n-1")
        connection = await asyncpg.connect(dsn)
        try:
            with pytest.raises(asyncpg.RaiseError, match="only rises"):
                await connection.execute("UPDATE ring SET version = version")
        finally:
            await connection.close()


async def test_it_waits_for_its_database_and_stops_when_told(tmp_path: Path) -> None:
    document = settings("postgresql://muster@127.0.0.1:1/none")
    with process(document, tmp_path / "c-0") as replica:
        await eventually(lambda: replica.said("waiting for the database"))
        replica.send(signal.SIGTERM)
        assert await replica.exit_status() == 0
