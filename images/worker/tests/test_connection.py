"""Connecting, staying connected, and connecting again."""

import time
from pathlib import Path

import grpc
import pytest

from muster_proving import KeyMaterial
from muster_testing.waiting import eventually
from muster_worker import __version__

from .conftest import GateFile, StartWorker, streaming
from .recording import INPUTS, RecordingCoordinator, until

pytestmark = pytest.mark.integration


async def test_a_worker_says_who_it_is_and_what_it_can(
    coordinator: RecordingCoordinator, local_worker: StartWorker, keys: list[KeyMaterial]
) -> None:
    coordinator.offer_keys(keys)
    await local_worker(concurrency=2)
    (request,) = coordinator.registrations
    assert request.worker_id == "worker-1"
    assert request.max_concurrent_tasks == 2
    assert request.pool == "demo"
    assert request.version == __version__
    assert request.tags["instance"]
    assert request.capabilities["circuits"] == "addition,merkle,range"
    versions = {key_id: key.version for key_id, key in coordinator.keys.items()}
    pairs = (pair.split("=") for pair in request.capabilities["keys"].split(","))
    assert dict(pairs) == versions


async def test_heartbeats_tell_how_much_is_unfinished(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    worker = await local_worker()
    for number in range(2):
        coordinator.assign(f"task-{number}", "test.gate", gate.script)
    await gate.reached()
    await eventually(
        lambda: any(beat.active_tasks == 2 for beat in coordinator.heartbeats),
        what="a heartbeat with two tasks",
    )
    beat = coordinator.heartbeats[-1]
    assert abs(beat.timestamp - time.time()) < 60

    async def answered() -> bool:
        last = await worker.ops.metric("worker_last_heartbeat_seconds")
        return last is not None and abs(last - time.time()) < 60

    await eventually(answered, what="the heartbeat is answered")


async def test_a_worker_waits_for_its_coordinator(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    await coordinator.stop()
    worker = await local_worker(ready=False)
    await worker.ops.until_problem("UNAVAILABLE")
    await coordinator.start()
    await streaming(coordinator, worker.ops)


async def test_a_worker_waits_for_the_pools_keys(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    keys, coordinator.keys = coordinator.keys, {}
    worker = await local_worker(ready=False)
    await worker.ops.until_problem("the coordinator has no keys for pool 'demo' yet")
    coordinator.keys = keys
    await streaming(coordinator, worker.ops)


async def test_a_refused_registration_is_tried_again(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    coordinator.errors["RegisterWorker"] = grpc.StatusCode.RESOURCE_EXHAUSTED
    worker = await local_worker(ready=False)
    body = await worker.ops.until_problem("RESOURCE_EXHAUSTED")
    assert body["keys_loaded"]
    assert not body["registered"]
    del coordinator.errors["RegisterWorker"]
    await streaming(coordinator, worker.ops)


async def test_a_broken_stream_is_reopened_and_what_runs_goes_on(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    await local_worker()
    running = coordinator.assign("task-1", "test.gate", gate.script)
    waiting = coordinator.assign("task-2", "range", INPUTS["range"])
    await gate.reached()
    # What is not answered before the stream breaks is said again on the next one.
    await until(running, "running")
    await eventually(lambda: len(coordinator.heartbeats) >= 1, what="a steady stream")
    coordinator.break_streams()
    await eventually(lambda: coordinator.streams_opened >= 2, what="stream reopened")
    await until(waiting, "released")
    gate.open()
    await until(running, "completed")
    assert running.started == [1]


async def test_a_forgotten_worker_registers_again(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    await local_worker()
    coordinator.known.clear()
    await eventually(lambda: len(coordinator.registrations) >= 2, what="registered again")
    await eventually(lambda: coordinator.streams_opened >= 2, what="stream reopened")


async def test_unanswered_heartbeats_make_a_new_connection(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    await local_worker()
    coordinator.errors["SendHeartbeat"] = grpc.StatusCode.UNAVAILABLE
    await eventually(lambda: coordinator.streams_opened >= 2, what="stream reopened")


async def test_a_result_made_while_the_coordinator_restarts_is_delivered_after(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile, tmp_path: Path
) -> None:
    worker = await local_worker()
    record = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await until(record, "running")
    await coordinator.stop()
    gate.open()
    await eventually(lambda: list((tmp_path / "spool").glob("*.json")), what="result spooled")
    await worker.ops.until_metric(1, "worker_pending_reports")
    await worker.ops.until_metric(0, "worker_connected")
    await coordinator.start()
    await until(record, "completed")
    await eventually(lambda: not list((tmp_path / "spool").iterdir()), what="spool empty")
    await streaming(coordinator, worker.ops)
    await worker.ops.until_metric(1, "worker_connected")
    assert len(record.completions) == 1


async def test_new_keys_of_the_pool_are_loaded_and_announced(
    coordinator: RecordingCoordinator,
    local_worker: StartWorker,
    keys: list[KeyMaterial],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("muster_worker.connection.KEY_REFRESH_SECONDS", 0.2)
    await local_worker()
    assert coordinator.registrations[-1].capabilities["circuits"] == "range"
    coordinator.offer_keys(keys)

    def announced() -> bool:
        return coordinator.registrations[-1].capabilities["circuits"] == "addition,merkle,range"

    await eventually(announced, what="new circuits announced")
    await until(coordinator.assign("task-1", "merkle", INPUTS["merkle"]), "completed")
    assert coordinator.streams_opened == 1


async def test_the_interval_of_heartbeats_is_the_shorter_of_both_wishes(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    coordinator.heartbeat_interval_ms = 1000
    await local_worker(heartbeat_interval="60s")
    await eventually(lambda: coordinator.heartbeats, deadline=30, what="a heartbeat")
