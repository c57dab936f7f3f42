"""A coordinator that knows no `Session` is spoken to by single calls, as ever."""

from pathlib import Path

import pytest

from muster_testing.waiting import eventually

from .conftest import GateFile, StartWorker, streaming
from .recording import INPUTS, RecordingCoordinator, failure_of, until

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _of_the_first_contract(coordinator: RecordingCoordinator) -> None:
    coordinator.speaks_session = False


async def test_work_is_done_as_before(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile
) -> None:
    worker = await local_worker()
    proof = coordinator.assign("task-1", "range", INPUTS["range"])
    await until(proof, "completed")
    assert proof.started == [1]
    talk = coordinator.assign("task-2", "test.talk", {"lines": 3, "percent": 50, "save": "s"})
    await until(talk, "completed")
    assert talk.output["greeting"] == ""
    assert (talk.lines, talk.progress, talk.checkpoints) == ([], [], [])
    assert (await failure_of(coordinator.assign("task-3", "range", b"")))[1] is False
    records = [coordinator.assign("gate-0", "test.gate", gate.script)]
    await gate.reached()
    records += [coordinator.assign(f"gate-{n}", "test.gate", gate.script) for n in (1, 2, 3)]
    await until(records[3], "released")
    gate.open()
    for record in records[:3]:
        await until(record, "completed")
    await eventually(lambda: coordinator.heartbeats, what="a heartbeat")
    await worker.leave()
    assert coordinator.deregistered == ["worker-1"]


async def test_a_result_made_meanwhile_waits_in_the_spool_for_an_older_coordinator(
    coordinator: RecordingCoordinator, local_worker: StartWorker, gate: GateFile, tmp_path: Path
) -> None:
    coordinator.speaks_session = True
    worker = await local_worker()
    record = coordinator.assign("task-1", "test.gate", gate.script)
    await gate.reached()
    await until(record, "running")
    await coordinator.stop()
    gate.open()
    await eventually(lambda: list((tmp_path / "spool").glob("*.json")), what="result spooled")
    coordinator.speaks_session = False
    await coordinator.start()
    await until(record, "completed")
    await streaming(coordinator, worker.ops)


async def test_a_newer_coordinator_is_spoken_to_on_one_stream_again(
    coordinator: RecordingCoordinator, local_worker: StartWorker
) -> None:
    worker = await local_worker()
    assert "ReceiveTasks" in coordinator.tokens
    coordinator.speaks_session = True
    opened = coordinator.streams_opened
    coordinator.break_streams()
    await eventually(lambda: coordinator.streams_opened > opened, what="stream reopened")
    await streaming(coordinator, worker.ops)
    record = coordinator.assign("task-1", "test.talk", {"lines": 1})
    await until(record, "completed")
    assert record.lines == [("info", "line 0")]
