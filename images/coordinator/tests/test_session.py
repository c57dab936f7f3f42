"""One stream for all that a worker and the coordinator say to each other, over real sockets."""

import json
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest

from muster_protos import coordinator_pb2 as pb
from muster_testing.waiting import eventually

from .harness import Replica, rows, serving, settings, worker_process
from .sessions import owner, session
from .workers import Worker

pytestmark = pytest.mark.integration

KINDS = ("sleep", "command", "test")


def proving(**coordinator: Any) -> dict[str, Any]:
    """A configuration in which silence counts late: these workers send no heartbeats."""
    return settings(**{"heartbeat_timeout": "1h"} | coordinator)


def general(**coordinator: Any) -> dict[str, Any]:
    """A configuration with a pool for work of any kind beside the one for proofs."""
    return proving(**coordinator) | {"workloads": {"pools": [{"name": "general"}]}}


async def _proof(replica: Replica, task: pb.TaskAssignment) -> bytes:
    """A real proof for an assignment."""
    maker = Worker(replica.target, "w-maker")
    try:
        await maker.register()
        await maker.stub.DeregisterWorker(pb.DeregisterWorkerRequest(worker_id="w-maker"))
        return await maker.proof(task)
    finally:
        await maker.channel.close()


async def test_a_proof_goes_all_its_way_on_one_stream(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, proving(), tmp_path) as replica, session(replica.target) as stream:
        welcome = await stream.hello()
        assert welcome.message == "registered in pool demo"
        assert 0 < welcome.heartbeat_interval_ms <= 5000
        task = await stream.got(await replica.add())
        assert task.workload_type == "prove.addition"
        assert task.circuit_type == "addition"
        assert task.attempt == 1
        assert task.timeout_ms > 0
        assert await stream.answers(stream.report(task, started=pb.Started())) == ["ACCEPTED"]
        await replica.reaches(task.task_id, "in_progress")
        done = pb.Completion(proof_data=await _proof(replica, task), duration_ms=7)
        assert await stream.answers(stream.report(task, completion=done)) == ["ACCEPTED"]
        ended = await replica.task(task.task_id)
        assert (ended["status"], ended["verified"]) == ("completed", True)
        assert (ended["worker_id"], ended["duration_ms"]) == ("w-0", 7)
        # Said again, as by a worker that did not get the answer.
        assert await stream.answers(stream.report(task, completion=done)) == ["ACCEPTED"]
        assert await rows(dsn, "SELECT count(*) FROM results") == [(1,)]


async def test_a_wrong_proof_is_rejected_and_its_worker_out(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, proving(), tmp_path) as replica, session(replica.target) as stream:
        await stream.hello()
        task = await stream.got(await replica.add())
        report = stream.report(task, completion=pb.Completion(proof_data=b"\x01" * 128))
        assert await stream.answers(report) == ["REJECTED"]
        assert stream.refused[report.sequence].message
        assert await rows(dsn, "SELECT status FROM workers") == [("QUARANTINED",)]


async def test_many_reports_in_one_frame_are_answered_each(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(dsn, general(), tmp_path) as replica,
        owner(dsn) as customer,
        session(replica.target) as stream,
    ):
        await stream.hello(*KINDS, capacity=40)
        ids = [await customer.submit("test") for _ in range(40)]
        tasks = [await stream.got(one) for one in ids]
        done = pb.Completion(output_json=b'{"ok":true}')
        reports = [stream.report(task, completion=done) for task in tasks]
        stale = pb.TaskAssignment(task_id=str(ids[0]), generation=7)
        nobody = pb.TaskAssignment(task_id=str(uuid.uuid4()), generation=1)
        odd = pb.TaskAssignment(task_id="no uuid", generation=1)
        reports += [stream.report(one, started=pb.Started()) for one in (stale, nobody, odd)]
        reports.append(stream.report(tasks[0]))
        reports.append(stream.report(tasks[0], completion=pb.Completion(output_json=b"{")))
        answers = await stream.answers(*reports)
        assert answers[:40] == ["ACCEPTED"] * 40
        assert answers[40:] == ["FENCED", "NOT_FOUND", "REJECTED", "REJECTED", "REJECTED"]
        assert "task_id is 'no uuid'" in stream.refused[reports[42].sequence].message
        assert "says nothing; allowed: one of" in stream.refused[reports[43].sequence].message
        assert "output_json is 1 bytes that are no JSON" in (
            stream.refused[reports[44].sequence].message
        )
        for one in ids:
            ended = await customer.reaches(one, "COMPLETED")
            assert json.loads(ended.result.output) == {"ok": True}


