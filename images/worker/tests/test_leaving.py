"""SIGTERM, as a pod gets it: nothing is lost, and the process ends with 0."""

import signal
from pathlib import Path

import pytest

from muster_testing.waiting import eventually
from muster_worker.shutdown import Deadlines

from .conftest import GateFile, StartWorker
from .recording import INPUTS, RecordingCoordinator, until

pytestmark = pytest.mark.integration


async def test_an_idle_worker_says_goodbye(
    coordinator: RecordingCoordinator, worker_process: StartWorker
) -> None:
    worker = await worker_process()
    worker.send(signal.SIGTERM)
    assert await worker.ended() == 0
    assert coordinator.deregistered == ["worker-1"]
    await eventually(lambda: coordinator.streams == {}, what="stream closed")


async def test_what_waits_is_released_at_once_and_what_runs_is_finished(
    coordinator: RecordingCoordinator, worker_process: StartWorker, gate: GateFile
) -> None:
    worker = await worker_process(shutdown_timeout="1h")
    running = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await until(running, "running")
    waiting = coordinator.assign("task-2", "range", INPUTS["range"])
    await worker.ops.until_metric(1, "worker_queued_tasks")
    beats = len(coordinator.heartbeats)

    worker.send(signal.SIGTERM)
    await until(waiting, "released")
    assert waiting.started == []
    assert running.state == "running"
    await eventually(lambda: coordinator.streams == {}, what="stream closed")
    await eventually(lambda: len(coordinator.heartbeats) > beats, what="a heartbeat meanwhile")
    assert coordinator.deregistered == []

    gate.open()
    assert await worker.ended() == 0
    assert running.state == "completed"
    assert coordinator.deregistered == ["worker-1"]


async def test_what_does_not_finish_in_time_is_released(
    coordinator: RecordingCoordinator,
    local_worker: StartWorker,
    gate: GateFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A quarter of a second to hand it back is not enough on a busy machine.
    monkeypatch.setattr(
        "muster_worker.worker.plan",
        lambda now, timeout: Deadlines(now + timeout, now + timeout + 60.0),
    )
    worker = await local_worker(shutdown_timeout="1s")
    record = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await until(record, "running")
    await worker.leave()
    assert record.state == "released"
    assert record.released is not None
    assert record.released.generation == 1
    assert coordinator.deregistered == ["worker-1"]


async def test_a_second_sigterm_releases_now(
    coordinator: RecordingCoordinator, worker_process: StartWorker, gate: GateFile
) -> None:
    worker = await worker_process(shutdown_timeout="1h")
    record = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await until(record, "running")
    worker.send(signal.SIGTERM)
    await eventually(lambda: coordinator.streams == {}, what="stream closed")
    assert record.state == "running"
    worker.send(signal.SIGTERM)
    assert await worker.ended() == 0
    assert record.state == "released"


async def test_without_a_coordinator_the_result_stays_in_the_spool(
    coordinator: RecordingCoordinator, worker_process: StartWorker, gate: GateFile, tmp_path: Path
) -> None:
    worker = await worker_process(shutdown_timeout="1h")
    coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await coordinator.stop()
    worker.send(signal.SIGTERM)
    gate.open()

    def spooled() -> bool:
        return len(list((tmp_path / "spool").glob("*.report.json"))) == 1

    await eventually(spooled, what="result spooled")
    worker.send(signal.SIGTERM)
    assert await worker.ended() == 0
    assert spooled()


async def test_a_worker_that_never_connected_leaves_too(
    coordinator: RecordingCoordinator, worker_process: StartWorker
) -> None:
    await coordinator.stop()
    worker = await worker_process(ready=False)
    await worker.ops.until_problem("UNAVAILABLE")
    worker.send(signal.SIGTERM)
    assert await worker.ended() == 0
