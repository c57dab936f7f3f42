"""Workers that lie: in quarantine for a time, or until an administrator lifts it."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from muster_coordinator.cli import lift_quarantine
from muster_coordinator.store.database import Database
from muster_coordinator.store.workers import PostgresWorkers
from muster_protos import coordinator_pb2 as pb
from muster_testing.waiting import eventually

from .harness import Replica, rows, serving, settings
from .workers import Worker

pytestmark = pytest.mark.integration


async def _shown(replica: Replica, worker: str) -> dict[str, str]:
    listed = (await replica.ops.get("/workers")).json()["workers"]
    return next(one for one in listed if one["worker_id"] == worker)


async def _is(replica: Replica, worker: str, status: str) -> bool:
    return (await _shown(replica, worker))["status"] == status


async def _lie(worker: Worker, task: pb.TaskAssignment) -> None:
    await worker.complete(task, b"\x00" * 128)


async def test_a_quarantine_ends_by_itself_and_lasts_longer_each_time(
    dsn: str, tmp_path: Path
) -> None:
    over = "UPDATE workers SET quarantined_until = now() WHERE id = 'w-0'"
    async with serving(dsn, settings(quarantine="1h"), tmp_path) as replica:
        async with Worker(replica.target, "w-0", _lie) as worker:
            lengths = []
            for _ in range(3):
                task_id = await replica.add()
                await eventually(lambda: _is(replica, "w-0", "QUARANTINED"))
                shown = await _shown(replica, "w-0")
                assert shown["reason"] == f"task {task_id}: the proof does not hold"
                until = datetime.fromisoformat(shown["quarantined_until"])
                changed = "SELECT status_changed_at FROM workers WHERE id = 'w-0'"
                [(since,)] = await rows(dsn, changed)
                lengths.append((until - since) / timedelta(hours=1))
                assert (await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")).is_success
                await rows(dsn, over)
                await eventually(lambda: _is(replica, "w-0", "ACTIVE"))
            assert lengths == [1.0, 2.0, 4.0]
            worker.handler = _honest
            task_id = await replica.add()
            assert (await replica.ends(task_id))["worker_id"] == "w-0"
        ended = "SELECT DISTINCT actor, before, after FROM audit WHERE reason = $1"
        assert await rows(dsn, ended, "quarantine is over") == [("leader", "QUARANTINED", "ACTIVE")]


async def _honest(worker: Worker, task: pb.TaskAssignment) -> None:
    await worker.complete(task)


async def test_an_administrator_lifts_a_quarantine(
    dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        serving(dsn, settings(), tmp_path) as replica,
        Worker(replica.target, "w-0", _lie) as worker,
    ):
        task_id = await replica.add()
        await eventually(lambda: _is(replica, "w-0", "QUARANTINED"))
        until = datetime.fromisoformat((await _shown(replica, "w-0"))["quarantined_until"])
        assert timedelta(minutes=59) < until - datetime.now(UTC) < timedelta(minutes=61)
        worker.handler = _honest
        assert await lift_quarantine(dsn, "w-0") == 0
        assert (await replica.ends(task_id))["worker_id"] == "w-0"
        assert await lift_quarantine(dsn, "w-0") == 1
        said = capsys.readouterr()
        assert said.out == "worker w-0 is trusted again\n"
        assert said.err == "worker w-0 is not in quarantine\n"


async def test_the_command_lifts_a_quarantine(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, settings(), tmp_path) as replica, Worker(replica.target, "w-0"):
        async with Database(dsn) as database:
            await PostgresWorkers(database).quarantine("w-0", "a test", 3600.0)
        (tmp_path / "dsn").write_text(dsn)
        document = settings() | {"database": {"dsn_file": str(tmp_path / "dsn")}}
        (tmp_path / "lift.yaml").write_text(yaml.safe_dump(document))
        command = ["--config", str(tmp_path / "lift.yaml"), "--lift-quarantine", "w-0"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "muster_coordinator", *command, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        assert (process.returncode, said) == (0, b"worker w-0 is trusted again\n")
        await eventually(lambda: _is(replica, "w-0", "ACTIVE"))


async def test_a_task_that_kills_its_workers_is_given_up(dsn: str, tmp_path: Path) -> None:
    async def begin(worker: Worker, task: pb.TaskAssignment) -> None:
        await worker.start(task)

    async with serving(dsn, settings(max_worker_losses=1), tmp_path) as replica:
        task_id = await replica.add()
        for number in range(2):
            async with Worker(replica.target, f"w-{number}", begin) as worker:
                await worker.got(task_id)
                await replica.reaches(task_id, "in_progress")
                name = pb.DeregisterWorkerRequest(worker_id=worker.name)
                await worker.stub.DeregisterWorker(name)
        task = await replica.ends(task_id)
        assert task["status"] == "failed"
        assert task["error"].startswith("its worker was lost 2 times, the last time: ")
    poisoned = "SELECT event FROM audit WHERE workload_id = $1 ORDER BY seq DESC LIMIT 1"
    assert await rows(dsn, poisoned, task_id) == [("workload.poisoned",)]