async def test_what_runs_tells_how_it_goes(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(dsn, general(), tmp_path) as replica,
        owner(dsn) as customer,
        session(replica.target) as stream,
    ):
        await stream.hello(*KINDS)
        task = await stream.got(await customer.submit("test"))
        assert await stream.answers(stream.report(task, started=pb.Started())) == ["ACCEPTED"]
        lines = [pb.LogLine(at_ms=1_700_000_000_000, level="info", message="hello")]
        reports = [
            stream.report(task, log=pb.LogLines(lines=lines)),
            stream.report(task, progress=pb.Progress(percent=40, message="on the way")),
            stream.report(task, checkpoint=pb.Checkpoint(data=b"half")),
            stream.report(task, progress=pb.Progress(percent=101)),
        ]
        answers = await stream.answers(*reports)
        assert answers == ["ACCEPTED", "ACCEPTED", "ACCEPTED", "REJECTED"]
        found = await customer.reaches(uuid.UUID(task.task_id), "RUNNING")
        assert (found.progress_percent, found.progress_message) == (40, "on the way")
        assert found.checkpoint_seq == 1
        assert await rows(dsn, "SELECT level, count(*) FROM logs GROUP BY level") == [("info", 1)]


async def test_a_cancelled_task_is_to_stop_within_moments(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(dsn, general(poll_interval="1h"), tmp_path) as replica,
        owner(dsn) as customer,
        session(replica.target) as stream,
    ):
        await stream.hello(*KINDS)
        workload = await customer.submit("test")
        task = await stream.got(workload)
        await stream.answers(stream.report(task, started=pb.Started()))
        await customer.store.cancel(workload, "default")
        # A poll would have taken up to an hour.
        assert await stream.stopped(workload) == "CANCEL"
        done = pb.Completion(output_json=b"{}")
        assert await stream.answers(stream.report(task, completion=done)) == ["FENCED"]
        await customer.reaches(workload, "CANCELLED")


async def test_a_paused_task_rests_and_goes_on_from_its_checkpoint(
    dsn: str, tmp_path: Path
) -> None:
    async with (
        serving(dsn, general(), tmp_path) as replica,
        owner(dsn) as customer,
        session(replica.target) as stream,
    ):
        await stream.hello(*KINDS)
        workload = await customer.submit("test")
        task = await stream.got(workload)
        assert not task.has_checkpoint
        await stream.answers(stream.report(task, started=pb.Started()))
        await customer.store.pause(workload, "default")
        assert await stream.stopped(workload) == "PAUSE"
        paused = pb.Paused(checkpoint=pb.Checkpoint(data=b"half"))
        assert await stream.answers(stream.report(task, paused=paused)) == ["ACCEPTED"]
        await customer.reaches(workload, "PAUSED")
        await customer.store.resume(workload, "default")
        again = await stream.got(workload, times=2)
        assert again.generation == task.generation + 1
        assert (again.has_checkpoint, again.checkpoint) == (True, b"half")


@pytest.mark.usefixtures("long_grace")
async def test_results_of_before_are_taken_in_before_hello(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, general(), tmp_path) as replica, owner(dsn) as customer:
        async with session(replica.target) as stream:
            await stream.hello(*KINDS)
            workload = await customer.submit("test")
            task = await stream.got(workload)
            await stream.answers(stream.report(task, started=pb.Started()))
        async with session(replica.target) as stream:
            done = stream.report(task, completion=pb.Completion(output_json=b"1"))
            assert await stream.answers(done) == ["ACCEPTED"]
            assert stream.welcomes == []
        await customer.reaches(workload, "COMPLETED")


async def test_a_worker_that_leaves_gets_nothing_more_and_reports_still(
    dsn: str, tmp_path: Path
) -> None:
    async with (
        serving(dsn, general(), tmp_path) as replica,
        owner(dsn) as customer,
        session(replica.target) as stream,
        session(replica.target, "w-1") as other,
    ):
        await stream.hello(*KINDS)
        task = await stream.got(await customer.submit("test"))
        await stream.answers(stream.report(task, started=pb.Started()))
        await stream.say(leaving=True)
        connected = "SELECT count(*) FROM workers WHERE id = 'w-0' AND stream_id IS NOT NULL"

        async def gone() -> bool:
            return await rows(dsn, connected) == [(0,)]

        await eventually(gone, what="the stream is closed for tasks")
        await other.hello(*KINDS)
        await other.got(await customer.submit("test"))
        done = stream.report(task, completion=pb.Completion(output_json=b"1"))
        assert await stream.answers(done) == ["ACCEPTED"]
        assert len(stream.assignments) == 1


async def test_heartbeats_are_answered_with_whether_the_worker_is_known(
    dsn: str, tmp_path: Path
) -> None:
    async with serving(dsn, proving(), tmp_path) as replica, session(replica.target) as stream:
        await stream.say(heartbeat=pb.Heartbeat(active_tasks=0))
        await eventually(lambda: stream.beats == [False], what="not known")
        await stream.hello()
        await stream.say(heartbeat=pb.Heartbeat(active_tasks=3))
        await eventually(lambda: stream.beats == [False, True], what="known")
        assert await rows(dsn, "SELECT active_tasks FROM workers") == [(3,)]


