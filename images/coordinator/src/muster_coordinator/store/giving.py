"""The shortest way from the queue to workers: one statement for work that waits as PENDING.

It does what `transitions.apply_seen` does for any moves, without what these moves never need.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg

from muster_coordinator.engine.model import Move, Moved
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Connection
from muster_coordinator.store.literals import integers, uuids
from muster_coordinator.store.transitions import Leading, requirement

# As in `transitions`: an epoch that held holds to the end of the transaction, what has moved since
# it was read stays as it is, nothing is given to a worker that went or lied after it was chosen,
# and the commit does not wait for the disk. Only first assignments are told of together, so that a
# workload has but a few numbers of what tells of it, however often it is given.
_GIVEN = """
WITH able AS MATERIALIZED (
    SELECT id, replica_id FROM workers
    WHERE id = ANY ($2::text[]) AND status = 'ACTIVE' AND stream_id IS NOT NULL
      AND EXISTS (SELECT FROM leader_epoch WHERE epoch = $4 FOR SHARE)
), numbered AS MATERIALIZED (
    SELECT nextval('audit_events_seq') AS scheduled
), moved AS (
    UPDATE workloads AS workload SET
        state = 'SCHEDULED', generation = workload.generation + 1, worker_id = given.worker_id,
        lease_expires_at = now() + make_interval(secs => $5), scheduled_at = now(),
        started_at = NULL, wish = '',
        progress_percent = CASE WHEN workload.checkpoint_seq = 0 THEN 0
                                ELSE workload.progress_percent END,
        audit_batches = CASE WHEN workload.generation > 0 THEN workload.audit_batches
                             ELSE workload.audit_batches || (SELECT scheduled FROM numbered) END
    FROM unnest($1::text::uuid[], $2::text[], $3::text::bigint[])
         AS given (id, worker_id, generation)
    WHERE workload.id = given.id AND workload.generation = given.generation
      AND workload.state = 'PENDING'
      AND given.worker_id = ANY (ARRAY (SELECT id FROM able))
    RETURNING workload.id, workload.customer_id, workload.worker_id, workload.generation,
              workload.created_at, workload.watched
), logged AS (
    INSERT INTO audit_events (customer_id, workload_id, worker_id, actor, event, before, after,
                              generation, epoch)
    SELECT customer_id, id, worker_id, 'leader', 'workload.scheduled', 'PENDING', 'SCHEDULED',
           generation, $4
    FROM moved WHERE generation > 1
), logged_together AS (
    INSERT INTO audit_batches (seq, customer_id, workload_ids, worker_ids, actor, event, before,
                               after, generation, epoch)
    SELECT numbered.scheduled, customer_id, array_agg(id), array_agg(worker_id), 'leader',
           'workload.scheduled', 'PENDING', 'SCHEDULED', 1, $4
    FROM moved CROSS JOIN numbered WHERE generation = 1 GROUP BY numbered.scheduled, customer_id
)
SELECT id, created_at, now() AS at,
       (SELECT count(pg_notify('muster_assigned', able.id)) FROM able
        WHERE replica_id IS DISTINCT FROM $6),
       (SELECT count(pg_notify('muster_done', id::text)) FROM moved WHERE watched),
       set_config('synchronous_commit', 'off', true)
FROM moved
"""


async def give(
    connection: Connection,
    moves: Sequence[Move],
    seen: Mapping[UUID, asyncpg.Record],
    leading: Leading,
) -> list[Moved]:
    """Store moves from PENDING to SCHEDULED, all with one lease; those that could be made.

    Args:
        seen: the workloads as they were read, without a lock.
    """
    moves = sorted(moves, key=lambda move: move.id.bytes)
    workers = {move.id: move.worker_id for move in moves}
    rows = await connection.fetch(
        _GIVEN,
        uuids(workers),
        list(workers.values()),
        integers(seen[one]["generation"] for one in workers),
        leading.epoch,
        moves[0].lease,
        leading.here,
    )
    return [
        Moved(
            row["id"],
            requirement(seen[row["id"]]),
            State.SCHEDULED,
            workers[row["id"]],
            seen[row["id"]]["generation"] + 1,
            row["created_at"],
            row["at"],
        )
        for row in rows
    ]
