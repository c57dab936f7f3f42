"""Workloads as their owners see them; see `engine.ports.QueueStore`."""

import time
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from muster_coordinator.engine.errors import InvalidState, NotFound
from muster_coordinator.engine.model import (
    Move,
    NewWorkload,
    QueueDepth,
    Result,
    Workload,
    WorkloadQuery,
)
from muster_coordinator.engine.scheduling.aging import rank
from muster_coordinator.engine.states import TERMINAL, State
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.transitions import apply, lock, requirement

_SUBMIT = """
WITH submitted AS (
    INSERT INTO workloads (id, customer_id, type, pool, key_id, key_version, priority, rank, input,
                           max_retries, request_id, traceparent)
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[],
        $8::float8[], $9::bytea[], $10::int[], $11::text[], $12::text[])
    ON CONFLICT (id) DO NOTHING
    RETURNING id, customer_id, state
), logged AS (
    INSERT INTO audit_events (customer_id, workload_id, actor, event, after, generation)
    SELECT customer_id, id, 'customer:' || customer_id, 'workload.submitted', state, 0
    FROM submitted
)
SELECT pg_notify('muster_work', '')
"""

_GET = """
SELECT workload.id, workload.customer_id, workload.pool, workload.type, workload.key_id,
       workload.key_version, workload.state, workload.priority, workload.generation,
       workload.worker_id, workload.retry_count, workload.error, workload.created_at,
       workload.scheduled_at, workload.started_at, workload.completed_at,
       result.proof, result.public, result.encoding,
       result.key_version AS result_key_version, result.verified, result.duration_ms,
       result.merkle_root
FROM workloads AS workload LEFT JOIN results AS result ON result.workload_id = workload.id
WHERE workload.id = $1 AND workload.customer_id = $2
"""

# Ids sort by time.
_FIND = """
SELECT workload.id, workload.customer_id, workload.pool, workload.type, workload.key_id,
       workload.key_version, workload.state, workload.priority, workload.generation,
       workload.worker_id, workload.retry_count, workload.error, workload.created_at,
       workload.scheduled_at, workload.started_at, workload.completed_at
FROM workloads AS workload
WHERE workload.customer_id = $1
  AND ($2::text[] = '{}' OR workload.state = ANY ($2))
  AND ($3::text IS NULL OR workload.type = $3)
  AND ($4::text IS NULL OR workload.pool = $4)
  AND ($5::uuid IS NULL OR workload.id < $5)
ORDER BY workload.id DESC LIMIT $6
"""

# Two parts, so that each is read from its own partial index and finished work from none.
_DEPTH = """
SELECT pool, type, key_id, count(*) AS pending, 0 AS assigned, 0 AS in_progress,
       extract(epoch FROM now() - min(created_at))::float8 AS oldest
FROM workloads WHERE state IN ('PENDING', 'REDISTRIBUTING') GROUP BY pool, type, key_id
UNION ALL
SELECT pool, type, key_id, 0, count(*) FILTER (WHERE state = 'SCHEDULED'),
       count(*) FILTER (WHERE state = 'RUNNING'), 0
FROM workloads WHERE state IN ('SCHEDULED', 'RUNNING') GROUP BY pool, type, key_id
"""


class PostgresQueue:
    """Implements `engine.ports.QueueStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(self, batch: Sequence[NewWorkload]) -> None:
        """See `QueueStore.submit`."""
        now = time.time()
        await self._database.fetch(
            _SUBMIT,
            [one.id for one in batch],
            [one.customer_id for one in batch],
            [one.requirement.type for one in batch],
            [one.requirement.pool for one in batch],
            [one.requirement.key_id for one in batch],
            [one.requirement.key_version for one in batch],
            [one.priority for one in batch],
            [rank(one.priority, now) for one in batch],
            [one.input for one in batch],
            [one.max_retries for one in batch],
            [one.request_id for one in batch],
            [one.traceparent for one in batch],
        )

    async def get(self, workload_id: UUID, customer_id: str) -> Workload | None:
        """See `QueueStore.get`."""
        row = await self._database.fetchrow(_GET, workload_id, customer_id)
        if row is None:
            return None
        return _workload(row, _result(row) if row["proof"] is not None else None)

    async def find(self, query: WorkloadQuery) -> list[Workload]:
        """See `QueueStore.find`."""
        rows = await self._database.fetch(
            _FIND,
            query.customer_id,
            sorted(query.state),
            query.type,
            query.pool,
            query.before,
            query.limit,
        )
        return [_workload(row, None) for row in rows]

    async def cancel(self, workload_id: UUID, customer_id: str) -> None:
        """See `QueueStore.cancel`; cancelling once more changes nothing."""

        async def cancel(connection: Connection) -> None:
            found = (await lock(connection, [workload_id])).get(workload_id)
            owner = await connection.fetchval(
                "SELECT customer_id FROM workloads WHERE id = $1", workload_id
            )
            if found is None or owner != customer_id:
                raise NotFound(f"task {workload_id}: there is none")
            if found.state is State.CANCELLED:
                return
            if found.state in TERMINAL:
                raise InvalidState(f"task {workload_id}: it is {found.state}, which is final")
            move = Move(found.id, found.state, State.CANCELLED, "workload.cancelled")
            await apply(connection, [move], f"customer:{customer_id}")

        await self._database.run(cancel)

    async def depth(self) -> list[QueueDepth]:
        """See `QueueStore.depth`."""
        depths: dict[tuple[str, str, str], QueueDepth] = {}
        for row in await self._database.fetch(_DEPTH):
            key = (row["pool"], row["type"], row["key_id"])
            seen = depths.get(key, QueueDepth(*key, 0, 0, 0, 0.0))
            depths[key] = QueueDepth(
                *key,
                seen.pending + row["pending"],
                seen.assigned + row["assigned"],
                seen.in_progress + row["in_progress"],
                max(seen.oldest_pending_seconds, row["oldest"]),
            )
        return list(depths.values())


def _workload(row: asyncpg.Record, result: Result | None) -> Workload:
    return Workload(
        row["id"],
        row["customer_id"],
        requirement(row),
        State(row["state"]),
        row["priority"],
        row["generation"],
        row["worker_id"],
        row["retry_count"],
        row["error"],
        row["created_at"],
        row["scheduled_at"],
        row["started_at"],
        row["completed_at"],
        result,
    )


def _result(row: asyncpg.Record) -> Result:
    return Result(
        row["proof"],
        tuple(row["public"]),
        row["encoding"],
        row["result_key_version"],
        row["verified"],
        row["duration_ms"],
        row["merkle_root"],
    )
