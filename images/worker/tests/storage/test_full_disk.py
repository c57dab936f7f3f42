"""A disk that fills up: writes are refused, reads go on, nothing is damaged."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, lww_record
from muster_kv.record import encode
from muster_kv.slots import slot
from muster_kv.wire.messages import Cause, Failure, MergeMany, StoreHint, Take, Took
from muster_testing.storage import StorageNodes
from muster_testing.waiting import eventually

from .conftest import TENANT, intent, now_us, talking

pytestmark = pytest.mark.integration

MIB = 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB; mounting it needs root, as making clusters does."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def _value(key: str) -> bytes:
    """30 kB of the key's own that can't be compressed."""
    return random.Random(key).randbytes(30_000)


async def test_without_space_writes_are_refused_until_there_is_some(
    storage_node: StorageNodes, small_disk: Path
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(12 * MIB))
    node = await storage_node(
        "s1", data_dir=str(small_disk / "data"), write_buffer="1Mi", block_cache="1Mi"
    ).start()
    kept: list[str] = []
    async with talking(node) as talk:

        async def written(key: str) -> bool:
            answer = await talk.ask(Take(slot(TENANT, key), intent(_value(key))))
            if isinstance(answer, Took):
                kept.append(key)
                return True
            assert isinstance(answer, Failure)
            assert answer.code is FailureCode.DISK_FULL, answer
            return False

        while await written(f"key-{len(kept):06}"):
            assert len(kept) < 2000
        assert not await written("one more")
        assert await talk.values(kept[0]) == [_value(kept[0])]
        assert (node.metric("storage_errors_total", code="DISK_FULL") or 0) >= 2
        ballast.unlink()

        async def again() -> bool:
            return await written("after")

        await eventually(again, what="writes taken again")
        node.kill()
    await node.start()
    async with talking(node) as talk:
        for key in kept:
            assert await talk.values(key) == [_value(key)], key
        await talk.put("alive", b"v")
    node.kill()


async def test_steps_refuse_more_and_more(storage_node: StorageNodes, small_disk: Path) -> None:
    node = await storage_node(
        "s1",
        data_dir=str(small_disk / "data"),
        disk_warn=50,
        disk_large=60,
        disk_all=80,
        large_value="1Ki",
    ).start()
    ballast = small_disk / "ballast"
    at = slot(TENANT, "k")
    data = encode(lww_record(Intent(bytes(16), b"v", now_us())), at)

    async def step(percent: int, wanted: int) -> None:
        ballast.write_bytes(bytes(24 * MIB * percent // 100))
        await eventually(
            lambda: node.metric("storage_disk_step") == wanted, what=f"disk step {wanted}"
        )

    async with talking(node) as talk:
        await step(52, 1)
        await talk.put("large", bytes(2048))
        await step(65, 2)
        await talk.put("small", b"v")
        for body in (
            Take(slot(TENANT, "large"), intent(bytes(2048))),
            StoreHint("other", ((at, data),)),
            MergeMany(((at, data),), Cause.STREAM),
        ):
            assert (await talk.fail(body)).code is FailureCode.DISK_FULL
        await step(85, 3)
        refused = await talk.fail(Take(slot(TENANT, "small"), intent(b"w")))
        assert refused.code is FailureCode.DISK_FULL
        assert "80%" in refused.detail
        assert await talk.values("small") == [b"v"]
        status, body = node.ask("/ready")
        assert (status, body["takes_writes"]) == (200, False)
        await step(10, 0)
        await talk.put("small", b"w")
    assert await node.stop() == 0
