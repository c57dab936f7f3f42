"""Results reach the coordinator once, whatever happens between."""

import signal
from pathlib import Path

import grpc
import pytest

from muster_testing.waiting import eventually

from .conftest import GateFile, StartWorker
from .recording import INPUTS, RecordingCoordinator, until

pytestmark = pytest.mark.integration


def spooled(root: Path) -> list[Path]:
    return list((root / "spool").glob("*.report.json"))


async def test_a_spooled_result_survives_kill_9_and_is_delivered_before_registering(
    coordinator: RecordingCoordinator,
    worker_process: StartWorker,
    local_worker: StartWorker,
    gate: GateFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = await worker_process()
    record = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await until(record, "running")
    await coordinator.stop()
    gate.open()
    await eventually(lambda: spooled(tmp_path), what="result spooled")
    first.send(signal.SIGKILL)
    assert await first.ended() == -signal.SIGKILL
    assert record.state == "running"

    # Only the coordinator's return makes the next worker try again, and it has to be quick, since
    # its registration makes what the old process held move on.
    monkeypatch.setattr("muster_worker.reporter.delay", lambda failures, random: 600.0)
    monkeypatch.setattr("muster_worker.reporter._FLUSH_SECONDS", 60.0)
    coordinator.forget_on_register = True
    second = await local_worker(ready=False)
    await second.ops.until_problem("UNAVAILABLE")
    assert await second.ops.metric("worker_pending_reports") == 1
    await coordinator.start()
    await second.ops.until_ready()
    assert record.state == "completed"
    assert record.completion.generation == 1
    assert spooled(tmp_path) == []


async def test_results_go_out_without_touching_the_disk(
    coordinator: RecordingCoordinator, local_worker: StartWorker, tmp_path: Path
) -> None:
    await local_worker()
    written = (tmp_path / "spool").stat().st_mtime_ns
    await until(coordinator.assign("task-1", "range", INPUTS["range"]), "completed")
    assert (tmp_path / "spool").stat().st_mtime_ns == written


async def test_a_fenced_result_is_dropped_and_nothing_else_happens(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    worker = await local_worker()
    record = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await until(record, "running")
    record.assignment.generation = 2  # another worker's by now
    gate.open()
    await worker.ops.until_metric(1, "worker_results_dropped_total", reason="fenced")
    await worker.ops.until_metric(0, "worker_pending_reports")
    assert await worker.ops.metric("worker_tasks_completed_total") == 0
    await until(coordinator.assign("task-2", "range", INPUTS["range"]), "completed")
    assert len(coordinator.registrations) == 1


async def test_a_result_for_an_unknown_task_is_dropped(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    worker = await local_worker()
    record = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await until(record, "running")
    del coordinator.tasks["task-1"]
    gate.open()
    await worker.ops.until_metric(1, "worker_results_dropped_total", reason="unknown")


async def test_a_proof_that_the_coordinator_refuses_counts_as_failed(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    coordinator.refuse_proofs = True
    worker = await local_worker()
    record = coordinator.assign("task-1", "range", INPUTS["range"])
    await until(record, "refused")
    await worker.ops.until_metric(1, "worker_tasks_failed_total", reason="rejected")
    assert len(record.completions) == 1
    assert await worker.ops.metric("worker_tasks_completed_total") == 0


async def test_a_start_that_did_not_arrive_is_told_again_before_the_result(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    coordinator.errors["StartTask"] = grpc.StatusCode.UNAVAILABLE
    worker = await local_worker()
    record = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    gate.open()
    await worker.ops.until_metric(1, "worker_pending_reports")
    assert record.completions == []
    del coordinator.errors["StartTask"]
    await until(record, "completed")
    assert record.started == [1]


async def test_a_start_that_is_refused_stops_the_run(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    coordinator.errors["StartTask"] = grpc.StatusCode.FAILED_PRECONDITION
    worker = await local_worker()
    record = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await worker.ops.until_metric(1, "worker_executors_replaced_total")
    assert await worker.ops.metric("worker_active_tasks") == 0
    assert record.completions == []
    assert record.failure is None
