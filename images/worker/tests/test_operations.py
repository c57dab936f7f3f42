"""What the operations endpoints and the logs of a worker say."""

import json

import pytest

from muster_testing.waiting import eventually

from .conftest import GateFile, StartWorker
from .recording import INPUTS, RecordingCoordinator, until

pytestmark = pytest.mark.integration

SEEDED = [
    "worker_connected",
    "worker_last_heartbeat_seconds",
    "worker_active_tasks",
    "worker_queued_tasks",
    "worker_pending_reports",
    "worker_tasks_completed_total",
    "worker_executors_replaced_total",
]
REASONS = [
    "invalid_input",
    "unknown_type",
    "key_unavailable",
    "timeout",
    "out_of_memory",
    "crashed",
    "failed",
    "internal",
    "rejected",
]


async def test_all_metrics_are_there_from_the_start(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    await coordinator.stop()
    worker = await local_worker(ready=False)
    await worker.ops.until_problem("")
    for name in SEEDED:
        assert await worker.ops.metric(name, worker_id="worker-1") == 0, name
    for reason in REASONS:
        assert await worker.ops.metric("worker_tasks_failed_total", reason=reason) == 0, reason
    for reason in ("fenced", "unknown"):
        assert await worker.ops.metric("worker_results_dropped_total", reason=reason) == 0, reason
    for circuit in INPUTS:
        count = "worker_proof_duration_seconds_count"
        assert await worker.ops.metric(count, circuit_type=circuit) == 0, circuit
    for method in ("RegisterWorker", "SendHeartbeat", "ReportCompletion"):
        count = "grpc_client_calls_total"
        assert await worker.ops.metric(count, method=method, status="OK") == 0, method
    lives = "grpc_client_stream_duration_seconds_count"
    for method in ("ReceiveTasks", "Session"):
        assert await worker.ops.metric(lives, method=method) == 0, method
    assert await worker.ops.metric("worker_pool_concurrency") == 1


async def test_health_is_alive_while_ready_waits_for_the_coordinator(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    await coordinator.stop()
    worker = await local_worker(ready=False)
    body = await worker.ops.until_problem("UNAVAILABLE")
    assert body == {
        "ready": False,
        "connected": False,
        "registered": False,
        "keys_loaded": False,
        "problem": body["problem"],
    }
    assert (await worker.ops.health())["status"] == "healthy"
    await coordinator.start()
    await worker.ops.until_ready()
    assert (await worker.ops.ready())[1]["problem"] == ""


async def test_health_shows_the_statistics(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    worker = await local_worker()
    coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    body = await worker.ops.health()
    assert body["worker_id"] == "worker-1"
    assert body["pool_concurrency"] == 1
    assert body["active_tasks"] == 1
    assert body["queued_tasks"] == 0
    assert body["connected"]


@pytest.mark.parametrize("session", [True, False], ids=["one stream", "single calls"])
async def test_calls_are_counted_by_method_and_status(
    coordinator: RecordingCoordinator, local_worker: StartWorker, *, session: bool
) -> None:
    coordinator.speaks_session = session
    worker = await local_worker()
    await until(coordinator.assign("task-1", "range", INPUTS["range"]), "completed")
    called = {"ListKeys": 1, "RegisterWorker": 0, "StartTask": 0}
    if not session:
        called |= {"RegisterWorker": 1, "StartTask": 1}
    for method, times in called.items():
        await worker.ops.until_metric(times, "grpc_client_calls_total", method=method, status="OK")


async def test_logs_are_json_and_hold_no_witness(
    coordinator: RecordingCoordinator,
    worker_process: StartWorker,
    capfd: pytest.CaptureFixture[str],
) -> None:
    await worker_process()
    good = coordinator.assign("task-1", "range", {**INPUTS["range"], "value": "123"})
    await until(good, "completed")
    bad = coordinator.assign("task-2", "range", {**INPUTS["range"], "value": "987654321"})
    await until(bad, "failed")
    written: list[str] = []

    def reported() -> bool:
        written.append(capfd.readouterr().err)
        return "task reported" in "".join(written)

    # Once it has heard that its report is taken in.
    await eventually(reported, what="the report is in the log")
    lines = [line for line in "".join(written).splitlines() if line.startswith("{")]
    messages = [json.loads(line)["message"] for line in lines if line.endswith("}")]
    assert messages[0] == "worker starts"
    assert not any('"123"' in line or "987654321" in line for line in lines)
