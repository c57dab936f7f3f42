"""What the leader deletes once nobody needs it any more, and the months of the audit."""

import logging
from datetime import timedelta

import asyncpg

from muster_coordinator.store.database import Connection, Database

log = logging.getLogger(__name__)

_FORGET_WORKERS = """
WITH gone AS (
    DELETE FROM workers WHERE status IN ('DEAD', 'QUARANTINED')
    AND last_heartbeat_at < now() - $1::interval RETURNING id, status
)
INSERT INTO audit_events (worker_id, actor, event, before, epoch)
SELECT id, 'leader', 'worker.forgotten', status, $2 FROM gone
"""

# Found by their ids, which sort by time: what is as old but has not ended, or not so long ago, is
# passed over: no more than there was to do at that time. Results that are kept apart and logs
# go with their workloads; what a worker has done stays counted.
_RETIRE = """
WITH old AS (
    SELECT id FROM workloads
    WHERE id < first_workload_id(now() - $1::interval)
      AND state IN ('COMPLETED', 'FAILED', 'CANCELLED') AND completed_at < now() - $1::interval
    ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM results_apart WHERE workload_id IN (SELECT id FROM old)
    RETURNING worker_id, duration_ms
), done AS (
    SELECT worker_id, count(*) AS tasks, sum(duration_ms) AS duration_ms
    FROM gone GROUP BY worker_id
), counted AS (
    UPDATE workers SET retired_tasks = retired_tasks + done.tasks,
                       retired_duration_ms = workers.retired_duration_ms + done.duration_ms
    FROM done WHERE workers.id = done.worker_id
), unlogged AS (
    DELETE FROM logs WHERE workload_id IN (SELECT id FROM old)
), forgotten AS (
    -- Only what was kept in the very moment of the end.
    DELETE FROM checkpoints WHERE workload_id IN (SELECT id FROM old)
), deleted AS (
    DELETE FROM workloads WHERE id IN (SELECT id FROM old) RETURNING id
)
SELECT count(*) AS count FROM deleted
"""

_ADD_TALLIES_UP = """
WITH gone AS (
    DELETE FROM worker_tallies WHERE worker_id IN (
        SELECT worker_id FROM worker_tallies GROUP BY worker_id HAVING count(*) > 1)
    RETURNING worker_id, at, tasks, duration_ms
)
INSERT INTO worker_tallies (worker_id, at, tasks, duration_ms)
SELECT worker_id, max(at), sum(tasks), sum(duration_ms) FROM gone GROUP BY worker_id
"""

_FORGET_TALLIES = """
DELETE FROM worker_tallies WHERE at < now() - $1::interval
AND NOT EXISTS (SELECT FROM workers WHERE workers.id = worker_id)
"""

_FORGET_REPLICAS = "DELETE FROM replicas WHERE last_seen_at < now() - interval '1 hour'"

_FORGET_KEYS = "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'"

_AUDIT_MONTHS = """
SELECT make_audit_month(now()), make_audit_month(now() + interval '1 month')
"""

_OLD_AUDIT_MONTHS = """
SELECT child.relname FROM pg_inherits
JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent IN ('audit_events'::regclass, 'audit_batches'::regclass)
  AND child.relname ~ '^audit_(events|batches)_[0-9]{6}$'
  AND right(child.relname, 6) < to_char(now() - interval '13 months', 'YYYYMM')
"""


async def retire(connection: Connection, seconds: float, most: int) -> int:
    """Delete work that ended `seconds` ago or earlier, at most so much; how much it was."""
    count: int = await connection.fetchval(_RETIRE, timedelta(seconds=seconds), most)
    return count


async def forget(connection: Connection, seconds: float, epoch: int) -> None:
    """Forget workers that were gone for `seconds`, replicas, old keys, and the oldest audit.

    What workers have done is added up.
    """
    await connection.execute(_FORGET_WORKERS, timedelta(seconds=seconds), epoch)
    await connection.execute(_ADD_TALLIES_UP)
    await connection.execute(_FORGET_TALLIES, timedelta(seconds=seconds))
    await connection.execute(_FORGET_REPLICAS)
    await connection.execute(_FORGET_KEYS)
    for row in await connection.fetch(_OLD_AUDIT_MONTHS):
        await connection.execute(f'DROP TABLE "{row["relname"]}"')
        log.info("old audit dropped", extra={"table": row["relname"]})


async def make_audit_months(database: Database) -> None:
    """Make the audit's partitions of this month and the next."""
    try:
        await database.fetch(_AUDIT_MONTHS)
    except asyncpg.CheckViolationError as error:
        # Nobody led at the turn of the month: its events are in the default partition.
        log.warning("an audit month can't be made", extra={"error": str(error)})
