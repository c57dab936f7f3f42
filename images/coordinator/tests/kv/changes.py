"""What tests of the topology do to a cluster of real storage nodes, and look for in it."""

import asyncio
from typing import Any

import pytest

from muster_kv.ranges import WHOLE_RING
from muster_kv.slots import parse
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import Page, ScanRange, Tenants
from muster_kv_coordinator.topology.copying import Throttle
from muster_testing.storage import StorageNode
from muster_testing.waiting import eventually

from .harness import Coordinator

VIRTUAL_NODES = 8
ZONES = {"s-0": "a", "s-1": "b", "s-2": "b", "s-3": "c"}


class Gate:
    """Where coordinators in this process stand while they copy: open, until it is shut.

    While it is shut the first pages of a change are copied, and those behind them wait.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = asyncio.Event()
        self._open.set()

        async def spent(_throttle: Throttle, _records: int) -> None:
            await self._open.wait()

        monkeypatch.setattr(Throttle, "spent", spent)

    def shut(self) -> None:
        """Let no copying come to its end."""
        self._open.clear()

    def open(self) -> None:
        """Let copying go on."""
        self._open.set()


async def add(kv: Coordinator, node: StorageNode) -> str:
    """Have a storage node come; the migration's id."""
    answer = await kv.grpc.call(
        "AddStorageNode",
        node_id=node.node_id,
        host=node.host,
        port=node.port,
        virtual_nodes=VIRTUAL_NODES,
        zone=ZONES[node.node_id],
    )
    assert answer.success, answer.error_message
    return str(answer.migration_id)


async def remove(kv: Coordinator, node_id: str, *, force: bool = False) -> str:
    """Have a storage node go; the migration's id."""
    answer = await kv.grpc.call("RemoveStorageNode", node_id=node_id, force=force)
    assert answer.success, answer.error_message
    return str(answer.migration_id)


async def ended(kv: Coordinator, migration_id: str, status: str = "completed") -> Any:
    """Wait until a migration has that status."""

    async def probe() -> Any:
        found = await kv.grpc.call("GetMigrationStatus", migration_id=migration_id)
        assert found.status == status, found
        return found

    return await eventually(probe, deadline=120.0, what=f"the migration is {status}")


async def fill(kv: Coordinator, tenant: str, keys: int = 60) -> dict[str, bytes]:
    """Write keys of a tenant; what was acknowledged."""
    written = {f"k{number}": b"%d" % number for number in range(keys)}
    answers = await asyncio.gather(
        *(kv.grpc.write(key, value, tenant=tenant) for key, value in written.items())
    )
    assert all(answer.success for answer in answers), answers
    return written


async def held(node: StorageNode, tenant: str) -> set[str]:
    """The keys of a tenant that a node has itself."""
    client = NodeClient(node.host, node.port, Identity("test", Role.COORDINATOR, "muster"))
    client.start()
    try:
        await client.ready(60.0)
        scan = ScanRange(WHOLE_RING, limit=5000, tenants=Tenants((tenant,), exclude=False))
        page = await client.request(scan, 60.0)
        assert isinstance(page, Page), page
        assert not page.more
        return {parse(slot)[1] for slot, _ in page.items}
    finally:
        await client.close()


async def all_there(kv: Coordinator, tenant: str, written: dict[str, bytes]) -> None:
    """Every acknowledged write is read back: itself, or one that its writer made later."""
    told = sorted(written.items())
    found = await asyncio.gather(*(kv.grpc.read(key, tenant=tenant) for key, _ in told))
    for (key, value), read in zip(told, found, strict=True):
        assert read.success, (key, read.error_message)
        assert int(read.value) >= int(value), key
