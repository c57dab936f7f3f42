"""What a running task says, and what it is told: over one stream, in real processes."""

import itertools
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from muster_protos import coordinator_pb2 as pb
from muster_testing.waiting import eventually

from .conftest import GateFile, LocalWorker, alive, running_coordinator, settings, streaming
from .recording import Record, RecordingCoordinator, failure_of, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

TYPES = ["test.gate", "test.talk", "sleep", "command"]


class Pair:
    """A coordinator and a worker without keys, shared by the tests of this module."""

    def __init__(self, coordinator: RecordingCoordinator, worker: LocalWorker) -> None:
        self.coordinator = coordinator
        self.worker = worker
        self._numbers = itertools.count(1)

    def assign(self, kind: str, given: Any, **fields: Any) -> Record:
        return self.coordinator.assign(f"task-{next(self._numbers)}", kind, given, **fields)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    root = tmp_path_factory.mktemp("worker")
    async with running_coordinator([]) as coordinator:
        document = settings(
            coordinator,
            root,
            workloads=TYPES,
            tags={"zone": "a"},
            checkpoint_interval="1s",
            pause_timeout="1m",
            options={"test.talk": {"greeting": "hello"}},
        )
        worker = LocalWorker(document)
        await streaming(coordinator, worker.ops)
        yield Pair(coordinator, worker)
        await worker.abort()


async def test_a_worker_says_what_it_does_and_needs_no_keys_for_it(pair: Pair) -> None:
    (request,) = pair.coordinator.registrations
    assert sorted(request.types) == sorted(TYPES)
    assert request.tags["zone"] == "a"
    assert request.tags["instance"]
    assert dict(request.capabilities) == {}
    assert "ListKeys" not in pair.coordinator.tokens


async def test_a_task_tells_how_it_goes_before_it_ends(pair: Pair) -> None:
    record = pair.assign("test.talk", {"lines": 3, "percent": 40, "save": "half"})
    await until(record, "completed")
    assert record.lines == [("info", "line 0"), ("warning", "line 1"), ("info", "line 2")]
    assert record.progress == [(40, "on the way")]
    assert record.checkpoints == [b"half"]
    assert record.output == {
        "greeting": "hello",
        "resumed": None,
        "attempt": 1,
        "customer": "default",
    }


async def test_a_task_goes_on_from_its_checkpoint(pair: Pair) -> None:
    record = pair.assign(
        "test.talk", {}, checkpoint=b"half", has_checkpoint=True, attempt=3, customer_id="acme"
    )
    await until(record, "completed")
    assert record.output["resumed"] == "half"
    assert record.output["attempt"] == 3
    assert record.output["customer"] == "acme"


@pytest.mark.parametrize("transient", [True, False])
async def test_a_workload_says_why_it_failed(pair: Pair, *, transient: bool) -> None:
    record = pair.assign("test.talk", {"end": "fail", "transient": transient})
    assert await failure_of(record) == ("it was told to fail", transient)


@pytest.mark.parametrize(
    ("end", "message", "transient"),
    [
        ("large", "result is 2097154 bytes of JSON; allowed: at most 1048576", False),
        ("unheard", "test.talk failed with TypeError", True),
    ],
)
async def test_a_result_that_cannot_be_kept_fails_its_task(
    pair: Pair, end: str, message: str, *, transient: bool
) -> None:
    assert await failure_of(pair.assign("test.talk", {"end": end})) == (message, transient)


async def test_more_lines_than_are_kept_are_dropped_with_a_word(pair: Pair) -> None:
    record = pair.assign("test.talk", {"lines": 10_100})
    await until(record, "completed")
    assert len(record.lines) == 10_001
    assert record.lines[-1] == ("warning", "more than 10000 lines: the rest is dropped")


async def test_a_paused_task_ends_with_its_checkpoint_and_can_go_on(pair: Pair) -> None:
    record = pair.assign("sleep", {"seconds": 600})
    await eventually(lambda: record.progress, what="some sleep")
    pair.coordinator.stop_task(record, pb.Stop.PAUSE)
    await until(record, "paused")
    slept = json.loads(record.checkpoints[-1])["slept_seconds"]
    assert 0 < slept < 600
    assert record.completions == []
    rest = pair.assign(
        "sleep", {"seconds": slept + 0.1}, checkpoint=record.checkpoints[-1], has_checkpoint=True
    )
    await until(rest, "completed")
    assert rest.output["resumed_at_seconds"] == pytest.approx(slept, abs=0.001)
    assert rest.output["slept_seconds"] > slept


async def test_a_task_saves_its_state_now_and_then(pair: Pair) -> None:
    record = pair.assign("sleep", {"seconds": 600})
    await eventually(lambda: record.checkpoints, what="a checkpoint")
    assert record.state == "running"
    pair.coordinator.stop_task(record, pb.Stop.CANCEL)


async def test_a_task_that_does_not_pause_by_itself_is_killed(
    tmp_path: Path, gate: GateFile
) -> None:
    async with running_coordinator([]) as coordinator:
        worker = LocalWorker(settings(coordinator, tmp_path, workloads=TYPES, pause_timeout="1s"))
        await streaming(coordinator, worker.ops)
        record = coordinator.assign("task-1", "test.gate", gate.script)
        process = await gate.reached()
        await until(record, "running")
        coordinator.stop_task(record, pb.Stop.PAUSE)
        await until(record, "paused")
        await eventually(lambda: not alive(process), what="the process is gone")
        assert record.checkpoints == []
        await worker.abort()


