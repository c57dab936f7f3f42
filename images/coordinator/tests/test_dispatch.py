"""Tasks on their way through workers, over real sockets."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import grpc
import pytest

from muster_protos import coordinator_pb2 as pb
from muster_proving.independent import verify_with_py_ecc
from muster_testing.waiting import eventually

from .harness import ADDITION, SMALL_TREE, Replica, rows, serving, settings
from .workers import Worker, begin, ignore, prove

pytestmark = pytest.mark.integration


def _pool(*circuits: dict[str, Any], **more: Any) -> dict[str, Any]:
    pool = {"name": "demo", "insecure_setup": True, "circuits": list(circuits)} | more
    return {"proving": {"pools": [pool]}}


async def _events(dsn: str, task_id: str) -> list[str]:
    query = "SELECT event FROM audit WHERE workload_id = $1 ORDER BY seq"
    return [event for (event,) in await rows(dsn, query, task_id)]


async def _status(replica: Replica, worker: str) -> str | None:
    listed = (await replica.ops.get("/workers")).json()["workers"]
    found: list[str] = [one["status"] for one in listed if one["worker_id"] == worker]
    return found[0] if found else None


async def test_a_proof_is_accepted_by_an_independent_verifier(dsn: str, tmp_path: Path) -> None:
    document = settings() | _pool(SMALL_TREE)
    async with serving(dsn, document, tmp_path) as replica, Worker(replica.target, "w-0"):
        inputs = {"leaves": ["0x1", "0x2", "0xabc", "0x4", "0x5"], "leaf_index": 4}
        answer = await replica.http.post("/api/v1/tasks/merkle", json=inputs)
        assert answer.status_code == 202
        task = await replica.ends(answer.json()["task_id"])
        assert (task["status"], task["verified"]) == ("completed", True)
        assert int(task["merkle_root"], 16) == int(task["public_inputs"][0])
        key = (await replica.http.get("/api/v1/circuits/merkle/verification-key")).json()
        assert verify_with_py_ecc(key, task["public_inputs"], task["proof"])
        wrong = [str(int(task["public_inputs"][0]) + 1)]
        assert not verify_with_py_ecc(key, wrong, task["proof"])


async def test_the_witness_is_gone_once_the_proof_is_accepted(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(), tmp_path) as replica, Worker(replica.target, "w-0"):
        task_id = await replica.add()
        await replica.ends(task_id)
        assert await rows(dsn, "SELECT input FROM workloads") == [(None,)]
        assert await _events(dsn, task_id) == [
            "workload.submitted",
            "workload.scheduled",
            "workload.started",
            "workload.completed",
        ]


@pytest.mark.usefixtures("long_polls")
async def test_work_and_results_are_heard_of_not_looked_for(dsn: str, tmp_path: Path) -> None:
    document = settings(poll_interval="1h")
    async with serving(dsn, document, tmp_path) as replica, Worker(replica.target, "w-0"):
        task_id = await replica.add()
        # Answers in time only because each step woke the next one.
        assert (await replica.task(task_id, wait="10m"))["status"] == "completed"


async def test_a_worker_gets_its_capacity_and_one_ahead(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", ignore, capacity=2) as worker,
    ):
        ids = [await replica.add() for _ in range(6)]
        await eventually(lambda: len(worker.tasks) == 3)
        queue = (await replica.ops.get("/queue")).json()["pools"][0]
        assert (queue["pending"], queue["assigned"]) == (3, 3)
        await worker.start(worker.tasks[0])
        await worker.complete(worker.tasks[0])
        await eventually(lambda: len(worker.tasks) == 4)
        assert [task.task_id for task in worker.tasks] == ids[:4]


async def test_a_cut_stream_sends_what_waits_elsewhere_at_once(dsn: str, tmp_path: Path) -> None:
    document = settings(heartbeat_timeout="1h", poll_interval="1h")
    async with serving(dsn, document, tmp_path) as replica:
        async with Worker(replica.target, "w-0", ignore):
            task_id = await replica.add()
            await replica.reaches(task_id, "assigned")
        async with Worker(replica.target, "w-1"):
            task = await replica.ends(task_id)
            assert (task["status"], task["worker_id"], task["retry_count"]) == (
                "completed",
                "w-1",
                0,
            )


async def test_what_ran_on_a_lost_worker_runs_elsewhere(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(heartbeat_timeout="3s"), tmp_path) as replica:
        async with Worker(replica.target, "w-0", begin):
            task_id = await replica.add()
            await replica.reaches(task_id, "in_progress")
        async with Worker(replica.target, "w-1"):
            task = await replica.ends(task_id)
        assert (task["status"], task["worker_id"]) == ("completed", "w-1")
        assert "workload.redistributing" in await _events(dsn, task_id)


@pytest.mark.usefixtures("long_grace")
async def test_a_worker_that_comes_back_keeps_what_it_runs(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(heartbeat_timeout="1h"), tmp_path) as replica:
        async with Worker(replica.target, "w-0", begin) as worker:
            task_id = await replica.add()
            await replica.reaches(task_id, "in_progress")
            task = await worker.got(task_id)
        async with Worker(replica.target, "w-0", begin) as worker:
            assert (await worker.complete(task)).success
        assert (await replica.task(task_id))["status"] == "completed"


@pytest.mark.usefixtures("long_grace")
async def test_a_worker_that_works_on_without_a_stream_keeps_what_it_runs(
    dsn: str, tmp_path: Path
) -> None:
    async with serving(dsn, settings(heartbeat_timeout="1h"), tmp_path) as replica:
        workers = [Worker(replica.target, name, begin) for name in ("w-0", "silent")]
        for worker in workers:
            async with worker:
                await replica.reaches(await replica.add(), "in_progress")

        async def apart() -> bool:
            return not await rows(dsn, "SELECT FROM workers WHERE stream_id IS NOT NULL")

        await eventually(apart, what="their streams have ended")
        # As if that were long ago; what the leader takes from the one, it leaves the other.
        long_ago = "now() - interval '1 hour'"
        await rows(dsn, f"UPDATE workers SET stream_lost_at = {long_ago}")  # noqa: S608
        silent = f"UPDATE workers SET last_heartbeat_at = {long_ago} WHERE id = 'silent'"  # noqa: S608
        await rows(dsn, silent)
        held, lost = (worker.tasks[0] for worker in workers)

        async def taken() -> bool:
            return "workload.redistributing" in await _events(dsn, lost.task_id)

        works = workers[0]
        works.connect(replica.target)
        async with works.beating():
            await eventually(taken, what="the silent worker loses what it ran")
            assert (await works.complete(held)).success
        await works.channel.close()
        assert (await replica.task(held.task_id))["status"] == "completed"


async def test_a_worker_started_anew_loses_what_it_held_at_once(dsn: str, tmp_path: Path) -> None:
    document = settings(heartbeat_timeout="1h", poll_interval="1h")
    async with serving(dsn, document, tmp_path) as replica:
        async with Worker(replica.target, "w-0", begin, instance="one"):
            task_id = await replica.add()
            await replica.reaches(task_id, "in_progress")
        async with Worker(replica.target, "w-0", instance="two") as worker:
            assert (await replica.ends(task_id))["status"] == "completed"
            assert (await worker.got(task_id)).generation == 2


@pytest.mark.parametrize("handler", [ignore, begin])
async def test_a_worker_that_leaves_loses_what_it_held_at_once(
    dsn: str, tmp_path: Path, handler: Any
) -> None:
    document = settings(heartbeat_timeout="1h", poll_interval="1h")
    async with serving(dsn, document, tmp_path) as replica:
        async with Worker(replica.target, "w-0", handler) as worker:
            task_id = await replica.add()
            await replica.reaches(task_id, "assigned" if handler is ignore else "in_progress")
            await worker.stub.DeregisterWorker(pb.DeregisterWorkerRequest(worker_id="w-0"))
            await replica.reaches(task_id, "pending")
            assert await _status(replica, "w-0") is None
        async with Worker(replica.target, "w-1"):
            assert (await replica.ends(task_id))["worker_id"] == "w-1"


async def test_a_task_that_is_handed_back_is_not_counted_as_tried(dsn: str, tmp_path: Path) -> None:
    async def once_back(worker: Worker, task: pb.TaskAssignment) -> None:
        await worker.start(task)
        if task.generation == 1:
            await worker.stub.ReleaseTask(
                pb.ReleaseTaskRequest(
                    task_id=task.task_id, worker_id=worker.name, generation=1, reason="draining"
                )
            )
        else:
            await worker.complete(task)

    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", once_back),
    ):
        task = await replica.ends(await replica.add())
    assert (task["status"], task["retry_count"]) == ("completed", 0)


async def test_a_transient_failure_is_tried_on_another_worker(dsn: str, tmp_path: Path) -> None:
    async def fail(worker: Worker, task: pb.TaskAssignment) -> None:
        await worker.start(task)
        await worker.fail(task, "out of memory", transient=True)

    async with (
        serving(dsn, settings(strategy="priority"), tmp_path) as replica,
        Worker(replica.target, "w-0", fail, capacity=9) as bad,
        Worker(replica.target, "w-1", capacity=1),
    ):
        task = await replica.ends(await replica.add())
        assert (task["status"], task["worker_id"], task["retry_count"]) == (
            "completed",
            "w-1",
            1,
        )
        assert len(bad.tasks) == 1


async def test_retries_come_to_an_end(dsn: str, tmp_path: Path) -> None:
    async def fail(worker: Worker, task: pb.TaskAssignment) -> None:
        await worker.fail(task, "out of memory", transient=True)

    async with (
        serving(dsn, settings(max_retries=1), tmp_path) as replica,
        Worker(replica.target, "w-0", fail),
    ):
        task = await replica.ends(await replica.add())
        assert (task["status"], task["retry_count"]) == ("failed", 1)
        assert task["error"] == "out of memory (given up after 2 tries)"


async def test_a_permanent_failure_fails_at_once_with_its_message(dsn: str, tmp_path: Path) -> None:
    async def fail(worker: Worker, task: pb.TaskAssignment) -> None:
        await worker.start(task)
        await worker.fail(task, "leaf_index is out of range", transient=False)

    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", fail),
    ):
        task = await replica.ends(await replica.add())
    assert (task["status"], task["retry_count"], task["error"]) == (
        "failed",
        0,
        "leaf_index is out of range",
    )


async def test_a_silent_worker_loses_its_task_and_is_fenced_off(dsn: str, tmp_path: Path) -> None:
    document = settings(heartbeat_timeout="3s", worker_dead_threshold="4s")
    async with serving(dsn, document, tmp_path) as replica:
        async with Worker(replica.target, "w-0", begin) as silent:
            task_id = await replica.add()
            held = await silent.got(task_id)
            silent.fall_silent()
            # It may be another again before anybody has seen it.
            await eventually(lambda: _was(dsn, "w-0", "SUSPECT"))
            async with Worker(replica.target, "w-1"):
                assert (await replica.ends(task_id))["worker_id"] == "w-1"
            fenced = 'coordinator_fenced_writes_total{kind="generation"}'
            before = await replica.metric(fenced)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await silent.complete(held)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "generation 1 of worker w-0 is not its assignment" in str(
                refused.value.details()
            )
            assert await replica.metric(fenced) == before + 1
            assert (await _events(dsn, task_id))[-1] == "report.fenced"
            await eventually(lambda: _is(replica, "w-0", "DEAD"))
            assert (await silent.beat()).known
            await eventually(lambda: _was(dsn, "w-0", "ACTIVE"))
        assert (await rows(dsn, "SELECT count(*) FROM results"))[0] == (1,)


async def _was(dsn: str, worker: str, status: str) -> bool:
    said = "SELECT FROM audit WHERE worker_id = $1 AND event = 'worker.status' AND after = $2"
    return bool(await rows(dsn, said, worker, status))


async def _is(replica: Replica, worker: str, status: str) -> bool:
    return await _status(replica, worker) == status


async def test_a_lying_worker_is_quarantined_and_its_work_goes_elsewhere(
    dsn: str, tmp_path: Path
) -> None:
    answers: list[pb.TaskCompletionResponse] = []

    async def lie(worker: Worker, task: pb.TaskAssignment) -> None:
        await worker.start(task)
        if task is worker.tasks[0]:
            other = pb.TaskAssignment()
            other.CopyFrom(task)
            other.input_data_json = b'{"a":1,"b":41,"blinding_a":"5","blinding_b":"6"}'
            answers.append(await worker.complete(task, await worker.proof(other)))

    async with serving(dsn, settings(), tmp_path) as replica:
        async with Worker(replica.target, "liar", lie):
            ids = [await replica.add(1, 2) for _ in range(3)]
            await eventually(lambda: _is(replica, "liar", "QUARANTINED"))
            await eventually(lambda: answers)
            assert not answers[0].success
            assert answers[0].message == "the proof does not hold"
            async with Worker(replica.target, "w-1"):
                for task_id in ids:
                    task = await replica.ends(task_id)
                    assert (task["status"], task["worker_id"]) == ("completed", "w-1")
        assert await replica.metric("coordinator_quarantines_total") == 1
        async with Worker(replica.target, "liar") as again:
            await again.beat()
            assert await _status(replica, "liar") == "QUARANTINED"
            task_id = await replica.add()
            await replica.task(task_id, wait="1s")
            assert again.tasks == []


@pytest.mark.parametrize("garbage", [b"\x00", b"\xff" * 128, bytes(128), bytes(129)])
async def test_bytes_that_are_no_proof_are_a_wrong_proof(
    dsn: str, tmp_path: Path, garbage: bytes
) -> None:
    async def lie(worker: Worker, task: pb.TaskAssignment) -> None:
        assert not (await worker.complete(task, garbage)).success

    # The leader looks at nobody, and takes nothing back before the report is stored.
    async with (
        serving(dsn, settings(max_retries=0, poll_interval="1h"), tmp_path) as replica,
        Worker(replica.target, "liar", lie),
    ):
        task = await replica.ends(await replica.add())
        assert (task["status"], task["error"]) == ("failed", "the proof does not hold")


async def test_a_task_that_runs_too_long_is_taken_away(dsn: str, tmp_path: Path) -> None:
    # The second worker may be slow, again and again.
    document = settings(stale_task_timeout="1s", max_worker_losses=100)
    async with serving(dsn, document, tmp_path) as replica:
        async with Worker(replica.target, "w-0", begin) as stuck:
            task_id = await replica.add()
            assert (await stuck.got(task_id)).timeout_ms == 900
            async with Worker(replica.target, "w-1", capacity=9):
                task = await replica.ends(task_id)
        assert task["status"] == "completed"
        # More than once when the second worker connects after w-0 was given the task again, and
        # from that one too where it is slow.
        reasons = "SELECT reason FROM audit WHERE event = 'workload.redistributing' ORDER BY seq"
        first, *_ = await rows(dsn, reasons)
        assert first == ("worker w-0: it took longer than allowed",)


async def test_the_result_of_a_cancelled_task_is_refused(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", begin) as worker,
    ):
        task_id = await replica.add()
        held = await worker.got(task_id)
        answer = await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        again = await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")
        assert again.json()["status"] == "cancelled"
        with pytest.raises(grpc.aio.AioRpcError, match="it is CANCELLED"):
            await worker.complete(held)
        assert (await replica.task(task_id))["proof"] is None


async def test_a_repeated_report_is_accepted_and_changes_nothing(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(), tmp_path) as replica:
        async with Worker(replica.target, "w-0", ignore) as worker:
            held = await worker.got(await replica.add())
            await worker.start(held)
            await worker.start(held)
            answers = await asyncio.gather(*(worker.complete(held) for _ in range(3)))
            assert [one.success for one in answers] == [True, True, True]
            assert sorted(one.message for one in answers) == [
                "accepted",
                "accepted before",
                "accepted before",
            ]
        assert (await rows(dsn, "SELECT count(*) FROM results"))[0] == (1,)


async def test_a_worker_that_knows_the_first_contract_only_is_served(
    dsn: str, tmp_path: Path
) -> None:
    """No pool, no keys, no generations, no transient failures."""

    async def old(worker: Worker, task: pb.TaskAssignment) -> None:
        assert task.circuit_type == "addition"
        if len(worker.tasks) == 1:
            message = "a hiccup"
            await worker.stub.ReportFailure(
                pb.TaskFailureRequest(
                    task_id=task.task_id, worker_id=worker.name, error_message=message
                )
            )
            return
        await worker.stub.StartTask(
            pb.StartTaskRequest(task_id=task.task_id, worker_id=worker.name)
        )
        await worker.stub.ReportCompletion(
            pb.TaskCompletionRequest(
                task_id=task.task_id, worker_id=worker.name, proof_data=await worker.proof(task)
            )
        )

    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", old, first_contract=True),
    ):
        task = await replica.ends(await replica.add())
        assert (task["status"], task["retry_count"]) == ("completed", 1)


async def test_results_of_a_pool_without_verification_are_marked(dsn: str, tmp_path: Path) -> None:
    async def other_make(worker: Worker, task: pb.TaskAssignment) -> None:
        await worker.complete(task, b"something else", {"public": ["7", 8, "x"], "encoding": "own"})

    document = settings() | _pool(ADDITION, verification="None")
    async with (
        serving(dsn, document, tmp_path) as replica,
        Worker(replica.target, "w-0", other_make),
    ):
        task = await replica.ends(await replica.add())
    assert (task["status"], task["verified"], task["proof"]) == ("completed", False, None)
    assert base64.b64decode(task["proof_bytes"]) == b"something else"
    assert task["public_inputs"] == ["7"]


async def test_a_full_queue_says_when_to_come_back(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(max_queued=2), tmp_path) as replica:
        for _ in range(2):
            await replica.add()

        async def refused() -> bool:
            answer = await replica.http.post("/api/v1/tasks/addition", json={"a": 1, "b": 2})
            if answer.status_code == 202:
                return False
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
            return True

        await eventually(refused)
        async with Worker(replica.target, "w-0"):

            async def accepted() -> bool:
                answer = await replica.http.post("/api/v1/tasks/addition", json={"a": 1, "b": 2})
                return answer.status_code == 202

            await eventually(accepted)


async def test_priority_goes_first(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(), tmp_path) as replica:
        low = [await replica.add() for _ in range(3)]
        high = await replica.add(priority=1000)
        async with Worker(replica.target, "w-0", prove, capacity=1) as worker:
            for task_id in [*low, high]:
                await replica.ends(task_id)
            assert [task.task_id for task in worker.tasks] == [high, *low]
