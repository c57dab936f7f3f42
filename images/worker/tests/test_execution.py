"""Tasks over real sockets, in real executing processes."""

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from muster_proving import KeyMaterial
from muster_testing.waiting import eventually

from .conftest import GateFile, LocalWorker, running_coordinator, settings, streaming
from .recording import INPUTS, Record, RecordingCoordinator, failure_of, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class Pair:
    """A coordinator and a worker with two lanes, shared by the tests of this module."""

    def __init__(self, coordinator: RecordingCoordinator, worker: LocalWorker) -> None:
        self.coordinator = coordinator
        self.worker = worker
        self._numbers = itertools.count(1)

    def assign(self, circuit: str, inputs: Mapping[str, Any] | bytes, **fields: Any) -> Record:
        task_id = f"task-{next(self._numbers)}"
        return self.coordinator.assign(task_id, circuit, inputs, **fields)

    async def metric(self, name: str, **labels: str) -> float:
        value = await self.worker.ops.metric(name, **labels)
        assert value is not None, name
        return value

    async def proves(self) -> None:
        """A good task is executed, after all that went before it."""
        await until(self.assign("addition", INPUTS["addition"]), "completed")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    keys: list[KeyMaterial], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    root = tmp_path_factory.mktemp("worker")
    async with running_coordinator(keys) as coordinator:
        worker = LocalWorker(settings(coordinator, root, concurrency=2))
        await streaming(coordinator, worker.ops)
        yield Pair(coordinator, worker)
        await worker.abort()


@pytest.mark.parametrize("circuit", INPUTS)
async def test_a_proof_is_made_and_holds(pair: Pair, circuit: str) -> None:
    completed = await pair.metric("worker_tasks_completed_total")
    count = "worker_proof_duration_seconds_count"
    measured = await pair.metric(count, circuit_type=circuit)
    record = pair.assign(circuit, INPUTS[circuit])
    await until(record, "completed")
    assert record.started == [1]
    assert bool(record.completion.merkle_root) is (circuit == "merkle")
    await pair.worker.ops.until_metric(measured + 1, count, circuit_type=circuit)
    await pair.worker.ops.until_metric(completed + 1, "worker_tasks_completed_total")


@pytest.mark.parametrize("name", ["merkle", "merkle_proof"])
async def test_an_assignment_without_generation_and_key_is_proved_on_the_configured_curve(
    pair: Pair, name: str
) -> None:
    original = {"generation": 0, "circuit_type": name, "key_id": "", "key_version": ""}
    await until(pair.assign("merkle", INPUTS["merkle"], **original), "completed")


async def test_an_unknown_type_fails_for_others_to_try(pair: Pair) -> None:
    failed = await pair.metric("worker_tasks_failed_total", reason="unknown_type")
    message, transient = await failure_of(pair.assign("sudoku", {}))
    assert message.startswith(
        "unknown workload type 'sudoku'; known here: command, http, prove.add"
    )
    assert transient
    await pair.worker.ops.until_metric(
        failed + 1, "worker_tasks_failed_total", reason="unknown_type"
    )


@pytest.mark.parametrize(
    ("circuit", "payload", "words"),
    [
        ("merkle", b"", "not JSON"),
        ("merkle", b"\xff", "not JSON"),
        ("merkle", b"[" * 100_000, "not JSON"),
        ("merkle", b"[1]", "not an object"),
        ("merkle", b'{"leaves": ["0xzz"], "leaf_index": 0}', "leaves[0]"),
        ("merkle", b'{"leaves": ["0x1"], "leaf_index": 1}', "leaf_index"),
        ("range", b'{"value": 5, "min": 6, "max": 9}', "value"),
        ("addition", b'{"a": 1}', "b is missing"),
    ],
)
async def test_malformed_input_fails_for_good(
    pair: Pair, circuit: str, payload: bytes, words: str
) -> None:
    failed = await pair.metric("worker_tasks_failed_total", reason="invalid_input")
    message, transient = await failure_of(pair.assign(circuit, payload))
    assert words in message
    assert not transient
    await pair.worker.ops.until_metric(
        failed + 1, "worker_tasks_failed_total", reason="invalid_input"
    )
    assert await pair.metric("worker_executors_replaced_total") == 0
    await pair.proves()


