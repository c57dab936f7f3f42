"""The shortest way to the end of work that yields no proof: one statement for many results.

It does what `transitions.apply_seen` does for any moves, without what these moves never need.
"""

from collections.abc import Sequence

from muster_coordinator.engine.model import Held, Moved, Result
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Connection
from muster_coordinator.store.literals import integers, uuids

# What was read without a lock moves only where it is still the same. Rows are locked in the order
# of their ids, which is that of the arguments.
_COMPLETED = """
WITH numbered AS MATERIALIZED (
    SELECT nextval('audit_events_seq') AS started, nextval('audit_events_seq') AS completed
), moved AS (
    UPDATE workloads AS workload SET
        state = 'COMPLETED', lease_expires_at = NULL, completed_at = now(), wish = '',
        started_at = CASE WHEN $6 THEN now() ELSE workload.started_at END,
        input = CASE WHEN workload.keeps_input THEN workload.input END, progress_percent = 100,
        output = done.output, duration_ms = done.duration_ms,
        audit_batches = workload.audit_batches || CASE
            WHEN $6 THEN (SELECT ARRAY[started, completed] FROM numbered)
            ELSE (SELECT ARRAY[completed] FROM numbered) END
    FROM unnest($1::text::uuid[], $2::text::bigint[], $3::text::bigint[], $4::bytea[])
         AS done (id, generation, duration_ms, output)
    WHERE workload.id = done.id AND workload.generation = done.generation AND workload.state = $5
    RETURNING workload.id, workload.customer_id, workload.worker_id, workload.generation,
              workload.checkpoint_seq, workload.duration_ms
), told AS (
    SELECT customer_id, generation, array_agg(id) AS ids, array_agg(worker_id) AS worker_ids
    FROM moved GROUP BY customer_id, generation
), logged AS (
    INSERT INTO audit_batches (seq, customer_id, workload_ids, worker_ids, actor, event, before,
                               after, generation)
    SELECT numbered.started, customer_id, ids, worker_ids, 'worker', 'workload.started', $5,
           'RUNNING', generation
    FROM told CROSS JOIN numbered WHERE $6
    UNION ALL
    SELECT numbered.completed, customer_id, ids, worker_ids, 'worker', 'workload.completed',
           'RUNNING', 'COMPLETED', generation
    FROM told CROSS JOIN numbered
), ended AS (
    DELETE FROM checkpoints USING moved
    WHERE checkpoints.workload_id = moved.id AND moved.checkpoint_seq > 0
), tallied AS (
    INSERT INTO worker_tallies (worker_id, tasks, duration_ms)
    SELECT worker_id, count(*), sum(duration_ms) FROM moved GROUP BY worker_id
)
SELECT now() AS at,
       CASE WHEN (SELECT count(*) FROM moved) < $7
            THEN ARRAY (SELECT id FROM moved) END AS those,
       (SELECT pg_notify('muster_work', '') FROM moved LIMIT 1),
       (SELECT count(pg_notify('muster_done', array_to_string(ids[first : first + 199], ' ')))
        FROM told CROSS JOIN generate_series(1, cardinality(ids), 200) AS first)
"""


async def complete(
    connection: Connection, seen: Sequence[Held], results: Sequence[Result]
) -> list[Moved]:
    """Store results with the ends of their workloads; a transaction of its own outside of any.

    Args:
        seen: the workloads as they were read without a lock, each once, and all in one state; what
            has moved since stays as it is and is not in the answer.
        results: one for each.
    """
    ordered = sorted(zip(seen, results, strict=True), key=lambda one: one[0].id.int)
    state = seen[0].state
    [row] = await connection.fetch(
        _COMPLETED,
        uuids(held.id for held, _ in ordered),
        integers(held.generation for held, _ in ordered),
        integers(result.duration_ms for _, result in ordered),
        [result.output for _, result in ordered],
        state,
        state is State.SCHEDULED,
        len(ordered),
    )
    # Null stands for all.
    moved = None if row["those"] is None else frozenset(row["those"])
    at = row["at"]
    return [
        Moved(
            held.id,
            held.requirement,
            State.COMPLETED,
            held.worker_id,
            held.generation,
            held.created_at,
            at,
            duration_ms=result.duration_ms,
        )
        for held, result in zip(seen, results, strict=True)
        if moved is None or held.id in moved
    ]
