"""Workloads as their owners see them; see `engine.ports.QueueStore`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg

from muster_coordinator.engine.errors import Conflict, InvalidState, NotFound, Unavailable
from muster_coordinator.engine.model import (
    Held,
    Move,
    NewWorkload,
    Once,
    Ordering,
    Proof,
    QueueDepth,
    Result,
    Workload,
    WorkloadQuery,
)
from muster_coordinator.engine.states import TERMINAL, State, Wish
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.submissions import submission, submit
from muster_coordinator.store.transitions import affinity_of, apply, lock, requirement
from muster_coordinator.store.witnesses import Witnesses

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

_COLUMNS = """
workload.id, workload.customer_id, workload.pool, workload.type, workload.key_id,
workload.key_version, workload.state, workload.priority, workload.generation, workload.worker_id,
workload.retry_count, workload.error, workload.created_at, workload.scheduled_at,
workload.started_at, workload.completed_at, workload.deadline_at, workload.max_retries,
workload.timeout_seconds, workload.progress_percent, workload.progress_message, workload.wish,
workload.affinity, workload.config_id, workload.checkpoint_seq
"""

_GET = f"""
SELECT {_COLUMNS}, CASE WHEN workload.keeps_input THEN workload.input END AS input,
       coalesce(workload.duration_ms, result.duration_ms) AS duration_ms,
       coalesce(workload.output, result.output) AS output, result.proof, result.public,
       result.encoding, result.key_version AS result_key_version,
       result.verified, result.merkle_root
FROM workloads AS workload LEFT JOIN results_apart AS result ON result.workload_id = workload.id
WHERE workload.id = $1 AND workload.customer_id = $2
"""

_WANTED = """
FROM workloads AS workload
WHERE workload.customer_id = $1
  AND ($2::text[] = '{}' OR workload.state = ANY ($2))
  AND ($3::text IS NULL OR workload.type = $3)
  AND ($4::text IS NULL OR workload.pool = $4)
  AND ($5::timestamptz IS NULL OR workload.created_at > $5)
  AND ($6::timestamptz IS NULL OR workload.created_at < $6)
