"""What is deleted or over goes after the grace, and not before."""

import os

import pytest

from muster_kv.merging import Intent, Outcome
from muster_kv.ops import fresh_op
from muster_kv.ranges import WHOLE_RING
from muster_kv.record import encode
from muster_kv.slots import slot
from muster_kv.tombstones import CLOCK_LIMIT
from muster_kv.wire.messages import Merge, Merged, Purge, Purged, Stat, Status
from muster_testing.storage import StorageNodes
from muster_testing.waiting import eventually

from .conftest import TENANT, intent, now_us, talking

pytestmark = pytest.mark.integration

SHORT = {"tombstone_grace": "1s", "interval": "200ms"}


async def test_tombstones_go_after_the_grace(storage_node: StorageNodes) -> None:
    node = await storage_node("s1", retention=SHORT).start()
    async with talking(node) as talk:
        await talk.put("kept", b"v")
        await talk.put("k", b"v")
        deleted = await talk.put("k", None)
        assert await talk.values("k") == [None]

        async def purged() -> bool:
            return await talk.bytes_of("k") == b""

        await eventually(purged, what="tombstone purged")
        assert await talk.values("kept") == [b"v"]
        assert node.metric("storage_swept_total", kind="purged") == 1
        assert node.metric("storage_records") == 1
        # Who still has it does not bring it back.
        at = slot(TENANT, "k")
        assert await talk.ask(Merge(at, encode(deleted, at))) == Merged(0)
        assert await talk.bytes_of("k") == b""
        # And the next write is none that anybody could take for seen.
        again = await talk.put("k", b"new")
        assert again.versions[0].dot.counter > deleted.versions[0].dot.counter


async def test_within_the_grace_nothing_goes(storage_node: StorageNodes) -> None:
    node = await storage_node("s1", retention={"interval": "100ms"}).start()
    async with talking(node) as talk:
        before = await talk.put("k", None)
        # Asked for more than allowed: the grace holds.
        purge = Purge(WHOLE_RING, now_us() + 10**9, ())
        assert await talk.ask(purge) == Purged(0, 0)
        assert await talk.record("k") == before


async def test_a_value_whose_time_is_over_goes_whole_after_the_grace(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1", retention=SHORT).start()
    async with talking(node) as talk:
        ends = now_us() + 300_000
        await talk.write("k", intent(b"secret", expires_at_us=ends))

        async def gone() -> bool:
            return await talk.bytes_of("k") == b""

        await eventually(gone, what="value gone")
        assert now_us() > ends + 1_000_000


async def test_operations_are_forgotten_after_their_end_and_the_grace(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1", retention=SHORT).start()
    async with talking(node) as talk:
        wanted = Intent(
            fresh_op(os.urandom(16)), b"v", now_us(), remember_until_us=now_us() + 200_000
        )
        assert (await talk.write("k", wanted)).outcome is Outcome.NEW
        assert (await talk.record("k")).applied

        async def forgotten() -> bool:
            return (await talk.record("k")).applied == ()

        await eventually(forgotten, what="operation forgotten")
        assert await talk.values("k") == [b"v"]
        assert node.metric("storage_swept_total", kind="forgotten") == 1


async def test_long_contexts_lose_actors_that_a_purge_does_not_name(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        gone = {f"gone#{number:08x}": 1 for number in range(CLOCK_LIMIT + 8)}
        record = await talk.put("k", b"v", gone)
        assert len(record.context) == CLOCK_LIMIT + 9
        status = await talk.ask(Stat())
        assert isinstance(status, Status)
        assert await talk.ask(Purge(WHOLE_RING, 0, (status.actor,))) == Purged(1, 0)
        assert list((await talk.record("k")).context) == [status.actor]