async def test_hello_said_again_changes_what_a_worker_can_do(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(dsn, general(), tmp_path) as replica,
        owner(dsn) as customer,
        session(replica.target) as stream,
    ):
        await stream.hello("sleep")
        workload = await customer.submit("test")
        await stream.hello("sleep", "test")
        await stream.got(workload)


async def test_a_drained_worker_is_told(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, proving(), tmp_path) as replica, session(replica.target) as stream:
        await stream.hello()
        query = "UPDATE workers SET status = 'DRAINING' WHERE id = 'w-0'"
        await rows(dsn, query)
        await eventually(lambda: stream.drains == 1, what="drain")


async def test_a_later_stream_of_the_same_worker_ends_the_one_before(
    dsn: str, tmp_path: Path
) -> None:
    async with (
        serving(dsn, proving(), tmp_path) as replica,
        session(replica.target) as first,
        session(replica.target) as second,
    ):
        await first.hello()
        await second.hello()
        assert await first.ended() is grpc.StatusCode.OK
        await second.got(await replica.add())


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [
        ({"worker_id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "worker_id is ''"),
        ({"worker_id": "a b"}, grpc.StatusCode.INVALID_ARGUMENT, "worker_id is 'a b'"),
        (
            {"hello": pb.RegisterWorkerRequest(worker_id="w-1")},
            grpc.StatusCode.INVALID_ARGUMENT,
            "worker_id is 'w-1'; allowed: 'w-0', whose stream this is",
        ),
        (
            {"hello": pb.RegisterWorkerRequest(pool="nowhere")},
            grpc.StatusCode.NOT_FOUND,
            "pool is 'nowhere'",
        ),
        (
            {"hello": pb.RegisterWorkerRequest(max_concurrent_tasks=1)},
            grpc.StatusCode.INVALID_ARGUMENT,
            "capabilities[circuits] is ''",
        ),
        (
            {"hello": pb.RegisterWorkerRequest(max_concurrent_tasks=1, types=["prove.x"])},
            grpc.StatusCode.INVALID_ARGUMENT,
            "types has 'prove.x'",
        ),
        (
            {"hello": pb.RegisterWorkerRequest(), "holding": [pb.Holding(task_id="x")]},
            grpc.StatusCode.INVALID_ARGUMENT,
            "task_id is 'x'",
        ),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_cannot_be_right_ends_the_stream_with_one_clear_error(
    replica: Replica, frame: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    async with session(replica.target) as stream:
        await stream.say(**frame)
        assert await stream.ended() is code
        assert stream.error is not None
        assert words in str(stream.error.details())


async def test_a_coordinator_that_stops_ends_the_stream_in_order(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, proving(), tmp_path) as replica:
        opened = session(replica.target)
        stream = await opened.__aenter__()
        await stream.hello()
    assert await stream.ended() is grpc.StatusCode.OK
    await opened.__aexit__(None, None, None)


async def test_a_real_worker_runs_a_command_and_pauses_a_sleep(dsn: str, tmp_path: Path) -> None:
    own = {"pool": "general", "workloads": ["command", "sleep"]}
    async with (
        serving(dsn, general(), tmp_path) as replica,
        owner(dsn) as customer,
        worker_process(replica, tmp_path, worker=own),
    ):
        told = b'{"argv": ["sh", "-c", "echo hello; echo oh >&2"]}'
        ended = await customer.reaches(await customer.submit("command", told), "COMPLETED")
        output = json.loads(ended.result.output)
        assert (output["exit_status"], output["stdout"], output["stderr"]) == (0, "hello\n", "oh\n")
        query = "SELECT level FROM logs ORDER BY level"
        assert await rows(dsn, query) == [("info",), ("warning",)]

        failing = await customer.submit("command", b'{"argv": ["false"]}', max_retries=0)
        assert (await customer.reaches(failing, "FAILED")).error.startswith("false ended with 1 (")

        workload = await customer.submit("sleep", b'{"seconds": 600}')

        async def underway() -> bool:
            found = await customer.store.get(workload, "default")
            return found is not None and found.progress_percent > 0

        await eventually(underway, what="some sleep")
        await customer.store.pause(workload, "default")
        assert (await customer.reaches(workload, "PAUSED")).checkpoint_seq >= 1
        await customer.store.resume(workload, "default")
        await customer.reaches(workload, "RUNNING")
        await customer.store.cancel(workload, "default")
        quick = await customer.submit("sleep", b'{"seconds": 0}')
        await customer.reaches(quick, "COMPLETED")
