"""The registry of workers; see `engine.ports.WorkerStore`."""

import functools
import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from types import MappingProxyType
from uuid import UUID

import asyncpg

from muster_coordinator.engine.errors import InvalidState
from muster_coordinator.engine.model import Registration, Share, Worker, WorkerStats
from muster_coordinator.engine.ports import Recover
from muster_coordinator.engine.states import State, WorkerStatus
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.transitions import move_held

_BEFORE = "SELECT status, instance FROM workers WHERE id = $1 FOR UPDATE"

_REGISTER = """
WITH registered AS (
    INSERT INTO workers (id, pool, capacity, types, keys, tags, version, instance)
    VALUES ($1, $2, $3, $4, $5::jsonb, $6::jsonb, $7, $8)
    ON CONFLICT (id) DO UPDATE SET
        pool = excluded.pool, capacity = excluded.capacity, types = excluded.types,
        keys = excluded.keys, tags = excluded.tags, version = excluded.version,
        instance = excluded.instance, last_heartbeat_at = now(),
        status = CASE WHEN workers.status IN ('SUSPECT', 'DEAD') THEN 'ACTIVE'
                      ELSE workers.status END,
        replica_id = CASE WHEN $9 THEN NULL ELSE workers.replica_id END,
        stream_id = CASE WHEN $9 THEN NULL ELSE workers.stream_id END,
        stream_lost_at = CASE WHEN $9 THEN now() ELSE workers.stream_lost_at END
    RETURNING id, status
), logged AS (
    INSERT INTO audit_events (worker_id, actor, event, before, after, reason)
    SELECT id, 'worker:' || id, 'worker.registered', $10, status,
           CASE WHEN $9 THEN 'started anew' ELSE '' END
    FROM registered
)
SELECT pg_notify('muster_work', 'workers')
"""

_BEAT = """
WITH beat AS (
    SELECT worker.id, worker.status AS before, beat.active
    FROM workers AS worker
    JOIN unnest($1::text[], $2::int[]) AS beat (id, active) ON beat.id = worker.id
    ORDER BY worker.id FOR UPDATE OF worker
), alive AS (
    UPDATE workers AS worker SET
        last_heartbeat_at = now(),
        active_tasks = beat.active,
        status = CASE WHEN beat.before IN ('SUSPECT', 'DEAD') THEN 'ACTIVE' ELSE beat.before END,
        status_reason = CASE WHEN beat.before IN ('SUSPECT', 'DEAD') THEN 'heartbeat'
                             ELSE worker.status_reason END,
        status_changed_at = CASE WHEN beat.before IN ('SUSPECT', 'DEAD') THEN now()
                                 ELSE worker.status_changed_at END
    FROM beat WHERE worker.id = beat.id
    RETURNING worker.id, beat.before, worker.status
), logged AS (
    INSERT INTO audit_events (worker_id, actor, event, before, after, reason)
    SELECT id, 'worker:' || id, 'worker.status', before, status, 'heartbeat'
    FROM alive WHERE before <> status
)
SELECT id, CASE WHEN before <> status THEN pg_notify('muster_work', 'workers') END,
       -- The next heartbeat makes up for one that a crash of the database takes with it.
       set_config('synchronous_commit', 'off', true)
FROM alive
"""

_OPEN_STREAM = """
WITH opened AS (
    UPDATE workers SET
        replica_id = $2, stream_id = $3, stream_lost_at = NULL, last_heartbeat_at = now(),
        status = CASE WHEN status IN ('SUSPECT', 'DEAD') THEN 'ACTIVE' ELSE status END
    WHERE id = $1 RETURNING id
)
SELECT id, pg_notify('muster_work', 'workers') FROM opened
"""

_CLOSE_STREAMS = """
WITH closing AS (
    SELECT id FROM workers WHERE stream_id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE
)
UPDATE workers SET stream_id = NULL, replica_id = NULL, stream_lost_at = now()
FROM closing WHERE workers.id = closing.id RETURNING workers.id
"""

_REPLICA_LIVES = """
INSERT INTO replicas (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET last_seen_at = now()
"""

# The next one makes up for one that a crash of the database takes with it.
_REPLICA_LIVES_ON = f"""
WITH lives AS (
    {_REPLICA_LIVES} RETURNING set_config('synchronous_commit', 'off', true)
)
SELECT stream_id FROM workers WHERE replica_id = $1
"""