async def test_a_task_that_ends_while_it_is_to_pause_has_its_result(
    pair: Pair, gate: GateFile
) -> None:
    record = pair.assign("test.gate", gate.script)
    await gate.reached()
    await until(record, "running")
    pair.coordinator.stop_task(record, pb.Stop.PAUSE)
    gate.open()
    await until(record, "completed")


async def test_a_task_that_only_waits_is_handed_back_where_it_is_to_pause(
    pair: Pair, gate: GateFile
) -> None:
    running = pair.assign("test.gate", gate.script)
    waiting = pair.assign("test.talk", {})
    await gate.reached()
    pair.coordinator.stop_task(waiting, pb.Stop.PAUSE)
    await until(waiting, "released")
    gate.open()
    await until(running, "completed")


async def test_a_cancelled_task_is_killed_at_once_and_nothing_is_reported(
    pair: Pair, gate: GateFile
) -> None:
    cancelled = pair.assign("test.gate", gate.script)
    process = await gate.reached()
    await until(cancelled, "running")
    pair.coordinator.stop_task(cancelled, pb.Stop.CANCEL)
    await eventually(lambda: not alive(process), what="the process is gone")
    await until(pair.assign("test.talk", {}), "completed")
    assert (cancelled.state, cancelled.completions, cancelled.failure) == ("running", [], None)


async def test_a_task_that_hears_that_it_is_cancelled_keeps_its_process(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster_worker.lanes._PARDON_SECONDS", 60.0)
    await until(pair.assign("test.talk", {}), "completed")
    replaced = await pair.worker.ops.metric("worker_executors_replaced_total")
    record = pair.assign("sleep", {"seconds": 600})
    await eventually(lambda: record.progress, what="some sleep")
    pair.coordinator.stop_task(record, pb.Stop.CANCEL)
    await until(pair.assign("test.talk", {}), "completed")
    assert await pair.worker.ops.metric("worker_executors_replaced_total") == replaced


async def test_what_a_cancelled_command_started_is_gone_with_it(pair: Pair, tmp_path: Path) -> None:
    record = pair.assign("command", {"argv": _family(tmp_path / "pids")})
    pids = await _pids(tmp_path / "pids")
    await until(record, "running")
    pair.coordinator.stop_task(record, pb.Stop.CANCEL)
    await eventually(lambda: not any(map(alive, pids)), what="all processes are gone")


async def test_what_a_command_beyond_its_time_started_is_gone_with_it(
    pair: Pair, tmp_path: Path
) -> None:
    # As long as it takes to start all of them on a busy machine.
    record = pair.assign("command", {"argv": _family(tmp_path / "pids")}, timeout_ms=20_000)
    pids = await _pids(tmp_path / "pids")
    assert await failure_of(record) == ("time limit of 20 s exceeded", True)
    await eventually(lambda: not any(map(alive, pids)), what="all processes are gone")


async def test_what_a_command_leaves_running_ends_with_it(pair: Pair) -> None:
    script = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"
    record = pair.assign("command", {"argv": [sys.executable, "-c", script]})
    await until(record, "completed")
    left = int(record.output["stdout"])
    await eventually(lambda: not alive(left), what="the process is gone")


def _family(file: Path) -> list[str]:
    """A program that starts another, and one in a session of its own whose parent is gone."""
    script = (
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    orphan = os.fork()\n"
        "    if orphan:\n"
        f"        open({str(file)!r}, 'w').write(f'{{os.getppid()}} {{child.pid}} {{orphan}}\\n')\n"
        "        os._exit(0)\n"
        "    time.sleep(600)\n"
        "time.sleep(600)\n"
    )
    return [sys.executable, "-c", script]


async def _pids(file: Path) -> list[int]:
    def written() -> str:
        text = file.read_text() if file.exists() else ""
        return text if text.endswith("\n") else ""

    return [int(pid) for pid in (await eventually(written, what="pids")).split()]


async def test_a_drained_worker_hands_back_what_waits(pair: Pair, gate: GateFile) -> None:
    running = pair.assign("test.gate", gate.script)
    waiting = pair.assign("test.talk", {})
    await gate.reached()
    pair.coordinator.send(pb.CoordinatorFrame(drain=True))
    await until(waiting, "released")
    assert (await pair.worker.ops.health())["draining"]
    gate.open()
    await until(running, "completed")


async def test_a_new_stream_is_told_what_runs_here(pair: Pair, gate: GateFile) -> None:
    record = pair.assign("test.gate", gate.script)
    await gate.reached()
    await until(record, "running")
    opened = pair.coordinator.streams_opened
    pair.coordinator.break_streams()
    await eventually(lambda: pair.coordinator.streams_opened > opened, what="stream reopened")
    held = [(one.task_id, one.generation) for one in pair.coordinator.holding]
    assert held == [(record.assignment.task_id, 1)]
    pair.coordinator.stop_task(record, pb.Stop.CANCEL)
    await until(pair.assign("test.talk", {}), "completed")


async def test_an_option_that_is_wrong_keeps_the_worker_from_being_ready(
    tmp_path: Path,
) -> None:
    async with running_coordinator([]) as coordinator:
        document = settings(
            coordinator, tmp_path, workloads=["command"], options={"command": {"shell": True}}
        )
        worker = LocalWorker(document)
        body = await worker.ops.until_problem("options.command.shell is unknown")
        assert "allow_env, output_limit" in body["problem"]
        await worker.abort()
