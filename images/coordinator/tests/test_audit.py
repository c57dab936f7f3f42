"""What is told of many workloads together, each of them tells by itself."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from muster_coordinator.engine.errors import Fenced
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import DEFAULT_CUSTOMER, NewWorkload
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Database
from muster_coordinator.store.history import PostgresHistory
from muster_coordinator.store.migrate import migrate, migrations
from muster_testing.waiting import eventually

from .harness import rows
from .parts import NEED, Parts, parts

pytestmark = pytest.mark.integration

WAY = ["workload.submitted", "workload.scheduled", "workload.started", "workload.completed"]


@pytest_asyncio.fixture
async def made(dsn: str) -> AsyncIterator[Parts]:
    async with parts(dsn) as replica, replica.running():
        await eventually(lambda: replica.leader.epoch, what="it leads")
        yield replica


async def test_each_of_many_has_its_own_way(made: Parts) -> None:
    async with made.worker("w-0") as one, made.worker("w-1") as other:
        await made.queue.submit([NewWorkload(new_id(), NEED, b"{}") for _ in range(3)])
        for hand in (one, other):
            given = await hand.given()
            assert (await hand.completes(given)).accepted
            told = await made.history.audit(given.workload_id, given.customer_id)
            assert [event.event for event in told] == WAY
            assert [event.worker_id for event in told] == [None, *[hand.name] * 3]
            assert [event.generation for event in told] == [0, 1, 1, 1]
            assert [(event.before, event.after) for event in told] == [
                (None, State.PENDING),
                (State.PENDING, State.SCHEDULED),
                (State.SCHEDULED, State.RUNNING),
                (State.RUNNING, State.COMPLETED),
            ]
            later = await made.history.audit(
                given.workload_id, given.customer_id, after=told[1].seq, limit=1
            )
            assert later == told[2:3]


async def test_what_is_given_again_and_again_tells_of_each_time(made: Parts) -> None:
    async with made.worker() as hand:
        task_id = await made.submit()
        for _ in range(3):
            given = await hand.given(task_id)
            await made.reports.release(hand.claim(given))
        last = await hand.given(task_id)
        assert last.generation == 4
        with pytest.raises(Fenced):
            await hand.completes(given)
        assert (await hand.completes(last)).accepted
        told = await made.events(task_id)
        again = ["workload.scheduled", "workload.released"] * 3
        assert told == [WAY[0], *again, WAY[1], "report.fenced", *WAY[2:]]
        # However often it is given, its row has no more numbers than its usual way has steps.
        [(numbers,)] = await rows(made.dsn, "SELECT cardinality(audit_batches) FROM workloads")
        assert numbers <= len(WAY)


async def test_the_view_has_every_event_once(made: Parts) -> None:
    async with made.worker(capacity=3) as hand:
        ids = await made.queue.submit([NewWorkload(new_id(), NEED, b"{}") for _ in range(3)])
        for _ in ids:
            await hand.completes(await hand.given())
        found = await rows(
            made.dsn,
            "SELECT workload_id, array_agg(event ORDER BY seq) FROM audit"
            " WHERE workload_id IS NOT NULL GROUP BY workload_id",
        )
        assert dict(found) == dict.fromkeys(ids, WAY)


async def test_what_was_told_before_there_were_batches_is_told_still(dsn: str) -> None:
    known = migrations()
    await migrate(dsn, [one for one in known if one.number < 13])
    task_id = new_id()
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "INSERT INTO workloads (id, type, pool, rank, max_retries) VALUES ($1, 'a', 'b', 0, 3)",
            task_id,
        )
        before = (
            "INSERT INTO audit_events (workload_id, customer_id, actor, event, after, generation)"
            " VALUES ($1, 'default', 'customer:default', 'workload.submitted', 'PENDING', 0)"
        )
        await connection.execute(before, task_id)
        await migrate(dsn)
        # As a replica of the version before goes on.
        await connection.execute(before, task_id)
    finally:
        await connection.close()
    async with Database(dsn) as database:
        told = await PostgresHistory(database).audit(task_id, DEFAULT_CUSTOMER)
    assert [event.event for event in told] == [WAY[0], WAY[0]]
