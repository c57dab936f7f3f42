"""The shortest way to the end of work that yields no proof: one statement for results of one kind.

It does what `transitions.apply_seen` does for any moves, without what these moves never need.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from uuid import UUID

from muster_coordinator.engine.model import Held, Move, Moved, Result
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Connection

# What was read without a lock moves only where it is still the same. Rows are locked in the order
# of their ids, which is that of the arguments.
_COMPLETED = """
WITH moved AS (
    UPDATE workloads AS workload SET
        state = 'COMPLETED', lease_expires_at = NULL, completed_at = now(), wish = '',
        started_at = CASE WHEN $6 THEN now() ELSE workload.started_at END,
        input = CASE WHEN workload.keeps_input THEN workload.input END, progress_percent = 100
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[])
         AS done (id, generation, duration_ms, output)
    WHERE workload.id = done.id AND workload.generation = done.generation AND workload.state = $5
    RETURNING workload.id, workload.customer_id, workload.worker_id, workload.generation,
              workload.created_at, workload.checkpoint_seq, done.duration_ms, done.output
), logged AS (
    INSERT INTO audit_events (customer_id, workload_id, worker_id, actor, event, before, after,
                              generation)
    SELECT customer_id, id, worker_id, 'worker', 'workload.started', $5, 'RUNNING', generation
    FROM moved WHERE $6
    UNION ALL
    SELECT customer_id, id, worker_id, 'worker', 'workload.completed', 'RUNNING', 'COMPLETED',
           generation
    FROM moved
), ended AS (
    DELETE FROM checkpoints USING moved
    WHERE checkpoints.workload_id = moved.id AND moved.checkpoint_seq > 0
), kept AS (
    INSERT INTO results (workload_id, worker_id, generation, duration_ms, output)
    SELECT id, worker_id, generation, duration_ms, output FROM moved
)
SELECT id, created_at, now() AS at,
       (SELECT pg_notify('muster_work', '') FROM moved LIMIT 1),
       (SELECT count(pg_notify('muster_done', ids))
        FROM (SELECT string_agg(id::text, ' ') AS ids
              FROM (SELECT id, row_number() OVER () / 200 AS part FROM moved) AS done
              GROUP BY part) AS told)
FROM moved
"""

_KIND = attrgetter("before", "after", "event", "begun", "reason")


def apt(moves: Sequence[Move], results: Mapping[UUID, Result]) -> bool:
    """Whether moves are of the kind that `complete` stores."""
    if len(results) != len(moves) or not moves or moves[0].after is not State.COMPLETED:
        return False
    kind = _KIND(moves[0])
    return all(_KIND(move) == kind for move in moves) and all(
        result.proof is None for result in results.values()
    )


async def complete(
    connection: Connection,
    moves: Sequence[Move],
    seen: Mapping[UUID, Held],
    results: Mapping[UUID, Result],
) -> list[Moved]:
    """Store results with the ends of their workloads; a transaction of its own outside of any.

    Args:
        moves: as `apt` wants them, at most one of each workload.
        seen: the workloads as they were read without a lock; what has moved since stays as it is
            and is not in the answer.
        results: one for each move.
    """
    ids = sorted((move.id for move in moves), key=attrgetter("bytes"))
    kept = [results[one] for one in ids]
    rows = await connection.fetch(
        _COMPLETED,
        ids,
        [seen[one].generation for one in ids],
        [result.duration_ms for result in kept],
        [result.output for result in kept],
        moves[0].before,
        moves[0].begun,
    )
    return [
        Moved(
            row["id"],
            seen[row["id"]].requirement,
            State.COMPLETED,
            seen[row["id"]].worker_id,
            seen[row["id"]].generation,
            row["created_at"],
            row["at"],
        )
        for row in rows
    ]
