"""What a malicious or broken worker may send, and that nothing comes of it."""

import base64
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from muster_protos import coordinator_pb2 as pb
from muster_proving import Curve
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

from .blackhole import Network
from .forgeries import forgeries
from .harness import ADDITION, Replica, rows, serving, settings
from .workers import Worker, begin, ignore

pytestmark = pytest.mark.integration


def _pool(*circuits: dict[str, Any]) -> dict[str, Any]:
    pool = {"name": "demo", "insecure_setup": True, "circuits": list(circuits)}
    return {"proving": {"pools": [pool]}}


async def _status(replica: Replica, worker: str) -> str | None:
    listed = (await replica.ops.get("/workers")).json()["workers"]
    return next((one["status"] for one in listed if one["worker_id"] == worker), None)


def _claim(task: pb.TaskAssignment, worker: str, proof: bytes) -> pb.TaskCompletionRequest:
    return pb.TaskCompletionRequest(
        task_id=task.task_id, worker_id=worker, proof_data=proof, generation=task.generation
    )


@pytest.mark.parametrize("curve", list(Curve), ids=str)
async def test_no_forgery_is_accepted_and_each_costs_the_trust(
    dsn: str, tmp_path: Path, curve: Curve
) -> None:
    document = settings(max_retries=100) | _pool(ADDITION | {"curve": curve.value})
    async with (
        serving(dsn, document, tmp_path) as replica,
        Worker(replica.target, "honest", ignore, capacity=1) as honest,
    ):
        task_id = await replica.add()
        task = await honest.got(task_id)
        good = await honest.proof(task)
        await honest.stub.ReleaseTask(
            pb.ReleaseTaskRequest(task_id=task_id, worker_id="honest", generation=task.generation)
        )
        honest.handler = begin
        await honest.channel.close()

        for number, (what, proof) in enumerate(forgeries(curve, good).items()):
            async with Worker(replica.target, f"liar-{number}", ignore, capacity=99) as liar:
                got = await liar.got(task_id)
                answer = await liar.stub.ReportCompletion(_claim(got, liar.name, proof))
                assert (answer.success, answer.message) == (
                    False,
                    "the proof does not hold",
                ), what
                assert await _status(replica, liar.name) == "QUARANTINED", what
        # The very proof that was forged is good.
        async with Worker(replica.target, "late", ignore) as late:
            got = await late.got(task_id)
            assert (await late.stub.ReportCompletion(_claim(got, "late", good))).success
        assert (await replica.task(task_id))["verified"]


async def test_public_inputs_are_the_coordinators_own_and_aliases_do_not_verify(
    dsn: str, tmp_path: Path
) -> None:
    modulus = Curve.BN254.modulus

    async def alias(worker: Worker, task: pb.TaskAssignment) -> None:
        await worker.complete(task, metadata={"public": [str(3 + modulus)] * 3})

    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", alias),
    ):
        task = await replica.ends(await replica.add())
        assert task["public_inputs"][2] == "3"
        assert all(int(one) < modulus for one in task["public_inputs"])
        body = {"circuit": "addition", "proof_bytes": task["proof_bytes"]}
        for public, valid in (
            (task["public_inputs"], True),
            ([*task["public_inputs"][:2], str(3 + modulus)], False),
            ([*task["public_inputs"][:2], "03"], False),
            (task["public_inputs"][:2], False),
            ([*task["public_inputs"], "0"], False),
        ):
            asked = body | {"public_inputs": public}
            answer = await replica.http.post("/api/v1/verify", json=asked)
            assert (answer.status_code, answer.json()["valid"]) == (200, valid), public


async def test_the_proof_of_one_task_is_none_of_another(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", ignore) as worker,
    ):
        # The same numbers: only their random blindings tell these two apart.
        first, second = await replica.add(1, 2), await replica.add(1, 2)
        proof = await worker.proof(await worker.got(first))
        claim = _claim(await worker.got(second), "w-0", proof)
        try:
            assert not (await worker.stub.ReportCompletion(claim)).success
        except grpc.aio.AioRpcError as error:
            # The leader may be quicker to take the liar's tasks away than the report to be
            # answered.
            assert "is not its assignment" in (error.details() or "")  # noqa: PT017 - or none
        assert (await replica.task(second))["status"] == "pending"
        # Taken away with all else that the liar held.
        with pytest.raises(grpc.aio.AioRpcError, match="is not its assignment"):
            await worker.stub.ReportCompletion(_claim(await worker.got(first), "w-0", proof))


async def test_a_malleated_proof_completes_no_task_a_second_time(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", ignore) as worker,
    ):
        task_id = await replica.add()
        task = await worker.got(task_id)
        first, other = await worker.proof(task), await worker.proof(task)
        assert first != other
        assert (await worker.stub.ReportCompletion(_claim(task, "w-0", first))).success
        again = await worker.stub.ReportCompletion(_claim(task, "w-0", other))
        assert (again.success, again.message) == (True, "accepted before")
        kept = (await replica.task(task_id))["proof_bytes"]
        assert base64.b64decode(kept) == first
    assert await rows(dsn, "SELECT count(*) FROM results") == [(1,)]


async def test_an_old_completion_is_not_replayed_into_a_new_assignment(
    dsn: str, tmp_path: Path
) -> None:
    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", ignore) as first,
    ):
        task_id = await replica.add()
        task = await first.got(task_id)
        recorded = _claim(task, "w-0", await first.proof(task))
        back = pb.ReleaseTaskRequest(task_id=task_id, worker_id="w-0", generation=1)
        await first.stub.ReleaseTask(back)
        again = await first.got(task_id, times=2)
        assert again.generation == 2
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await first.stub.ReportCompletion(recorded)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        # Though the proof is good, as the assignment that holds shows.
        assert (
            await first.stub.ReportCompletion(_claim(again, "w-0", recorded.proof_data))
        ).success
    fenced = "SELECT worker_id, generation FROM audit WHERE event = 'report.fenced'"
    assert await rows(dsn, fenced) == [("w-0", 1)]


