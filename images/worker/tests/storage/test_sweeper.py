"""What is deleted or over goes when all replicas have it and the grace is over, not before."""

import os
from collections.abc import Awaitable, Callable

import pytest

from muster_kv.merging import Intent, Outcome, take
from muster_kv.ops import fresh_op
from muster_kv.ranges import WHOLE_RING, TokenRange
from muster_kv.record import ABSENT, encode
from muster_kv.slots import slot, token_of
from muster_kv.tombstones import CLOCK_LIMIT
from muster_kv.wire.messages import Merge, Merged, Purge, Purged, Stat, Status
from muster_testing.storage import StorageNode, StorageNodes
from muster_testing.waiting import eventually

from .conftest import TENANT, Talk, intent, now_us, talking

pytestmark = pytest.mark.integration

SHORT = {"tombstone_grace": "1s", "interval": "200ms"}
GRACE_US = 1_000_000


def _when_purged(talk: Talk, probe: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """The probe, each time after anti-entropy has found all replicas equal up to now."""

    async def asked() -> bool:
        assert isinstance(await talk.ask(Purge(WHOLE_RING, now_us(), ())), Purged)
        return await probe()

    return asked


async def _swept_after(node: StorageNode, moment_us: int) -> None:
    """Wait until the sweeper has passed over everything after a moment."""
    await eventually(lambda: now_us() > moment_us, what="the moment has come")
    passes = node.metric("storage_sweeps_total") or 0
    # The one under way may have begun before.
    await eventually(lambda: (node.metric("storage_sweeps_total") or 0) >= passes + 2)


async def test_time_alone_forgets_nothing(storage_node: StorageNodes) -> None:
    """A replica that is away, for however long, may have what was deleted here."""
    node = await storage_node("s1", retention=SHORT).start()
    async with talking(node) as talk:
        await talk.put("k", b"v")
        deleted = await talk.put("k", None)
        ends = now_us() + 1
        await talk.write("short", intent(b"v", expires_at_us=ends))
        await _swept_after(node, ends + GRACE_US)
        assert await talk.record("k") == deleted
        assert await talk.values("short") == [b"v"]
        assert node.metric("storage_forgotten_before_timestamp_seconds") == 0
        # Nor is it refused from those who have it: else who asks would take it for known here.
        at = slot(TENANT, "elsewhere")
        theirs = encode(take(ABSENT, Intent(fresh_op(os.urandom(16)), None, 1), "s2#0").record, at)
        assert await talk.ask(Merge(at, theirs)) == Merged(1)
        assert await talk.bytes_of("elsewhere") == theirs


async def test_a_node_that_was_killed_knows_what_it_has_forgotten(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1", retention=SHORT).start()
    async with talking(node) as talk:
        deleted = await talk.put("k", None)
        at = slot(TENANT, "k")
        here = TokenRange(token_of(at), token_of(at))
        await eventually(lambda: now_us() > deleted.versions[0].timestamp_us + GRACE_US)
        before_us = now_us()
        if here.first > 0:
            assert await talk.ask(Purge(TokenRange(0, here.first - 1), before_us, ())) == Purged(
                0, 0
            )
        assert await talk.record("k") == deleted
        # By this pass, or by the sweeper's own beside it.
        assert isinstance(await talk.ask(Purge(here, before_us, ())), Purged)
        assert await talk.bytes_of("k") == b""
    node.kill()
    await node.start()
    async with talking(node) as talk:
        assert await talk.ask(Merge(at, encode(deleted, at))) == Merged(0)
        # A purge that is cut short goes on by itself.
        dead = Intent(fresh_op(os.urandom(16)), None, deleted.versions[0].timestamp_us)
        await talk.write("k", dead)

        async def gone() -> bool:
            return await talk.bytes_of("k") == b""

        await eventually(gone, what="what died before is gone")


async def test_tombstones_go_after_the_grace(storage_node: StorageNodes) -> None:
    node = await storage_node("s1", retention=SHORT).start()
    async with talking(node) as talk:
        await talk.put("kept", b"v")
        await talk.put("k", b"v")
        deleted = await talk.put("k", None)
        assert await talk.values("k") == [None]

        async def purged() -> bool:
            return await talk.bytes_of("k") == b""

        await eventually(_when_purged(talk, purged), what="tombstone purged")
        assert now_us() > deleted.versions[0].timestamp_us + GRACE_US
        assert await talk.values("kept") == [b"v"]
        # It is counted after it is gone.
        await eventually(lambda: node.metric("storage_swept_total", kind="purged") == 1)
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

        await eventually(_when_purged(talk, gone), what="value gone")
        assert now_us() > ends + GRACE_US


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

        await eventually(_when_purged(talk, forgotten), what="operation forgotten")
        assert await talk.values("k") == [b"v"]
        await eventually(lambda: node.metric("storage_swept_total", kind="forgotten") == 1)


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
