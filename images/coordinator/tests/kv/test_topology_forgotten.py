"""A database that knows an older ring than storage nodes do: it was lost, or put back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from muster_protos import kv_pb2 as pb
from muster_testing.postgres import PostgresServer
from muster_testing.storage import StorageNode, StorageNodes
from muster_testing.waiting import eventually

from .changes import ZONES, add, all_there, ended, fill
from .harness import WATCHFUL, Coordinator, serving, settings

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

SETTINGS: dict[str, dict[str, Any]] = {
    "consistency": WATCHFUL | {"write_timeout": "10s", "read_timeout": "10s"},
    "topology": {"disk_limit": 100},
}


@pytest_asyncio.fixture
async def nodes(storage_node: StorageNodes) -> AsyncIterator[list[StorageNode]]:
    found = [storage_node(name, sync=False) for name in list(ZONES)[:3]]
    await asyncio.gather(*(node.start() for node in found))
    yield found


async def filled(kv: Coordinator, nodes: list[StorageNode]) -> dict[str, bytes]:
    """A tenant with data, under a ring that has changed more often than a new one does."""
    await known_again(kv, nodes)
    for factor in (1, 3):
        changed = await kv.grpc.call(
            "UpdateReplicationFactor", tenant_id="t", new_replication_factor=factor
        )
        await ended(kv, changed.migration_id)
    return await fill(kv, "t")


async def known_again(kv: Coordinator, nodes: list[StorageNode]) -> None:
    """Register what there is, as the operator does."""
    for node in nodes:
        await add(kv, node)
    await kv.healthy(len(nodes))
    made = await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=3)
    assert made.success, made.error_message


async def test_a_forgotten_ring_is_told_and_its_records_are_found_again(
    postgres: PostgresServer, nodes: list[StorageNode], tmp_path: Path
) -> None:
    first, second = await postgres.create_database(), await postgres.create_database()
    async with serving(settings(first, **SETTINGS), tmp_path) as kv:
        written = await filled(kv, nodes)
        assert (await kv.ops.get("/topology")).json()["nodes_ahead"] == []
    async with serving(settings(second, **SETTINGS), tmp_path) as kv:
        await known_again(kv, nodes)
        refused = await kv.grpc.read("k1")
        assert refused.error_code == pb.QUORUM_NOT_REACHED, refused

        async def told() -> bool:
            # Of those that answer within a second.
            stands = (await kv.ops.get("/topology")).json()
            assert stands["nodes_ahead"] == sorted(node.node_id for node in nodes)
            return bool(stands["under_replicated_ranges"] > 0)

        await eventually(told, what="it is told that all nodes are ahead")
        connection = await asyncpg.connect(second)
        try:
            await connection.execute("UPDATE ring SET version = version + 1000000")
        finally:
            await connection.close()

        async def found() -> bool:
            read = await kv.grpc.read("k1")
            assert read.success, read.error_message
            return not (await kv.ops.get("/topology")).json()["nodes_ahead"]

        await eventually(found, what="storage nodes serve under the new version")
        await all_there(kv, "t", written)