"""

# Ids sort by time.
_ORDERS: Mapping[Ordering, tuple[str, str]] = {
    "-created_at": ("<", "workload.id DESC"),
    "created_at": (">", "workload.id"),
    "-priority": ("<", "workload.priority DESC, workload.id DESC"),
    "priority": (">", "workload.priority, workload.id"),
}


def _find(ordering: Ordering) -> str:
    beyond, order = _ORDERS[ordering]
    return (
        f"SELECT {_COLUMNS} {_WANTED} AND ($7::uuid IS NULL OR workload.id {beyond} $7) "
        f"ORDER BY {order} OFFSET $8 LIMIT $9"
    )


_FIND: Mapping[Ordering, str] = {ordering: _find(ordering) for ordering in _ORDERS}

_COUNT = f"SELECT count(*) {_WANTED}"

_WATCH = "UPDATE workloads SET watched = true WHERE id = $1 AND customer_id = $2 RETURNING id"

# A second wish changes nothing, but the worker may not have heard of the first one.
_WISH = """
WITH wished AS (
    UPDATE workloads SET wish = $2 WHERE id = $1 AND state = 'RUNNING'
    RETURNING id, customer_id, worker_id, generation, state
), logged AS (
    INSERT INTO audit_events (customer_id, workload_id, worker_id, actor, event, before, after,
                              generation)
    SELECT customer_id, id, worker_id, 'customer:' || customer_id, $3, state, state, generation
    FROM wished
)
SELECT pg_notify('muster_orders', worker_id) FROM wished
"""

_QUEUED = """
SELECT count(*) AS count FROM workloads
WHERE state IN ('PENDING', 'REDISTRIBUTING') AND customer_id = $1
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
        if not batch:
            return
        await submit(self._database, self._witnesses, batch)

    async def submit_once(self, batch: Sequence[NewWorkload], once: Once) -> list[UUID]:
        """See `QueueStore.submit_once`."""
        ids = [one.id for one in batch]
        customer_id = batch[0].customer_id

        async def claim(connection: Connection) -> list[UUID]:
            # Waits for another transaction that is storing the same key.
            claimed = await connection.fetchval(
                _CLAIM, customer_id, once.key_sha256, once.fingerprint, ids
            )
            if claimed is not None:
                query, arguments = submission(batch, self._witnesses)
                await connection.fetch(query, *arguments)
                return ids
            stored = _same(await connection.fetchrow(_CLAIMED, customer_id, once.key_sha256), once)
            if stored is None:
                raise Unavailable("the Idempotency-Key has just been forgotten; come back later")
            return stored

        return await self._database.run(claim)

    async def submitted(self, once: Once, customer_id: str) -> list[UUID] | None:
        """See `QueueStore.submitted`."""
        return _same(await self._database.fetchrow(_CLAIMED, customer_id, once.key_sha256), once)

    async def get(self, workload_id: UUID, customer_id: str) -> Workload | None:
        """See `QueueStore.get`."""
        row = await self._database.fetchrow(_GET, workload_id, customer_id)
        if row is None:
            return None
        stored = row["input"]
        return replace(
            _workload(row),
            result=None if row["duration_ms"] is None else _result(row),
            input=None if stored is None else self._witnesses.open(workload_id, stored),
        )

    async def find(self, query: WorkloadQuery) -> list[Workload]:
        """See `QueueStore.find`."""
        rows = await self._database.fetch(
            _FIND[query.ordering], *_wanted(query), query.cursor, query.offset, query.limit
        )
        return [_workload(row) for row in rows]

    async def count(self, query: WorkloadQuery) -> int:
        """See `QueueStore.count`."""
        rows = await self._database.fetch(_COUNT, *_wanted(query))
        count: int = rows[0]["count"]
        return count

    async def watch(self, workload_id: UUID, customer_id: str) -> bool:
        """See `QueueStore.watch`."""
        return await self._database.fetchrow(_WATCH, workload_id, customer_id) is not None

    async def queued(self, customer_id: str) -> int:
        """See `QueueStore.queued`."""
        rows = await self._database.fetch(_QUEUED, customer_id)
        count: int = rows[0]["count"]
        return count

    async def cancel(self, workload_id: UUID, customer_id: str) -> None:
        """See `QueueStore.cancel`."""

        async def cancel(connection: Connection) -> None:
            found = await _own(connection, workload_id, customer_id)
            if found.state is State.CANCELLED:
                return
            if found.state in TERMINAL:
                raise InvalidState(f"task {workload_id}: it is {found.state}, which is final")
            move = Move(found.id, found.state, State.CANCELLED, "workload.cancelled")
            await apply(connection, [move], f"customer:{customer_id}")

        await self._database.run(cancel)

    async def pause(self, workload_id: UUID, customer_id: str) -> None:
        """See `QueueStore.pause`."""

        async def pause(connection: Connection) -> None:
            found = await _own(connection, workload_id, customer_id)
            if found.state is State.PAUSED:
                return
            if found.state is not State.RUNNING:
                raise InvalidState(f"task {workload_id}: it is {found.state}; allowed: RUNNING")
            await connection.execute(_WISH, workload_id, Wish.PAUSE, "workload.pause_requested")

        await self._database.run(pause)

    async def resume(self, workload_id: UUID, customer_id: str) -> None:
        """See `QueueStore.resume`."""

        async def resume(connection: Connection) -> None:
            found = await _own(connection, workload_id, customer_id)
            if found.state is State.RUNNING and found.wish is Wish.PAUSE:
                await connection.execute(_WISH, workload_id, Wish.NONE, "workload.pause_withdrawn")
                return
            if found.state is not State.PAUSED:
                raise InvalidState(f"task {workload_id}: it is {found.state}; allowed: PAUSED")
            move = Move(found.id, found.state, State.PENDING, "workload.resumed")
            await apply(connection, [move], f"customer:{customer_id}")

        await self._database.run(resume)

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


def _wanted(query: WorkloadQuery) -> tuple[object, ...]:
    """The arguments of `_WANTED`."""
    return (
        query.customer_id,
        sorted(query.state),
        query.type,
        query.pool,
        query.created_after,
        query.created_before,
    )


async def _own(connection: Connection, workload_id: UUID, customer_id: str) -> Held:
    """Lock a workload of a customer.

    Raises:
        NotFound: the customer has none such.
    """
    found = (await lock(connection, [workload_id])).get(workload_id)
    if found is None or found.customer_id != customer_id:
        raise NotFound(f"task {workload_id}: there is none")
    return found


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


def _workload(row: asyncpg.Record) -> Workload:
    return Workload(
        id=row["id"],
        customer_id=row["customer_id"],
        requirement=requirement(row),
        state=State(row["state"]),
        priority=row["priority"],
        generation=row["generation"],
        worker_id=row["worker_id"],
        retry_count=row["retry_count"],
        error=row["error"],
        created_at=row["created_at"],
        scheduled_at=row["scheduled_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        deadline=row["deadline_at"],
        max_retries=row["max_retries"],
        timeout_seconds=row["timeout_seconds"],
        progress_percent=row["progress_percent"],
        progress_message=row["progress_message"],
        wish=Wish(row["wish"]),
        affinity=affinity_of(row),
        config_id=row["config_id"],
        checkpoint_seq=row["checkpoint_seq"],
    )


def _result(row: asyncpg.Record) -> Result:
    if row["proof"] is None:
        return Result(row["duration_ms"], output=row["output"])
    proof = Proof(
        row["proof"],
        tuple(row["public"]),
        row["encoding"],
        row["result_key_version"],
        row["verified"],
        row["merkle_root"],
    )
    return Result(row["duration_ms"], proof)
