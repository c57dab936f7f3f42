"""What was deleted stays deleted, however long a replica was away that did not hear of it."""

import asyncio
import time
from pathlib import Path

import pytest

from muster_kv.ranges import WHOLE_RING
from muster_kv.record import decode
from muster_kv.slots import slot
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import Found, Get, Purge, Purged, ReplyBody, RequestBody
from muster_protos import kv_pb2 as pb
from muster_testing.storage import StorageNode, StorageNodes
from muster_testing.waiting import eventually

from .harness import WATCHFUL, serving, settings

pytestmark = pytest.mark.integration

AT = slot("t", "k")
GRACE_SECONDS = 1.0
RETENTION = {"tombstone_grace": "1s", "interval": "100ms"}


async def _asked(node: StorageNode, body: RequestBody) -> ReplyBody:
    """What a node itself answers."""
    client = NodeClient(node.host, node.port, Identity("test", Role.TOOL, "muster"))
    client.start()
    try:
        await client.ready(30.0)
        return await client.request(body, 30.0)
    finally:
        await client.close()


async def _record(node: StorageNode) -> bytes:
    """What a node has of the key; empty where it has forgotten it."""
    found = await _asked(node, Get(AT))
    assert isinstance(found, Found), found
    return found.record


async def _purged(node: StorageNode, before_us: int) -> None:
    """Have it forget what died before; the sweeper may be faster than the purge itself."""
    answer = await _asked(node, Purge(WHOLE_RING, before_us, ()))
    assert isinstance(answer, Purged), answer


async def _swept(node: StorageNode, passes: int) -> None:
    """Wait until the sweeper has passed so many times more."""

    def done() -> int:
        return int(node.metric("storage_sweeps_total") or 0)

    enough = done() + passes
    await eventually(lambda: done() >= enough, what="the sweeper has passed since")


async def test_a_replica_that_was_away_for_longer_than_the_grace_brings_nothing_back(
    dsn: str, tmp_path: Path, storage_node: StorageNodes
) -> None:
    nodes = [storage_node(f"s-{n}", retention=RETENTION, hints={"limit": 0}) for n in range(3)]
    await asyncio.gather(*(node.start() for node in nodes))
    async with serving(settings(dsn, consistency=WATCHFUL), tmp_path) as kv:
        await kv.join(*nodes)
        assert (await kv.grpc.call("CreateTenant", tenant_id="t")).success
        assert (await kv.grpc.write("k", b"v", consistency="all")).success
        *others, away = nodes
        away.freeze()
        await kv.healthy(2)
        assert (await kv.grpc.delete("k")).success
        forgotten_at = time.monotonic() + GRACE_SECONDS
        await eventually(lambda: time.monotonic() > forgotten_at, what="the grace is over")
        for node in others:
            await _swept(node, passes=2)
        away.thaw()
        await kv.healthy(3)
        # All three are joined, and the one that was away is repaired.
        read = await kv.grpc.read("k", consistency="all")
        assert read.error_code == pb.KEY_NOT_FOUND
        now_us = time.time_ns() // 1000

        async def repaired() -> bool:
            return all(one.value is None for one in decode(await _record(away), AT).versions)

        await eventually(repaired, what="the one that was away knows of it")
        assert all([await _record(node) for node in nodes])
        # Now that all have it, it may be forgotten; and stays so.
        for node in nodes:
            await _purged(node, now_us)
        assert [await _record(node) for node in nodes] == [b"", b"", b""]
        assert (await kv.grpc.read("k", consistency="all")).error_code == pb.KEY_NOT_FOUND
