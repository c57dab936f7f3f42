"""Damaged records are found, said, counted, and mended by what other replicas have."""

from pathlib import Path

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, lww_record
from muster_kv.ranges import WHOLE_RING
from muster_kv.record import decode, encode
from muster_kv.slots import slot
from muster_kv.wire.messages import (
    Get,
    GetDigest,
    Merge,
    Merged,
    Page,
    ScanRange,
    Stat,
    Status,
    Take,
)
from muster_storage.engine import Change, Engine, EngineCorruptError, Family
from muster_storage.store import database
from muster_testing.storage import StorageNode, StorageNodes

from .conftest import TENANT, Talk, intent, now_us, talking

pytestmark = pytest.mark.integration


async def _actor(talk: Talk) -> str:
    status = await talk.ask(Stat())
    assert isinstance(status, Status)
    return status.actor


def _flip(node: StorageNode, key: str) -> None:
    """Damage a record of a node that is not running, so that RocksDB sees nothing wrong."""
    engine = Engine(database(node.data_dir))
    at = slot(TENANT, key)
    data = bytearray(engine.get(Family.DATA, at) or b"")
    data[len(data) // 2] ^= 1
    engine.write([Change(Family.DATA, at, bytes(data))])
    engine.close()


async def test_a_damaged_record_is_said_and_mended_by_a_peer(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    at = slot(TENANT, "k")
    async with talking(node) as talk:
        good = await talk.put("k", b"value")
        await talk.put("other", b"v")
        actor = await _actor(talk)
    await node.stop()
    _flip(node, "k")
    await node.start()
    async with talking(node) as talk:
        for body in (Get(at), GetDigest(at), Take(at, intent(b"w"))):
            failure = await talk.fail(body)
            assert failure.code is FailureCode.CORRUPT
            assert "value" not in failure.detail
        assert node.metric("storage_corrupt_records_total") == 3
        page = await talk.ask(ScanRange(WHOLE_RING))
        assert isinstance(page, Page)
        assert [found for found, _ in page.items] == [slot(TENANT, "other")]
        assert await talk.ask(Merge(at, encode(good, at))) == Merged(1)
        assert await talk.record("k") == good
        # What the damaged record knew of its own dots is lost, so they are another's now.
        assert await _actor(talk) != actor
        after = await talk.put("k", b"next")
        assert after.versions[0].dot.actor == await _actor(talk)
        renewed = await _actor(talk)
    await node.stop()
    await node.start()
    async with talking(node) as talk:
        assert await _actor(talk) == renewed


async def test_a_damaged_file_of_rocksdb_is_found_too(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        for number in range(200):
            await talk.put(f"k{number}", b"%d" % number * 200)
    await node.stop()
    (table,) = _largest(database(node.data_dir))
    content = bytearray(table.read_bytes())
    content[len(content) // 3] ^= 0xFF
    table.write_bytes(content)
    await node.start()
    async with talking(node) as talk:
        damaged = []
        for number in range(200):
            at = slot(TENANT, f"k{number}")
            reply = await talk.ask(Get(at))
            if getattr(reply, "code", None) is FailureCode.CORRUPT:
                damaged.append(number)
        assert 0 < len(damaged) < 200
        # Those in other blocks are read in spite of it, in the same batch too; and a write mends.
        at = slot(TENANT, f"k{damaged[0]}")
        whole = encode(lww_record(Intent(bytes(16), b"v", now_us())), at)
        assert await talk.ask(Merge(at, whole)) == Merged(1)
        assert decode(await talk.bytes_of(f"k{damaged[0]}"), at) == decode(whole, at)
        page = await talk.fail(ScanRange(WHOLE_RING))
        assert page.code is FailureCode.CORRUPT


async def test_a_log_that_is_damaged_in_its_middle_is_not_read_halfway(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        for number in range(50):
            await talk.put(f"k{number}", b"v" * 1000)
    node.kill()
    (log,) = [path for path in database(node.data_dir).glob("*.log") if path.stat().st_size]
    content = bytearray(log.read_bytes())
    content[len(content) // 3] ^= 0xFF
    log.write_bytes(content)
    with pytest.raises(EngineCorruptError):
        Engine(database(node.data_dir))
    node.spawn()
    assert node.process is not None
    assert node.process.wait(60) == 1
    assert "can't serve" in node.tail()


async def test_a_log_that_ends_in_a_torn_write_is_read_up_to_there(
    storage_node: StorageNodes,
) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        for number in range(50):
            await talk.put(f"k{number}", b"v" * 1000)
    node.kill()
    (log,) = [path for path in database(node.data_dir).glob("*.log") if path.stat().st_size]
    log.write_bytes(log.read_bytes()[:-100])
    await node.start()
    async with talking(node) as talk:
        assert await talk.values("k48") == [b"v" * 1000]


def _largest(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.sst"), key=lambda path: path.stat().st_size)[-1:]
