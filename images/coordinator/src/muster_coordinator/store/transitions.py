"""The one statement that moves workloads, with their audit events and notifications."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg

from muster_coordinator.engine.model import Held, Move, Moved, Requirement
from muster_coordinator.engine.ports import Recover
from muster_coordinator.engine.states import CLAIMABLE, State
from muster_coordinator.store.database import Connection

_MOVE = """
WITH move AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::float8[], $8::float8[], $9::bool[], $10::bool[], $11::text[], $12::text[])
    AS move (id, before, after, event, reason, worker_id,
             lease, delay, retried, redistributed, failed_on, error)
), moved AS (
    UPDATE workloads AS workload SET
        state = move.after,
        generation = workload.generation + (move.after = 'SCHEDULED')::int,
        worker_id = CASE
            WHEN move.after = 'SCHEDULED' THEN move.worker_id
            WHEN move.after IN ('PENDING', 'REDISTRIBUTING') THEN NULL
            ELSE workload.worker_id END,
        lease_expires_at = CASE WHEN move.after IN ('SCHEDULED', 'RUNNING')
            THEN now() + make_interval(secs => move.lease) END,
        not_before = CASE WHEN move.after = 'PENDING'
            THEN now() + make_interval(secs => move.delay) ELSE workload.not_before END,
        retry_count = workload.retry_count + move.retried::int,
        redistributions = workload.redistributions + move.redistributed::int,
        excluded_workers = CASE
            WHEN move.failed_on IS NULL OR move.failed_on = ANY (workload.excluded_workers)
            THEN workload.excluded_workers
            ELSE workload.excluded_workers || move.failed_on END,
        scheduled_at = CASE
            WHEN move.after = 'SCHEDULED' THEN now()
            WHEN move.after IN ('PENDING', 'REDISTRIBUTING') THEN NULL
            ELSE workload.scheduled_at END,
        started_at = CASE
            WHEN move.after = 'RUNNING' THEN now()
            WHEN move.after IN ('PENDING', 'REDISTRIBUTING', 'SCHEDULED') THEN NULL
            ELSE workload.started_at END,
        completed_at = CASE
            WHEN move.after IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN now() END,
        input = CASE
            WHEN move.after IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN NULL
            ELSE workload.input END,
        error = coalesce(move.error, workload.error)
    FROM move JOIN workloads AS was ON was.id = move.id
    WHERE workload.id = move.id AND workload.state = move.before
    RETURNING workload.*, was.worker_id AS held_by, move.before, move.event, move.reason
), logged AS (
    INSERT INTO audit_events (customer_id, workload_id, worker_id, actor, event, before, after,
                              generation, epoch, reason)
    SELECT customer_id, id, coalesce(worker_id, held_by), $13, event, before, state,
           generation, $14, reason
    FROM moved
)
SELECT id, pool, type, key_id, key_version, state, worker_id, generation, created_at, now() AS at,
       CASE WHEN state IN ('PENDING', 'REDISTRIBUTING', 'COMPLETED', 'FAILED', 'CANCELLED')
            THEN pg_notify('muster_work', '') END,
       CASE WHEN state = 'SCHEDULED' THEN pg_notify('muster_assigned', worker_id) END,
       CASE WHEN state IN ('COMPLETED', 'FAILED', 'CANCELLED')
            THEN pg_notify('muster_done', id::text) END
FROM moved
"""

_LOCK = """
SELECT workload.id, workload.pool, workload.type, workload.key_id, workload.key_version,
       workload.state, workload.worker_id, workload.generation, workload.retry_count,
       workload.max_retries, workload.redistributions, workload.started_at
FROM workloads AS workload
WHERE workload.id = ANY ($1::uuid[]) ORDER BY workload.id FOR UPDATE
"""

_LOCK_OF_WORKERS = """
SELECT workload.id, workload.pool, workload.type, workload.key_id, workload.key_version,
       workload.state, workload.worker_id, workload.generation, workload.retry_count,
       workload.max_retries, workload.redistributions, workload.started_at
FROM workloads AS workload
WHERE workload.worker_id = ANY ($1::text[]) AND workload.state IN ('SCHEDULED', 'RUNNING')
  AND workload.state = ANY ($2::text[])
ORDER BY workload.id FOR UPDATE
"""


def requirement(row: asyncpg.Record) -> Requirement:
    """The requirement in the columns pool, type, key_id and key_version."""
    return Requirement(row["pool"], row["type"], row["key_id"], row["key_version"])


def held(row: asyncpg.Record) -> Held:
    """The columns that decisions are made on."""
    return Held(
        row["id"],
        requirement(row),
        State(row["state"]),
        row["worker_id"],
        row["generation"],
        row["retry_count"],
        row["max_retries"],
        row["redistributions"],
        row["started_at"],
    )


def after(before: Held, move: Move) -> Held:
    """What `before` is once `move` is stored, as far as further decisions of a batch need it."""
    worker_id = None if move.after in CLAIMABLE else before.worker_id
    return replace(before, state=move.after, worker_id=worker_id)


async def lock(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Held]:
    """Lock workloads until the end of the transaction; in one order, against deadlocks."""
    return {row["id"]: held(row) for row in await connection.fetch(_LOCK, list(ids))}


async def lock_held(
    connection: Connection, workers: Collection[str], states: Collection[State]
) -> list[Held]:
    """Lock what workers hold, as far as it is in one of `states`."""
    rows = await connection.fetch(_LOCK_OF_WORKERS, list(workers), list(states))
    return [held(row) for row in rows]


async def apply(
    connection: Connection, moves: Sequence[Move], actor: str, epoch: int | None = None
) -> list[Moved]:
    """Store moves of locked workloads, at most one of each; one statement for all."""
    if not moves:
        return []
    rows = await connection.fetch(
        _MOVE,
        [move.id for move in moves],
        [move.before for move in moves],
        [move.after for move in moves],
        [move.event for move in moves],
        [move.reason for move in moves],
        [move.worker_id for move in moves],
        [move.lease for move in moves],
        [move.delay for move in moves],
        [move.retried for move in moves],
        [move.redistributed for move in moves],
        [move.failed_on for move in moves],
        [move.error for move in moves],
        actor,
        epoch,
    )
    return [
        Moved(
            row["id"],
            requirement(row),
            State(row["state"]),
            row["worker_id"],
            row["generation"],
            row["created_at"],
            row["at"],
        )
        for row in rows
    ]


async def move_held(
    connection: Connection,
    workers: Collection[str],
    states: Collection[State],
    recover: Recover,
    reason: str,
    actor: str,
) -> list[Moved]:
    """Move what workers hold in `states` to where `recover` says."""
    found = await lock_held(connection, workers, states)
    return await apply(connection, [recover(one, reason) for one in found], actor)
