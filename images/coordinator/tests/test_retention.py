"""Finished work is deleted after a time; what waits or runs never is."""

from pathlib import Path
from uuid import UUID

import pytest

from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import Result, WorkerStats
from muster_coordinator.engine.ports import HealthLimits
from muster_coordinator.store.database import Database
from muster_coordinator.store.leadership import PostgresLeadership
from muster_coordinator.store.migrate import migrate
from muster_protos import coordinator_pb2 as pb
from muster_testing.waiting import eventually

from .harness import Replica, rows, serving, settings
from .parts import parts
from .workers import Worker, prove

pytestmark = pytest.mark.integration

_FINISHED = """
INSERT INTO workloads (id, type, pool, rank, max_retries, state, completed_at)
VALUES ($1, 'x', 'demo', 0, 3, $2, now() - make_interval(hours => $3))
"""


def _id(hours: int) -> UUID:
    """An id as it was made some hours ago."""
    return UUID(int=new_id().int - (hours * 3_600_000 << 80))


async def test_old_finished_work_goes_with_its_proof_and_stays_counted(
    dsn: str, tmp_path: Path
) -> None:
    document = settings(task_retention="2s", cleanup_interval="200ms")
    async with serving(dsn, document, tmp_path) as replica:
        async with Worker(replica.target, "w-0", _prove_first) as worker:
            done = await replica.add()
            # It may be gone before anybody has seen its end.
            await worker.got(done)
            waits = await replica.add()

            async def gone() -> bool:
                return (await replica.http.get(f"/api/v1/tasks/{done}")).status_code == 404

            await eventually(gone)
            assert await rows(dsn, "SELECT count(*) FROM results") == [(0,)]
            await replica.reaches(waits, "assigned")
            request = pb.GetWorkerStatsRequest(worker_id="w-0")
            stats = await worker.stub.GetWorkerStats(request)
            assert (stats.tasks_completed, stats.total_duration_ms) == (1, 1)
            await eventually(lambda: _deleted(replica, 1))
        completed = "SELECT count(*) FROM audit WHERE event = 'workload.completed'"
        assert await rows(dsn, completed) == [(1,)]


async def _prove_first(worker: Worker, task: pb.TaskAssignment) -> None:
    if task is worker.tasks[0]:
        await prove(worker, task)


async def _deleted(replica: Replica, count: int) -> bool:
    return await replica.metric("coordinator_tasks_deleted_total") == count


async def test_the_oldest_go_first_and_so_many_at_once(dsn: str) -> None:
    await migrate(dsn)
    async with Database(dsn) as database:
        for hours, state in enumerate(["COMPLETED", "FAILED", "CANCELLED", "PENDING"]):
            await database.fetch(_FINISHED, _id(hours), state, hours)
        leadership = PostgresLeadership(database)
        epoch, _ = await leadership.take_epoch("c-0")
        assert await leadership.retire(epoch, 1800.0, most=1) == 1
        left = "SELECT state FROM workloads ORDER BY state"
        assert await rows(dsn, left) == [("COMPLETED",), ("FAILED",), ("PENDING",)]
        assert await leadership.retire(epoch, 1800.0, most=9) == 1
        assert await rows(dsn, left) == [("COMPLETED",), ("PENDING",)]


async def test_logs_and_what_was_left_of_checkpoints_go_with_the_work(dsn: str) -> None:
    await migrate(dsn)
    async with Database(dsn) as database:
        old, young = _id(2), _id(0)
        for task_id, hours in ((old, 2), (young, 0)):
            await database.fetch(_FINISHED, task_id, "COMPLETED", hours)
            await database.fetch("INSERT INTO logs VALUES ($1, 1, now(), 'info', '', 1)", task_id)
            await database.fetch("INSERT INTO checkpoints VALUES ($1, 1, 1, '')", task_id)
        leadership = PostgresLeadership(database)
        epoch, _ = await leadership.take_epoch("c-0")
        assert await leadership.retire(epoch, 3600.0, most=9) == 1
        for table in ("logs", "checkpoints"):
            assert await rows(dsn, f"SELECT workload_id FROM {table}") == [(young,)]  # noqa: S608


async def test_ids_of_a_time_are_those_made_from_then_on(dsn: str) -> None:
    await migrate(dsn)
    one = new_id()
    [(at,)] = await rows(dsn, "SELECT to_timestamp($1)", (one.int >> 80) / 1000)
    [(first,)] = await rows(dsn, "SELECT first_workload_id($1)", at)
    assert first <= one
    [(later,)] = await rows(
        dsn, "SELECT first_workload_id($1::timestamptz + interval '1 millisecond')", at
    )
    assert one < later


async def test_what_a_worker_has_done_is_added_up(dsn: str) -> None:
    async with parts(dsn) as made, made.running():
        await eventually(lambda: made.leader.epoch, what="it leads")
        async with made.worker("w-0") as hand:
            for _ in range(3):
                await made.submit()
                await hand.completes(await hand.given())
            before = await made.workers.stats("w-0")
            assert before == WorkerStats(3, 15)
            epoch = made.leader.epoch
            assert epoch is not None
            await made.leadership.maintain(epoch, HealthLimits(forgotten=0.0))
            assert await rows(dsn, "SELECT count(*) FROM worker_tallies") == [(1,)]
            assert await made.workers.stats("w-0") == before
        await made.registry.deregister("w-0")
        await made.leadership.maintain(epoch, HealthLimits(forgotten=0.0))
        assert await rows(dsn, "SELECT count(*) FROM worker_tallies") == [(0,)]


async def test_the_version_before_keeps_and_finds_and_drops_results(dsn: str) -> None:
    async with parts(dsn) as made, made.running():
        await eventually(lambda: made.leader.epoch, what="it leads")
        async with made.worker(capacity=2) as hand:
            ids = [await made.submit() for _ in range(2)]
            await hand.completes(await hand.given(ids[0]), b'"here"')
            await hand.given(ids[1])
        await rows(
            dsn,
            "WITH kept AS (INSERT INTO results (workload_id, worker_id, generation, duration_ms,"
            " output) VALUES ($1, 'w-0', 1, 7, $2)) SELECT",
            ids[1],
            b'"apart"',
        )
        found = "SELECT workload_id, duration_ms, output FROM results ORDER BY workload_id"
        assert await rows(dsn, found) == [(ids[0], 5, b'"here"'), (ids[1], 7, b'"apart"')]
        assert [(await made.queue.get(one)).result for one in ids] == [
            Result(5, output=b'"here"'),
            Result(7, output=b'"apart"'),
        ]
        # What is in its row is counted in a tally already.
        drop = (
            "WITH gone AS (DELETE FROM results RETURNING worker_id, duration_ms) SELECT * FROM gone"
        )
        assert await rows(dsn, drop) == [("w-0", 7)]
