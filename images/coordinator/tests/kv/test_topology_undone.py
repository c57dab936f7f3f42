"""Changes of the topology that are taken back, or lose their node, while they are under way."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from muster_testing.storage import StorageNode, StorageNodes
from muster_testing.waiting import eventually

from .changes import ZONES, Gate, add, all_there, ended, fill, held, remove
from .harness import WATCHFUL, Coordinator, serving, settings
from .load import Load

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

KEYS = 200
SETTINGS: dict[str, dict[str, Any]] = {
    "consistency": WATCHFUL | {"write_timeout": "10s", "read_timeout": "10s"},
}


@dataclass
class Slow:
    """A coordinator that copies when it may, and four storage nodes: three members, or all four."""

    kv: Coordinator
    gate: Gate
    nodes: list[StorageNode]
    written: dict[str, bytes]

    @property
    def last(self) -> StorageNode:
        return self.nodes[-1]

    async def status(self) -> str:
        """What coordinators say of the last node."""
        answer = await self.kv.grpc.call("ListStorageNodes")
        return {node.node_id: str(node.status) for node in answer.nodes}[self.last.node_id]

    async def copying(self, migration: str) -> None:
        """Wait until a migration has copied something; with the gate shut it has more to copy."""

        async def probe() -> bool:
            found = await self.kv.grpc.call("GetMigrationStatus", migration_id=migration)
            assert found.progress.keys_migrated > 0, found
            return True

        await eventually(probe, what="keys are copied")
        (shown,) = (await self.kv.ops.get("/topology")).json()["migrations"]
        assert shown["stage"] == "copying", shown

    async def cancel(self, migration: str) -> None:
        """Ask for it as the operator does, twice."""
        for _ in range(2):
            answer = await self.kv.http.post(f"/v1/admin/migrations/{migration}/cancel")
            assert answer.status_code == 202, answer.text
        # That it is cancelled is seen between two looks at what there is to copy.
        self.gate.open()
        await ended(self.kv, migration, "cancelled")


@pytest_asyncio.fixture
async def slow(
    dsn: str, tmp_path: Path, storage_node: StorageNodes, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Slow]:
    gate = Gate(monkeypatch)
    nodes = [storage_node(name, sync=False) for name in ZONES]
    await asyncio.gather(*(node.start() for node in nodes))
    async with serving(settings(dsn, **SETTINGS), tmp_path) as kv:
        for node in nodes[:3]:
            await add(kv, node)
        await kv.healthy(3)
        made = await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=3)
        assert made.success, made.error_message
        yield Slow(kv, gate, nodes, await fill(kv, "t", KEYS))


async def test_a_node_that_comes_is_sent_away_again(slow: Slow) -> None:
    kv = slow.kv
    slow.gate.shut()
    coming = await add(kv, slow.last)
    await slow.copying(coming)
    assert await slow.status() == "joining"
    await slow.cancel(coming)
    assert await slow.status() == "inactive"
    assert slow.last.metric("storage_records") == 0
    await all_there(kv, "t", slow.written)


async def test_a_node_that_goes_is_kept_after_all_under_load(slow: Slow) -> None:
    kv = slow.kv
    await ended(kv, await add(kv, slow.last))
    async with Load([kv.grpc], writers=2) as load:
        slow.gate.shut()
        leaving = await remove(kv, slow.last.node_id)
        await slow.copying(leaving)
        assert await slow.status() == "draining"
        await slow.cancel(leaving)
        assert await slow.status() == "active"
        await load.goes_on(1, deadline=60.0)
        # It may go another time.
        again = await remove(kv, slow.last.node_id)
        assert again != leaving
        await ended(kv, again)
        written = dict(load.written)
    assert written
    await slow.last.stop()
    await all_there(kv, "t", slow.written | written)


async def test_a_node_that_dies_while_it_comes_is_done_without(slow: Slow) -> None:
    kv = slow.kv
    slow.gate.shut()
    coming = await add(kv, slow.last)
    await slow.copying(coming)
    slow.last.kill()
    await slow.cancel(coming)
    assert await slow.status() == "inactive"
    await all_there(kv, "t", slow.written)
    # It comes back with what it had been given, which may be of another time.
    await slow.last.start()
    await ended(kv, await add(kv, slow.last))
    assert await slow.status() == "active"
    await all_there(kv, "t", slow.written)


async def test_a_node_that_loses_its_disk_while_it_goes_takes_nothing_with_it(slow: Slow) -> None:
    kv = slow.kv
    await ended(kv, await add(kv, slow.last))
    slow.gate.shut()
    leaving = await remove(kv, slow.last.node_id)
    await slow.copying(leaving)
    slow.last.kill()
    shutil.rmtree(slow.last.data_dir)
    # It may have left before anybody finds it ready.
    slow.last.spawn()
    slow.gate.open()
    await ended(kv, leaving)
    assert await slow.status() == "inactive"
    await slow.last.stop()
    await all_there(kv, "t", slow.written)
    whole = [await held(node, "t") for node in slow.nodes[:3]]
    assert all(keys == slow.written.keys() for keys in whole)
