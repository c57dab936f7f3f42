"""A machine's clock that is set back while its disk is full.

RocksDB waits by that clock until it looks for room again: it would refuse writes for an hour.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.jepsen.clock import Clock, build
from e2e.jepsen.disk import Disk
from images.worker.tests.storage.conftest import TENANT, Talk, intent, talking
from muster_kv.errors import FailureCode
from muster_kv.slots import slot
from muster_kv.wire.messages import Failure, Take, Took
from muster_testing.storage import StorageNodes
from muster_testing.waiting import eventually

pytestmark = pytest.mark.integration

HOUR = 3600
VALUE = bytes(20_000)


class Writer:
    """Writes one new key after the other, and knows which were acknowledged."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.acknowledged: list[str] = []

    async def writes(self) -> bool:
        """Whether a write is taken; if not, it is for want of room."""
        key = f"key-{len(self.acknowledged)}"
        answer = await self._talk.ask(Take(slot(TENANT, key), intent(VALUE)))
        if isinstance(answer, Took):
            self.acknowledged.append(key)
            return True
        assert isinstance(answer, Failure)
        assert answer.code in (FailureCode.DISK_FULL, FailureCode.NOT_READY), answer
        return False

    async def is_refused(self) -> bool:
        """Whether it is not."""
        return not await self.writes()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk", mebibytes=32)
    yield made
    made.close()


async def test_a_node_takes_writes_again_when_there_is_room(
    storage_node: StorageNodes, disk: Disk, tmp_path: Path
) -> None:
    clock = Clock(build(tmp_path), "s1")
    node = storage_node("s1", data_dir=str(disk.place / "data"), write_buffer="2Mi")
    node.environment |= clock.environment
    await node.start()
    async with talking(node) as talk:
        writer = Writer(talk)
        for _ in range(50):
            assert await writer.writes()
        disk.fill()
        await eventually(writer.is_refused, what="there is no room")
        hours = itertools.count(1)

        async def writes_though_set_back() -> bool:
            # Again and again, since nobody knows when RocksDB begins to wait.
            clock.move(-next(hours) * HOUR)
            return await writer.writes()

        assert not await writes_though_set_back()
        await eventually(lambda: node.ask("/ready")[1]["takes_writes"] is False, what="it says so")
        disk.empty()
        await eventually(
            writes_though_set_back, deadline=120, every=0.2, what="writes are taken again"
        )
        assert node.metric("storage_reopened_total") == 1
        status, said = node.ask("/ready")
        assert (status, said["takes_writes"], said["state"]) == (200, True, "normal")
        for _ in range(50):
            assert await writer.writes()
    node.kill()
    await node.start()
    async with talking(node) as talk:
        for key in writer.acknowledged:
            assert await talk.values(key) == [VALUE], key
    assert await node.stop() == 0
