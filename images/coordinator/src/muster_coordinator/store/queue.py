"""Workloads as their owners see them; see `engine.ports.QueueStore`."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from muster_coordinator.engine.errors import Conflict, InvalidState, NotFound, Unavailable
from muster_coordinator.engine.model import (
    Move,
    NewWorkload,
    Once,
    QueueDepth,
    Result,
    Workload,
    WorkloadQuery,
)
from muster_coordinator.engine.scheduling.aging import rank
from muster_coordinator.engine.states import TERMINAL, State
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.transitions import apply, lock, requirement
from muster_coordinator.store.witnesses import Witnesses

_SUBMIT = """
WITH submitted AS (
    INSERT INTO workloads (id, customer_id, type, pool, key_id, key_version, priority, rank, input,
                           max_retries, request_id, traceparent, deadline_at)
    SELECT id, customer_id, type, pool, key_id, key_version, priority, rank, input, max_retries,
           request_id, traceparent, coalesce(deadline, now() + make_interval(secs => timeout))
    FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[],
        $8::float8[], $9::bytea[], $10::int[], $11::text[], $12::text[], $13::timestamptz[],
        $14::float8[])
    AS new (id, customer_id, type, pool, key_id, key_version, priority, rank, input, max_retries,
            request_id, traceparent, deadline, timeout)
    ON CONFLICT (id) DO NOTHING
    RETURNING id, customer_id, state
), logged AS (
    INSERT INTO audit_events (customer_id, workload_id, actor, event, after, generation)
    SELECT customer_id, id, 'customer:' || customer_id, 'workload.submitted', state, 0
    FROM submitted
)
SELECT pg_notify('muster_work', '')
"""

# A key that is too old is taken over.
_CLAIM = """
INSERT INTO idempotency_keys AS known (customer_id, key_sha256, fingerprint, workload_ids)
VALUES ($1, $2, $3, $4::uuid[])
ON CONFLICT (customer_id, key_sha256) DO UPDATE SET
    fingerprint = excluded.fingerprint, workload_ids = excluded.workload_ids, created_at = now()
WHERE known.created_at < now() - interval '24 hours'
RETURNING key_sha256
"""

_CLAIMED = """
SELECT fingerprint, workload_ids FROM idempotency_keys
WHERE customer_id = $1 AND key_sha256 = $2 AND created_at >= now() - interval '24 hours'
"""

_GET = """
SELECT workload.id, workload.customer_id, workload.pool, workload.type, workload.key_id,
       workload.key_version, workload.state, workload.priority, workload.generation,
       workload.worker_id, workload.retry_count, workload.error, workload.created_at,
       workload.scheduled_at, workload.started_at, workload.completed_at, workload.deadline_at,
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
       workload.scheduled_at, workload.started_at, workload.completed_at, workload.deadline_at
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

    def __init__(self, database: Database, witnesses: Witnesses | None = None) -> None:
        self._database = database
        self._witnesses = witnesses or Witnesses()

    async def submit(self, batch: Sequence[NewWorkload]) -> None:
        """See `QueueStore.submit`."""
        await self._database.fetch(_SUBMIT, *_columns(batch, self._witnesses))

    async def submit_once(self, batch: Sequence[NewWorkload], once: Once) -> list[UUID]:
        """See `QueueStore.submit_once`."""
        ids = [one.id for one in batch]
        customer_id = batch[0].customer_id

        async def submit(connection: Connection) -> list[UUID]:
            # Waits for another transaction that is storing the same key.
            claimed = await connection.fetchval(
                _CLAIM, customer_id, once.key_sha256, once.fingerprint, ids
            )
            if claimed is not None:
                await connection.fetch(_SUBMIT, *_columns(batch, self._witnesses))
                return ids
            stored = _same(await connection.fetchrow(_CLAIMED, customer_id, once.key_sha256), once)
            if stored is None:
                raise Unavailable("the Idempotency-Key has just been forgotten; come back later")
            return stored

        return await self._database.run(submit)

    async def submitted(self, once: Once, customer_id: str) -> list[UUID] | None:
        """See `QueueStore.submitted`."""
        return _same(await self._database.fetchrow(_CLAIMED, customer_id, once.key_sha256), once)

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


def _columns(batch: Sequence[NewWorkload], witnesses: Witnesses) -> list[list[Any]]:
    """The arguments of `_SUBMIT`."""
    now = time.time()
    return [
        [one.id for one in batch],
        [one.customer_id for one in batch],
        [one.requirement.type for one in batch],
        [one.requirement.pool for one in batch],
        [one.requirement.key_id for one in batch],
        [one.requirement.key_version for one in batch],
        [one.priority for one in batch],
        [rank(one.priority, now) for one in batch],
        [witnesses.seal(one.id, one.input) for one in batch],
        [one.max_retries for one in batch],
        [one.request_id for one in batch],
        [one.traceparent for one in batch],
        [one.deadline for one in batch],
        [one.timeout_seconds for one in batch],
    ]


def _same(row: asyncpg.Record | None, once: Once) -> list[UUID] | None:
    """What was stored under a key, if anything.

    Raises:
        Conflict: for another request.
    """
    if row is None:
        return None
    if row["fingerprint"] != once.fingerprint:
        raise Conflict("the Idempotency-Key was used for another request; allowed: a new one")
    return list(row["workload_ids"])


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
        row["deadline_at"],
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
