"""What was acknowledged is there, however the process ended."""

import asyncio
from pathlib import Path

import pytest

from muster_kv.errors import FailureCode
from muster_kv.record import decode
from muster_kv.slots import slot
from muster_kv.wire.messages import Failure, Stat, Status, Take, Took
from muster_testing.storage import StorageNode, StorageNodes
from muster_testing.waiting import eventually

from .conftest import DEADLINE, TENANT, Talk, intent, talking

pytestmark = pytest.mark.integration

WRITERS = 32


class Load:
    """Writes as fast as it is answered, and remembers what was acknowledged."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.acknowledged: dict[str, int] = {}
        self.failures: set[FailureCode] = set()

    async def write(self, writer: int, rounds: int) -> None:
        """Counts keys of its own upwards until the node does not answer any more."""
        for number in range(rounds):
            key = f"{writer}-{number % 5}"
            body = Take(slot(TENANT, key), intent(b"%d" % number))
            answer = await self._talk.client.request(body, DEADLINE)
            if isinstance(answer, Failure):
                self.failures.add(answer.code)
                return
            assert isinstance(answer, Took)
            self.acknowledged[key] = number

    async def until(self, count: int) -> None:
        await eventually(
            lambda: sum(self.acknowledged.values()) >= count, every=0.002, what="acknowledgements"
        )


async def _assert_kept(node: StorageNode, acknowledged: dict[str, int]) -> None:
    async with talking(node) as talk:
        for key, number in acknowledged.items():
            (value,) = await talk.values(key)
            # A later write may have happened without having been acknowledged.
            assert value is not None
            assert int(value) >= number, key
        status = await talk.ask(Stat())
        assert isinstance(status, Status)
        assert status.keys >= len(acknowledged)


async def test_nothing_acknowledged_is_lost_when_it_is_killed(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    kept: dict[str, int] = {}
    for round_ in range(3):
        async with talking(node) as talk:
            load = Load(talk)
            async with asyncio.TaskGroup() as group:
                for writer in range(WRITERS):
                    group.create_task(load.write(writer + WRITERS * round_, 10**9))
                await load.until(20_000)
                node.kill()
            assert load.failures <= {FailureCode.BROKEN, FailureCode.UNAVAILABLE}
            kept |= load.acknowledged
        assert len(kept) == WRITERS * 5 * (round_ + 1)
        await node.start()
        await _assert_kept(node, kept)


async def test_an_orderly_end_answers_what_it_has_taken_in(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        load = Load(talk)
        async with asyncio.TaskGroup() as group:
            for writer in range(WRITERS):
                group.create_task(load.write(writer, 10**9))
            await load.until(5000)
            assert await node.stop() == 0
        # Requests that were on their way to it when it hung up have no answer.
        assert load.failures <= {
            FailureCode.NOT_READY,
            FailureCode.BROKEN,
            FailureCode.UNAVAILABLE,
        }
    await node.start()
    await _assert_kept(node, load.acknowledged)


async def test_counters_of_an_actor_go_on_after_a_crash(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        before = await talk.put("k", b"1")
    node.kill()
    await node.start()
    async with talking(node) as talk:
        after = await talk.put("k", b"2")
        (dot,), (first,) = [[v.dot for v in record.versions] for record in (after, before)]
        assert dot.actor == first.actor
        assert dot.counter == first.counter + 1


async def test_without_sync_only_a_loss_of_power_loses(storage_node: StorageNodes) -> None:
    node = await storage_node("s1", sync=False).start()
    async with talking(node) as talk:
        await asyncio.gather(*(talk.put(f"k{number}", b"0") for number in range(100)))
        node.kill()
    await node.start()
    await _assert_kept(node, {f"k{number}": 0 for number in range(100)})


async def test_what_need_not_be_synced_is_soon(storage_node: StorageNodes) -> None:
    node = await storage_node("s1", sync_interval="2s").start()
    async with talking(node) as talk:

        async def unsynced() -> bool:
            await talk.ask(Take(slot(TENANT, "k"), intent(b"v"), unsynced=True))
            return (node.metric("storage_unsynced_seconds") or 0) > 0

        await eventually(unsynced, what="it is not on disk yet")
        await eventually(lambda: node.metric("storage_unsynced_seconds") == 0, what="it is on disk")
        assert (node.data_dir / "unsynced").exists()
        before = await talk.record("k")
    assert await node.stop() == 0
    assert not (node.data_dir / "unsynced").exists()
    await node.start()
    async with talking(node) as talk:
        after = await talk.put("k", b"2")
        (old,), (new,) = [[v.dot for v in record.versions] for record in (before, after)]
        assert (new.actor, new.counter) == (old.actor, old.counter + 1)


async def test_a_loss_of_power_takes_only_what_need_not_be_synced(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1", sync_interval="1m").start()
    async with talking(node) as talk:
        kept = await talk.put("kept", b"v")
        for number in range(50):
            hasty = Take(slot(TENANT, f"lost-{number}"), intent(b"v" * 2000), unsynced=True)
            assert isinstance(await talk.ask(hasty), Took)
        node.kill()
    _lose_pages(max(node.data_dir.glob("db/*.log")))
    await node.start()
    async with talking(node) as talk:
        assert await talk.record("kept") == kept
        # Dots that were made by what is lost must not be made again.
        again = await talk.put("lost-49", b"again")
        assert again.versions[0].dot.actor != kept.versions[0].dot.actor


def _lose_pages(log: Path) -> None:
    """As a loss of power does: pages of a file that were never synced are empty, some are not."""
    with log.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(size // 2)
        file.write(bytes(8192))


async def test_a_frozen_node_answers_late_ones_that_nothing_was_done(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        await talk.put("k", b"old")
        node.freeze()
        at = slot(TENANT, "k")
        answer = await talk.client.request(Take(at, intent(b"late")), 0.2)
        assert isinstance(answer, Failure)
        assert answer.unknown
        node.thaw()
        assert decode(await talk.bytes_of("k"), at).versions[0].value == b"old"