@pytest.mark.parametrize("generation", [0, 1, 2])
async def test_nobody_reports_on_anothers_task(dsn: str, tmp_path: Path, generation: int) -> None:
    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "owner", ignore) as owner,
    ):
        task_id = await replica.add()
        task = await owner.got(task_id)
        proof = await owner.proof(task)
        async with Worker(replica.target, "thief", ignore) as thief:
            of_thief: dict[str, Any] = {
                "task_id": task_id,
                "worker_id": "thief",
                "generation": generation,
            }
            for call, request in (
                (thief.stub.StartTask, pb.StartTaskRequest(**of_thief)),
                (
                    thief.stub.ReportCompletion,
                    pb.TaskCompletionRequest(proof_data=proof, **of_thief),
                ),
                (thief.stub.ReportFailure, pb.TaskFailureRequest(**of_thief)),
                (thief.stub.ReleaseTask, pb.ReleaseTaskRequest(**of_thief)),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(request)
                assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (await replica.task(task_id))["status"] == "assigned"
        assert (await owner.complete(task, proof)).success
        assert await replica.metric('coordinator_fenced_writes_total{kind="generation"}') == 4
    traces = "SELECT count(*) FROM audit WHERE event = 'report.fenced' AND worker_id = $1"
    assert await rows(dsn, traces, "thief") == [(4,)]


@contextlib.contextmanager
def _worker_process(target: str, home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A real worker, as in a pod, and where its metrics are."""
    port = free_port()
    worker = {
        "id": "stopped",
        "coordinator_address": target,
        "pool": "demo",
        "heartbeat_interval": "1s",
        "ops_port": port,
        "cache_dir": str(home / "cache"),
        "spool_dir": str(home / "spool"),
    }
    path = home / "worker.yaml"
    path.write_text(yaml.safe_dump({"worker": worker}))
    command = [sys.executable, "-m", "muster_worker", "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield process, f"http://127.0.0.1:{port}/metrics"
        finally:
            # Stopped or not, and with the process that executes its tasks.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def test_what_a_stopped_worker_writes_after_its_lease_is_refused_and_visible(
    dsn: str, tmp_path: Path
) -> None:
    """SIGSTOP, the lease ends, another finishes, SIGCONT."""
    async with (
        serving(dsn, settings(heartbeat_timeout="8s"), tmp_path) as replica,
        Network(replica.target) as network,
    ):
        with _worker_process(network.target, tmp_path) as (stopped, metrics):
            await eventually(lambda: _is(replica, "stopped", "ACTIVE"), deadline=120.0)
            # What executes its tasks is a process of its own: no result comes before it is stopped.
            executing = _children(stopped.pid)
            _signal(executing, signal.SIGSTOP)
            task_id = await replica.add()
            await replica.reaches(task_id, "in_progress")
            stopped.send_signal(signal.SIGSTOP)
            # Else it may hear that the task is another's before it has seen its own result.
            network.cut()
            # The first one, unless it was so slow that it lost the task once before it began.
            begun = "SELECT generation FROM audit WHERE event = 'workload.started' ORDER BY seq"
            *_, (generation,) = await rows(dsn, begun)
            _signal(executing, signal.SIGCONT)
            # It may be another again before anybody has seen it.
            await eventually(lambda: _was(dsn, "stopped", "SUSPECT"))
            async with Worker(replica.target, "other"):
                task = await replica.ends(task_id)
            assert (task["status"], task["worker_id"]) == ("completed", "other")
            proof = task["proof_bytes"]
            stopped.send_signal(signal.SIGCONT)

            async def done_too() -> bool:
                shown = (await replica.ops.get(metrics)).text
                return 'worker_pending_reports{worker_id="stopped"} 1.0' in shown

            await eventually(done_too, what="it has its result")
            network.mend()

            async def fenced() -> bool:
                traces = (
                    "SELECT worker_id, generation FROM audit "
                    "WHERE event = 'report.fenced' AND workload_id = $1"
                )
                return ("stopped", generation) in await rows(dsn, traces, task_id)

            await eventually(fenced, deadline=60.0, what="its report is refused")
            counter = 'coordinator_fenced_writes_total{kind="generation"}'
            assert await replica.metric(counter) >= 1
            task = await replica.task(task_id)
            assert (task["worker_id"], task["proof_bytes"]) == ("other", proof)
            # Alive and trusted: it was slow, not wrong.
            await eventually(lambda: _is(replica, "stopped", "ACTIVE"))
            done = await replica.ends(await replica.add())
            assert (done["status"], done["worker_id"]) == ("completed", "stopped")
    assert await rows(dsn, "SELECT count(*) FROM results WHERE workload_id = $1", task_id) == [(1,)]


async def _is(replica: Replica, worker: str, status: str) -> bool:
    return await _status(replica, worker) == status


async def _was(dsn: str, worker: str, status: str) -> bool:
    said = "SELECT FROM audit WHERE worker_id = $1 AND event = 'worker.status' AND after = $2"
    return bool(await rows(dsn, said, worker, status))


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for one in found for child in one.read_text().split()]


def _signal(pids: list[int], number: signal.Signals) -> None:
    assert pids
    for pid in pids:
        os.kill(pid, number)