_DEREGISTER = """
WITH gone AS (
    DELETE FROM workers WHERE id = $1 AND status <> 'QUARANTINED' RETURNING id, status
), kept AS (
    UPDATE workers SET stream_id = NULL, replica_id = NULL, stream_lost_at = now()
    WHERE id = $1 AND status = 'QUARANTINED' RETURNING id, status
), logged AS (
    INSERT INTO audit_events (worker_id, actor, event, before)
    SELECT id, 'worker:' || id, 'worker.deregistered', status FROM gone
    UNION ALL SELECT id, 'worker:' || id, 'worker.deregistered', status FROM kept
)
SELECT id FROM gone UNION ALL SELECT id FROM kept
"""

_DRAIN = """
WITH worker AS (
    SELECT id, status AS before FROM workers WHERE id = $1 FOR UPDATE
), drained AS (
    UPDATE workers SET status = 'DRAINING', status_reason = $2, status_changed_at = now()
    FROM worker WHERE workers.id = worker.id AND worker.before IN ('ACTIVE', 'SUSPECT')
    RETURNING workers.id, worker.before
), logged AS (
    INSERT INTO audit_events (worker_id, actor, event, before, after, reason)
    SELECT id, 'administrator', 'worker.status', before, 'DRAINING', $2 FROM drained
)
SELECT before, pg_notify('muster_orders', id) FROM worker
"""

_REMOVE = """
WITH gone AS (
    DELETE FROM workers WHERE id = $1 RETURNING id, status
), logged AS (
    INSERT INTO audit_events (worker_id, actor, event, before, reason)
    SELECT id, 'administrator', 'worker.removed', status, $2 FROM gone
)
SELECT id FROM gone
"""

_QUARANTINE = """
WITH worker AS (
    SELECT id, status AS before FROM workers
    WHERE id = $1 AND status <> 'QUARANTINED' FOR UPDATE
), quarantined AS (
    UPDATE workers SET
        status = 'QUARANTINED', status_reason = $2, status_changed_at = now(),
        quarantines = quarantines + 1,
        -- Twice as long each time, but no longer than a month.
        quarantined_until = now() + least($3::interval * power(2, least(quarantines, 20)),
                                          interval '30 days')
    FROM worker WHERE workers.id = worker.id RETURNING workers.id, worker.before
)
INSERT INTO audit_events (worker_id, actor, event, before, after, reason)
SELECT id, 'coordinator', 'worker.status', before, 'QUARANTINED', $2 FROM quarantined
"""

_LIFT = """
WITH lifted AS (
    UPDATE workers SET status = 'ACTIVE', status_reason = 'quarantine lifted',
                       status_changed_at = now(), quarantined_until = NULL
    WHERE id = $1 AND status = 'QUARANTINED' RETURNING id
), logged AS (
    INSERT INTO audit_events (worker_id, actor, event, before, after, reason)
    SELECT id, 'administrator', 'worker.status', 'QUARANTINED', 'ACTIVE', 'quarantine lifted'
    FROM lifted
)
SELECT id, pg_notify('muster_work', 'workers') FROM lifted
"""

_WORKERS = """
SELECT worker.id, worker.pool, worker.status, worker.capacity, worker.types, worker.keys,
       worker.stream_id IS NOT NULL AS connected, worker.last_heartbeat_at,
       worker.status_reason, worker.quarantined_until, worker.tags, worker.version,
       holding.customers, holding.kinds, holding.counts
FROM workers AS worker
LEFT JOIN (
    SELECT worker_id, array_agg(customer_id) AS customers, array_agg(type) AS kinds,
           array_agg(count) AS counts
    FROM (
        SELECT worker_id, customer_id, type, count(*) AS count FROM workloads
        WHERE state IN ('SCHEDULED', 'RUNNING') GROUP BY worker_id, customer_id, type
    ) AS share GROUP BY worker_id
) AS holding ON holding.worker_id = worker.id
ORDER BY worker.id
"""

_STATS = """
SELECT worker.retired_tasks
           + (SELECT count(*) FROM results_apart WHERE worker_id = worker.id)
           + (SELECT coalesce(sum(tasks), 0)::bigint FROM worker_tallies
              WHERE worker_id = worker.id) AS completed,
       worker.retired_duration_ms
           + (SELECT coalesce(sum(duration_ms), 0)::bigint FROM results_apart
              WHERE worker_id = worker.id)
           + (SELECT coalesce(sum(duration_ms), 0)::bigint FROM worker_tallies
              WHERE worker_id = worker.id) AS duration_ms
FROM workers AS worker WHERE worker.id = $1
"""


@functools.lru_cache(maxsize=1024)
def _words(text: str) -> Mapping[str, str]:
    """Workers of a pool have the same keys and tags, and are read again and again."""
    return MappingProxyType(json.loads(text))


