"""What the database itself refuses, whoever asks."""

from itertools import product

import asyncpg
import pytest

from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.states import (
    HELD,
    TRANSITIONS,
    WORKER_TRANSITIONS,
    State,
    WorkerStatus,
)
from muster_coordinator.store.migrate import migrate

pytestmark = pytest.mark.integration

_INSERT = """
INSERT INTO workloads (id, type, pool, rank, max_retries, state, generation, worker_id,
                       lease_expires_at)
VALUES ($1, 'x', 'demo', 0, 3, $2, 5, $3, now())
"""

_MOVE = """
UPDATE workloads SET state = $2::text,
    worker_id = CASE WHEN $2 IN ('PENDING', 'REDISTRIBUTING') THEN NULL ELSE 'w-0' END,
    lease_expires_at = now()
WHERE id = $1
"""


async def _accepted(connection: asyncpg.Connection, query: str, *args: object) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(query, *args)
    except asyncpg.CheckViolationError:
        return False
    return True


async def _workload(connection: asyncpg.Connection, state: State) -> object:
    workload_id = new_id()
    await connection.execute(_INSERT, workload_id, state, "w-0" if state in HELD else None)
    return workload_id


async def test_exactly_the_transitions_of_the_state_table_pass(dsn: str) -> None:
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        for before, after in product(State, State):
            workload_id = await _workload(connection, before)
            allowed = after in TRANSITIONS[before] or after is before
            assert await _accepted(connection, _MOVE, workload_id, after) is allowed, (
                before,
                after,
            )
    finally:
        await connection.close()


async def test_what_begins_and_ends_in_one_step_says_when_it_began(dsn: str) -> None:
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        for before in State:
            workload_id = await _workload(connection, before)
            begun = "UPDATE workloads SET state = $2, started_at = now() WHERE id = $1"
            allowed = before in {State.SCHEDULED, State.RUNNING, State.COMPLETED}
            assert await _accepted(connection, begun, workload_id, State.COMPLETED) is allowed
    finally:
        await connection.close()


async def test_exactly_the_transitions_of_workers_pass(dsn: str) -> None:
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        for before, after in product(WorkerStatus, WorkerStatus):
            name = f"{before}-{after}"
            await connection.execute(
                "INSERT INTO workers (id, pool, capacity, types, status) "
                "VALUES ($1, 'demo', 1, '{x}', $2)",
                name,
                before,
            )
            update = "UPDATE workers SET status = $2 WHERE id = $1"
            allowed = after in WORKER_TRANSITIONS[before] or after is before
            assert await _accepted(connection, update, name, after) is allowed, name
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("state", "change"),
    [
        (State.RUNNING, "generation = 4"),
        (State.RUNNING, "worker_id = NULL"),
        (State.RUNNING, "lease_expires_at = NULL"),
        (State.PENDING, "worker_id = 'w-1'"),
        (State.COMPLETED, "input = 'a secret'"),
        (State.PENDING, "priority = 1001"),
        (State.PENDING, "state = 'LOST'"),
    ],
)
async def test_rows_that_make_no_sense_are_refused(dsn: str, state: State, change: str) -> None:
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        workload_id = await _workload(connection, state)
        update = f"UPDATE workloads SET {change} WHERE id = $1"  # noqa: S608 - from the list above
        assert not await _accepted(connection, update, workload_id)
    finally:
        await connection.close()


async def test_epochs_only_rise(dsn: str) -> None:
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        assert await _accepted(connection, "UPDATE leader_epoch SET epoch = 7")
        assert not await _accepted(connection, "UPDATE leader_epoch SET epoch = 7")
        assert not await _accepted(connection, "UPDATE leader_epoch SET epoch = 6")
    finally:
        await connection.close()
