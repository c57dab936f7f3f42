"""What a storage node says of itself, and when it refuses to start."""

import asyncio
import json
import subprocess
import sys
from typing import get_args

import pytest

from muster_kv.errors import FailureCode
from muster_kv.slots import slot
from muster_kv.wire.messages import RequestBody, Take
from muster_storage.config import load_config
from muster_storage.engine import Engine, EngineFullError
from muster_storage.metrics import HINT_OUTCOMES, STATES, SWEPT
from muster_storage.service import Service
from muster_testing.storage import StorageNode, StorageNodes

from .conftest import TENANT, intent, talking

pytestmark = pytest.mark.integration


async def test_all_metrics_are_there_from_the_start(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    for body in get_args(RequestBody):
        assert node.metric("storage_requests_total", operation=body.__name__) == 0
    for code in FailureCode:
        assert node.metric("storage_errors_total", code=code.name) == 0
    for outcome in HINT_OUTCOMES:
        assert node.metric("storage_hints_total", outcome=outcome) == 0
    for kind in SWEPT:
        assert node.metric("storage_swept_total", kind=kind) == 0
    for state in STATES:
        assert node.metric("storage_state", state=state) == (state == "NORMAL")
    for name in (
        "corrupt_records_total",
        "disk_step",
        "hints_waiting",
        "last_backup_timestamp_seconds",
        "record_bytes",
        "records",
        "reopened_total",
        "unsynced_seconds",
        "waiting_reads",
        "waiting_writes",
    ):
        assert node.metric(f"storage_{name}") == 0, name
    assert node.metric("storage_commit_seconds_count") is not None
    assert 0 < (node.metric("storage_disk_used_percent") or 0) < 100


async def test_requests_are_counted(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    async with talking(node) as talk:
        for number in range(7):
            await talk.put(f"k{number}", b"v")
            await talk.record("k0")
    assert node.metric("storage_requests_total", operation="Take") == 7
    assert node.metric("storage_requests_total", operation="Get") == 7
    assert node.metric("storage_records") == 7
    assert (node.metric("storage_record_bytes") or 0) > 7 * 20


async def test_health_and_readiness_tell_the_state(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    assert node.ask("/health") == (200, {"status": "ok"})
    status, body = node.ask("/ready")
    assert status == 200
    assert (body["state"], body["ring_version"], body["takes_writes"]) == ("normal", 0, True)
    assert node.ask("/")[1]["service"] == "muster-storage"


async def test_logs_are_json(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    await node.stop()
    lines = [json.loads(line) for line in node.log.read_text().splitlines()]
    assert {line["component"] for line in lines} == {"storage"}
    assert [line["message"] for line in lines] == ["starting", "serving", "stopped"]
    assert lines[1]["port"] == node.port


def _refused(node: StorageNode, status: int, words: str) -> None:
    node.spawn()
    assert node.process is not None
    assert node.process.wait(60) == status
    assert words in node.tail()


async def test_a_wrong_configuration_ends_it_at_once(storage_node: StorageNodes) -> None:
    _refused(storage_node("s1", max_batch=0), 2, "storage.max_batch: got 0; allowed: ")


async def test_it_does_not_take_anothers_data(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    data = str(node.data_dir)
    _refused(storage_node("s2", data_dir=data), 1, "While lock file")
    await node.stop()
    _refused(storage_node("s3", data_dir=data), 1, "holds the data of node 's1'")
    _refused(storage_node("s4", data_dir=data, cluster="other"), 1, "of cluster 'muster'")
    await node.start()


async def test_a_port_that_is_taken_ends_it(storage_node: StorageNodes) -> None:
    node = await storage_node("s1").start()
    _refused(storage_node("s2", port=node.port), 1, "can't serve")


async def test_it_ends_where_rocksdb_refuses_writes_and_can_not_be_opened_again(
    storage_node: StorageNodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise EngineFullError("No space left on device")

    monkeypatch.setattr("muster_storage.refusing.PATIENCE", 0)
    node = storage_node("s1")
    running = asyncio.create_task(Service(load_config(node.config, {})).run(asyncio.Event()))
    async with talking(node) as talk:
        await talk.put("k", b"v")
        monkeypatch.setattr(Engine, "write", full)
        (node.data_dir / "db" / "CURRENT").write_text("nonsense")
        refused = await talk.fail(Take(slot(TENANT, "k"), intent(b"w")))
        assert refused.code is FailureCode.DISK_FULL
        # Nobody writes any more.
        assert await asyncio.wait_for(running, 60) == 1
    assert "RocksDB can't be opened again" in caplog.text


def test_the_version_is_told() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "muster_storage", "-version"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said.splitlines()[0] == "Muster storage 0.1.0"
