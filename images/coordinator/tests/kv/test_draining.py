"""A node that leaves says so while its records are moved, and stays if that is called off."""

import asyncio
from pathlib import Path

import pytest

from muster_testing.storage import StorageNodes
from muster_testing.waiting import eventually

from .changes import Gate
from .harness import serving, settings

pytestmark = pytest.mark.integration


async def test_a_node_drains_until_it_has_left_or_need_not(
    dsn: str, tmp_path: Path, storage_node: StorageNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    nodes = [storage_node(f"s-{n}", sync=False) for n in range(3)]
    await asyncio.gather(*(node.start() for node in nodes))
    leaving, *staying = nodes

    async def says(state: str) -> None:
        def probe() -> bool:
            return bool(leaving.ask("/ready")[1]["state"] == state)

        await eventually(probe, what=f"it says that it is {state}")

    async with serving(settings(dsn), tmp_path) as kv:
        await kv.join(*nodes)
        made = await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=2)
        assert made.success, made.error_message
        writes = [kv.grpc.write(f"k{n}", b"1", consistency="all") for n in range(200)]
        assert all(answer.success for answer in await asyncio.gather(*writes))
        for _ in range(2):
            # It is still at it when somebody looks.
            gate.shut()
            removal = await kv.grpc.call("RemoveStorageNode", node_id=leaving.node_id)
            assert removal.success, removal.error_message
            await says("draining")
            assert leaving.ask("/ready")[0] == 200
            assert (await kv.grpc.write("k1", b"2", consistency="all")).success
            await kv.grpc.call("CancelMigration", migration_id=removal.migration_id)
            gate.open()
            await says("normal")

            async def cancelled(migration_id: str = removal.migration_id) -> bool:
                found = await kv.grpc.call("GetMigrationStatus", migration_id=migration_id)
                return bool(found.status == "cancelled")

            # It is asked for again only then.
            await eventually(cancelled, what="the removal is cancelled")
        assert [node.ask("/ready")[1]["state"] for node in staying] == ["normal"] * 2