def _worker(row: asyncpg.Record) -> Worker:
    held = zip(row["customers"] or (), row["kinds"] or (), row["counts"] or (), strict=True)
    shares = tuple(Share(*share) for share in held)
    return Worker(
        row["id"],
        row["pool"],
        WorkerStatus(row["status"]),
        row["capacity"],
        frozenset(row["types"]),
        _words(row["keys"]),
        sum(share.count for share in shares),
        row["connected"],
        row["last_heartbeat_at"],
        row["status_reason"],
        row["quarantined_until"],
        _words(row["tags"]),
        row["version"],
        shares,
    )


class PostgresWorkers:
    """Implements `engine.ports.WorkerStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, worker: Registration) -> bool:
        """See `WorkerStore.register`."""

        async def register(connection: Connection) -> bool:
            before = await connection.fetchrow(_BEFORE, worker.id)
            restarted = bool(
                before
                and before["instance"]
                and worker.instance
                and before["instance"] != worker.instance
            )
            await connection.execute(
                _REGISTER,
                worker.id,
                worker.pool,
                worker.capacity,
                sorted(worker.types),
                json.dumps(dict(worker.keys)),
                json.dumps(dict(worker.tags)),
                worker.version,
                worker.instance,
                restarted,
                before and before["status"],
            )
            return restarted

        return await self._database.run(register)

    async def beat(self, active: Mapping[str, int]) -> Collection[str]:
        """See `WorkerStore.beat`."""
        rows = await self._database.fetch(_BEAT, list(active.keys()), list(active.values()))
        return {row["id"] for row in rows}

    async def open_stream(self, worker_id: str, replica_id: str, stream_id: UUID) -> bool:
        """See `WorkerStore.open_stream`."""
        row = await self._database.fetchrow(_OPEN_STREAM, worker_id, replica_id, stream_id)
        return row is not None

    async def close_streams(self, streams: Collection[UUID], recover: Recover) -> list[str]:
        """See `WorkerStore.close_streams`."""

        async def close(connection: Connection) -> list[str]:
            rows = await connection.fetch(_CLOSE_STREAMS, list(streams))
            workers = [row["id"] for row in rows]
            await move_held(
                connection,
                workers,
                [State.SCHEDULED],
                recover,
                "the stream to it ended",
                "coordinator",
            )
            return workers

        return await self._database.run(close)

    async def replica_started(self, replica_id: str) -> None:
        """See `WorkerStore.replica_started`."""

        async def started(connection: Connection) -> None:
            await connection.execute(
                "UPDATE workers SET stream_id = NULL, replica_id = NULL, stream_lost_at = now() "
                "WHERE replica_id = $1",
                replica_id,
            )
            await connection.execute(_REPLICA_LIVES, replica_id)

        await self._database.run(started)

    async def replica_lives(self, replica_id: str) -> Collection[UUID]:
        """See `WorkerStore.replica_lives`."""
        rows = await self._database.fetch(_REPLICA_LIVES_ON, replica_id)
        return {row["stream_id"] for row in rows}

    async def replica_stopped(self, replica_id: str) -> None:
        """See `WorkerStore.replica_stopped`."""
        await self._database.fetch("DELETE FROM replicas WHERE id = $1", replica_id)

    async def deregister(self, worker_id: str) -> bool:
        """See `WorkerStore.deregister`."""
        return await self._database.fetchrow(_DEREGISTER, worker_id) is not None

    async def drain(self, worker_id: str, reason: str) -> bool:
        """See `WorkerStore.drain`."""
        row = await self._database.fetchrow(_DRAIN, worker_id, reason)
        if row is None:
            return False
        if row["before"] in {WorkerStatus.DEAD, WorkerStatus.QUARANTINED}:
            raise InvalidState(
                f"worker {worker_id}: it is {row['before']}; allowed: ACTIVE, SUSPECT, DRAINING"
            )
        return True

    async def remove(self, worker_id: str, reason: str) -> bool:
        """See `WorkerStore.remove`."""
        return await self._database.fetchrow(_REMOVE, worker_id, reason) is not None

    async def quarantine(self, worker_id: str, reason: str, seconds: float) -> None:
        """See `WorkerStore.quarantine`."""
        await self._database.fetch(_QUARANTINE, worker_id, reason, timedelta(seconds=seconds))

    async def lift_quarantine(self, worker_id: str) -> bool:
        """See `WorkerStore.lift_quarantine`."""
        return await self._database.fetchrow(_LIFT, worker_id) is not None

    async def workers(self) -> list[Worker]:
        """See `WorkerStore.workers`."""
        return [_worker(row) for row in await self._database.fetch(_WORKERS)]

    async def stats(self, worker_id: str) -> WorkerStats | None:
        """See `WorkerStore.stats`."""
        row = await self._database.fetchrow(_STATS, worker_id)
        return WorkerStats(row["completed"], row["duration_ms"]) if row is not None else None
