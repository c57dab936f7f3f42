"""What a task may not do, and that nothing else suffers when it does."""

import os
import signal
from pathlib import Path

import pytest

from muster_testing.waiting import eventually
from muster_worker.executor import process
from muster_worker.executor.process import Settings
from muster_worker.executor.supervisor import Executor, LoadFailed

from .conftest import GateFile, StartWorker, alive, children
from .recording import INPUTS, RecordingCoordinator, failure_of, until

pytestmark = pytest.mark.integration


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def proves_again(coordinator: RecordingCoordinator) -> None:
    """The worker goes on as if nothing had happened."""
    await until(coordinator.assign("afterwards", "range", INPUTS["range"]), "completed")


async def test_a_task_beyond_the_time_limit_of_its_assignment_is_killed(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile, tmp_path: Path
) -> None:
    worker = await local_worker()
    gate.open()
    before = coordinator.assign("before", "test.gate", gate.script)
    await until(before, "completed")
    executor = before.output["pid"]
    closed = GateFile(tmp_path / "closed").script
    record = coordinator.assign("task-1", "test.gate", closed, timeout_ms=2000)
    assert await failure_of(record) == ("time limit of 2 s exceeded", True)
    await eventually(lambda: not alive(executor), what="executing process gone")
    await worker.ops.until_metric(1, "worker_tasks_failed_total", reason="timeout")
    await proves_again(coordinator)
    assert await worker.ops.metric("worker_executors_replaced_total") == 1


async def test_without_a_limit_in_the_assignment_the_workers_own_holds(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    await local_worker(task_timeout="300ms")
    record = coordinator.assign("task-1", "test.gate", gate.script)
    assert await failure_of(record) == ("time limit of 0.3 s exceeded", True)


async def test_a_crash_fails_one_task_and_its_neighbour_goes_on(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    worker = await local_worker(concurrency=2)
    neighbour = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    crashing = coordinator.assign("task-2", "test.crash", {})
    message, transient = await failure_of(crashing)
    assert message == "the executing process was killed by SIGSEGV"
    assert transient
    await worker.ops.until_metric(1, "worker_tasks_failed_total", reason="crashed")
    gate.open()
    await until(neighbour, "completed")
    await proves_again(coordinator)


async def test_a_task_that_ends_its_process_fails_alone(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    await local_worker()
    message, transient = await failure_of(coordinator.assign("task-1", "test.exit", {}))
    assert message == "the executing process ended with status 3"
    assert transient
    await proves_again(coordinator)


async def test_a_process_killed_in_the_middle_of_a_proof_fails_that_proof(
    coordinator: RecordingCoordinator, worker_process: StartWorker
) -> None:
    worker = await worker_process()
    (executor,) = children(worker.pid)
    os.kill(executor, signal.SIGSTOP)  # so that the proof is surely unfinished
    record = coordinator.assign("task-1", "range", INPUTS["range"])
    await until(record, "running")
    os.kill(executor, signal.SIGKILL)
    message, transient = await failure_of(record)
    assert message == "the executing process was killed by SIGKILL"
    assert transient
    await proves_again(coordinator)


async def test_a_task_beyond_the_memory_limit_fails_alone(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    worker = await local_worker(task_memory_limit="128Mi")
    message, transient = await failure_of(coordinator.assign("task-1", "test.allocate", {}))
    assert message == "out of memory: needs more than task_memory_limit, 128Mi"
    assert transient
    await worker.ops.until_metric(1, "worker_tasks_failed_total", reason="out_of_memory")
    await proves_again(coordinator)


async def test_an_idle_process_that_dies_is_replaced(
    coordinator: RecordingCoordinator, worker_process: StartWorker
) -> None:
    worker = await worker_process()
    (first,) = children(worker.pid)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: children(worker.pid) not in ([], [first]), what="replaced")
    await proves_again(coordinator)


async def test_loading_has_a_time_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster_worker.executor.supervisor.LOAD_SECONDS", 0.2)
    # It never answers.
    monkeypatch.setattr(process, "_command", lambda *_: ["sleep", "600"])
    executor = Executor(Settings(("sleep",)), on_replaced=lambda: None)
    before = set(children(os.getpid()))
    with pytest.raises(LoadFailed, match="keys not loaded within 0"):
        await executor.load(())
    assert set(children(os.getpid())) <= before
    assert executor.keys is None


async def test_the_kernel_takes_the_executing_process_before_the_worker(
    coordinator: RecordingCoordinator, worker_process: StartWorker
) -> None:
    worker = await worker_process()
    (executor,) = children(worker.pid)
    assert oom_score(executor) > oom_score(worker.pid)


async def test_no_executing_process_outlives_its_worker(
    coordinator: RecordingCoordinator, worker_process: StartWorker, gate: GateFile
) -> None:
    worker = await worker_process()
    coordinator.assign("task-1", "test.gate", gate.script)
    executor = await gate.reached()
    worker.send(signal.SIGKILL)
    await eventually(lambda: not alive(executor), what="executing process gone")