async def test_a_key_version_that_is_not_loaded_fails_for_others_to_try(pair: Pair) -> None:
    record = pair.assign("merkle", INPUTS["merkle"], key_version="sha256:" + 64 * "0")
    message, transient = await failure_of(record)
    assert message.startswith("key merkle-3-poseidon@bn254 sha256:0000")
    assert transient


async def test_an_error_that_quotes_a_witness_is_not_repeated(
    pair: Pair, capfd: pytest.CaptureFixture[str]
) -> None:
    record = pair.assign("test.raise", {"witness": "hunter2"})
    assert await failure_of(record) == ("test.raise failed with RuntimeError", True)
    logged = capfd.readouterr().err
    assert "workload failed" in logged
    assert "hunter2" not in logged


async def test_an_assignment_that_comes_twice_is_executed_once(pair: Pair, gate: GateFile) -> None:
    record = pair.assign("test.gate", gate.script)
    await gate.reached()
    pair.coordinator.send(record.assignment)
    await pair.proves()
    gate.open()
    await until(record, "completed")
    await pair.proves()
    assert record.started == [1]
    assert len(record.completions) == 1


async def test_an_older_assignment_is_ignored(pair: Pair, gate: GateFile) -> None:
    record = pair.assign("test.gate", gate.script, generation=7)
    await gate.reached()
    older = type(record.assignment)()
    older.CopyFrom(record.assignment)
    older.generation = 6
    pair.coordinator.send(older)
    await pair.proves()
    gate.open()
    await until(record, "completed")
    assert record.completion.generation == 7
    assert record.started == [7]


async def test_a_later_assignment_of_a_running_task_takes_its_result(
    pair: Pair, gate: GateFile
) -> None:
    record = pair.assign("test.gate", gate.script)
    await gate.reached()
    pair.coordinator.reassign(record)
    await eventually(lambda: record.started == [1, 2], what="started under both")
    gate.open()
    await until(record, "completed")
    assert record.completion.generation == 2
    assert len(record.completions) == 1


async def test_as_many_tasks_run_as_configured_and_twice_as_many_wait(
    pair: Pair, gate: GateFile
) -> None:
    records = [pair.assign("test.gate", gate.script) for _ in range(7)]
    await until(records[6], "released")
    released = records[6].released
    assert released is not None
    assert released.reason == "the queue of this worker is full"
    running = [record for record in records if record.state == "running"]
    assert len(running) <= 2
    await eventually(lambda: [record.state for record in records[:2]] == ["running"] * 2)
    assert await pair.metric("worker_active_tasks") == 2
    assert await pair.metric("worker_queued_tasks") == 4
    assert await pair.metric("worker_pool_concurrency") == 2
    gate.open()
    for record in records[:6]:
        await until(record, "completed")
    processes = {record.output["pid"] for record in records[:6]}
    assert len(processes) == 2


async def test_other_work_under_a_later_assignment_replaces_what_runs(
    pair: Pair, gate: GateFile
) -> None:
    replaced = await pair.metric("worker_executors_replaced_total")
    record = pair.assign("test.gate", gate.script)
    await gate.reached()
    record.assignment.circuit_type = "addition"
    record.assignment.input_data_json = json.dumps(INPUTS["addition"]).encode()
    pair.coordinator.reassign(record)
    await until(record, "completed")
    assert record.completion.generation == 2
    assert len(record.completion.proof_data) == 128
    await pair.worker.ops.until_metric(replaced + 1, "worker_executors_replaced_total")
