"""The statements that store new work: as it waits, or together with its first assignment."""

import json
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

import asyncpg

from muster_coordinator.engine.affinity import to_json
from muster_coordinator.engine.customers import Customer, Terms, Tier
from muster_coordinator.engine.model import Assignment, Held, Moved, NewWorkload
from muster_coordinator.engine.scheduling.aging import POINTS_PER_SECOND, rank
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Database
from muster_coordinator.store.literals import numbered, uuids
from muster_coordinator.store.transitions import Leading
from muster_coordinator.store.witnesses import Witnesses

# Most batches are of one kind, whose words need not be sent, and unpacked, for each workload.
_ALIKE = """
    SELECT id, input, $3::text AS customer_id, $4::text AS type, $5::text AS pool,
           $6::text AS key_id, $7::text AS key_version, $8::int AS priority, $9::float8 AS rank,
           $10::int AS max_retries, $11::text AS request_id, $12::text AS traceparent,
           $13::timestamptz AS deadline, $14::float8 AS wait, $15::float8 AS timeout,
           $16::jsonb AS affinity, $17::bool AS particular, $18::uuid AS config_id,
           $19::bool AS keeps_input{name}
    FROM unnest($1::text::uuid[], $2::bytea[]{array}) AS new (id, input{name})
"""
_DIFFERING = """
    SELECT * FROM unnest(
        $1::text::uuid[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::int[], $9::float8[], $10::int[], $11::text[], $12::text[], $13::timestamptz[],
        $14::float8[], $15::float8[], $16::jsonb[], $17::bool[], $18::uuid[], $19::bool[]{array})
    AS new (id, input, customer_id, type, pool, key_id, key_version, priority, rank, max_retries,
            request_id, traceparent, deadline, wait, timeout, affinity, particular, config_id,
            keeps_input{name})
"""
_COLUMNS = """
id, customer_id, type, pool, key_id, key_version, priority, rank, input, max_retries, request_id,
traceparent, deadline_at, timeout_seconds, affinity, particular, config_id, keeps_input
"""
_VALUES = f"""
new.id, customer_id, type, pool, key_id, key_version, priority,
rank - {POINTS_PER_SECOND} * date_part('epoch', now()), input, max_retries, request_id,
traceparent, coalesce(deadline, now() + make_interval(secs => wait)), timeout, affinity,
particular, config_id, keeps_input
"""
_SUBMIT = f"""
WITH new AS ({{new}}), numbered AS MATERIALIZED (
    SELECT nextval('audit_events_seq') AS submitted
), submitted AS (
    INSERT INTO workloads ({_COLUMNS}, audit_batches)
    SELECT {_VALUES}, ARRAY[(SELECT submitted FROM numbered)] FROM new
    RETURNING id, customer_id
), logged AS (
    INSERT INTO audit_batches (seq, customer_id, workload_ids, actor, event, after, generation)
    SELECT numbered.submitted, customer_id, array_agg(id), 'customer:' || customer_id,
           'workload.submitted', 'PENDING', 0
    FROM submitted CROSS JOIN numbered GROUP BY numbered.submitted, customer_id
)
SELECT pg_notify('muster_work', '')
"""

# Two steps in one. What was meant for a worker that went, or by a leader that was followed, waits
# like any other; the epoch that held holds to the end of the transaction. Workers are named once
# and chosen by their numbers; what is left when there are no more of these waits, too.
_HAND_OVER = f"""
WITH new AS ({{new}}), able AS MATERIALIZED (
    SELECT id AS worker_id, number, replica_id
    FROM unnest($20::text[]) WITH ORDINALITY AS named (id, number) JOIN workers USING (id)
    WHERE status = 'ACTIVE' AND stream_id IS NOT NULL
      AND EXISTS (SELECT FROM leader_epoch WHERE epoch = $22 FOR SHARE)
), numbered AS MATERIALIZED (
    SELECT nextval('audit_events_seq') AS submitted, nextval('audit_events_seq') AS scheduled
), submitted AS (
    INSERT INTO workloads ({_COLUMNS}, state, generation, worker_id, scheduled_at,
                           lease_expires_at, audit_batches)
    SELECT {_VALUES},
           CASE WHEN able.worker_id IS NULL THEN 'PENDING' ELSE 'SCHEDULED' END,
           (able.worker_id IS NOT NULL)::int, able.worker_id,
           CASE WHEN able.worker_id IS NOT NULL THEN now() END,
           CASE WHEN able.worker_id IS NOT NULL THEN now() + make_interval(secs => $23) END,
           CASE WHEN able.worker_id IS NULL THEN ARRAY[(SELECT submitted FROM numbered)]
                ELSE (SELECT ARRAY[submitted, scheduled] FROM numbered) END
    FROM new LEFT JOIN able ON able.number = new.chosen
    RETURNING id, customer_id, worker_id
), told AS (
    SELECT customer_id, array_agg(id) AS ids,
           array_agg(id) FILTER (WHERE worker_id IS NOT NULL) AS given,
           array_agg(worker_id) FILTER (WHERE worker_id IS NOT NULL) AS worker_ids
    FROM submitted GROUP BY customer_id
), logged AS (
    INSERT INTO audit_batches (seq, customer_id, workload_ids, worker_ids, actor, event, before,
                               after, generation, epoch)
    SELECT numbered.submitted, customer_id, ids, NULL, 'customer:' || customer_id,
           'workload.submitted', NULL, 'PENDING', 0, NULL::bigint
    FROM told CROSS JOIN numbered
    UNION ALL
    SELECT numbered.scheduled, customer_id, given, worker_ids, 'leader', 'workload.scheduled',
           'PENDING', 'SCHEDULED', 1, $22
    FROM told CROSS JOIN numbered WHERE given IS NOT NULL
)
SELECT now() AS at,
       (SELECT array_agg(id) FROM submitted WHERE worker_id IS NULL) AS waiting,
       (SELECT pg_notify('muster_work', '') FROM submitted WHERE worker_id IS NULL LIMIT 1),
       (SELECT count(pg_notify('muster_assigned', worker_id)) FROM able
        WHERE replica_id IS DISTINCT FROM $24)
"""


def _statements(query: str, array: str = "", name: str = "") -> tuple[str, str]:
    """A query for batches of one kind, and for others."""
    heads = (head.format(array=array, name=name) for head in (_ALIKE, _DIFFERING))
    alike, differing = (query.format(new=head) for head in heads)
    return alike, differing


_SUBMITS = _statements(_SUBMIT)
_HAND_OVERS = _statements(_HAND_OVER, ", $21::text::bigint[]", ", chosen")

_KIND = attrgetter(
    *("customer_id", "requirement", "priority", "weight", "max_retries", "request_id"),
    *("traceparent", "deadline", "wait_seconds", "timeout_seconds", "affinity", "config_id"),
    "keeps_input",
)


def submission(
    batch: Sequence[NewWorkload], witnesses: Witnesses
) -> tuple[str, tuple[object, ...]]:
    """The statement that stores a batch, and its arguments."""
    return _with_arguments(_SUBMITS, batch, witnesses)


async def submit(database: Database, witnesses: Witnesses, batch: Sequence[NewWorkload]) -> None:
    """Store a batch; nothing where it is stored already."""
    query, arguments = submission(batch, witnesses)
    await _once(database, query, *arguments)


async def hand_over(
    database: Database,
    witnesses: Witnesses,
    batch: Sequence[NewWorkload],
    workers: Sequence[str],
    leading: Leading,
    lease: float,
) -> list[Moved]:
    """Store a batch, and that its first have these workers, for `lease` seconds; what they got."""
    query, arguments = _with_arguments(_HAND_OVERS, batch, witnesses)
    leader = (leading.epoch, lease, leading.here)
    row = await _once(database, query, *arguments, *numbered(workers), *leader)
    if row is None:
        return []
    waiting = frozenset(row["waiting"] or ())
    return [
        _given(one, worker_id, row["at"])
        for one, worker_id in zip(batch, workers, strict=False)
        if not (waiting and one.id in waiting)
    ]


async def _once(database: Database, query: str, *arguments: object) -> asyncpg.Record | None:
    """The row of a statement that stores a batch; None where it is stored already.

    A batch is stored as a whole under ids that are its own, so whoever finds one of them finds all:
    it was stored by an attempt whose answer was lost.
    """
    try:
        return await database.fetchrow(query, *arguments)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "workloads_pkey":
            raise
        return None


def customer_terms(tier: str | None, max_concurrent: int | None) -> Terms:
    """What holds for a customer; one that was never stored has the rights of the lowest tier."""
    return Customer("", tier=Tier(tier or Tier.FREE), max_concurrent=max_concurrent).terms


def _given(one: NewWorkload, worker_id: str, at: datetime) -> Moved:
    assignment = Assignment(
        one.id,
        worker_id,
        one.requirement,
        1,
        one.input,
        at,
        one.traceparent,
        one.customer_id,
        round((one.timeout_seconds or 0) * 1000),
    )
    held = Held(
        one.id,
        one.requirement,
        State.SCHEDULED,
        worker_id,
        1,
        0,
        one.max_retries,
        0,
        at,
        timeout_seconds=one.timeout_seconds,
        customer_id=one.customer_id,
    )
    return Moved(one.id, one.requirement, State.SCHEDULED, worker_id, 1, at, at, assignment, held)


def _with_arguments(
    statements: tuple[str, str], batch: Sequence[NewWorkload], witnesses: Witnesses
) -> tuple[str, tuple[object, ...]]:
    alike, differing = statements
    ids = uuids(one.id for one in batch)
    inputs = [witnesses.seal(one.id, one.input) for one in batch]
    kind = _KIND(batch[0])
    if all(_KIND(one) == kind for one in batch):
        return alike, (ids, inputs, *_words(batch[0]))
    columns = zip(*(_words(one) for one in batch), strict=True)
    return differing, (ids, inputs, *(list(column) for column in columns))


def _words(one: NewWorkload) -> tuple[object, ...]:
    """What a statement is told of a workload, beside its id and its input."""
    return (
        one.customer_id,
        one.requirement.type,
        one.requirement.pool,
        one.requirement.key_id,
        one.requirement.key_version,
        one.priority,
        rank(one.priority, 0.0, one.weight),
        one.max_retries,
        one.request_id,
        one.traceparent,
        one.deadline,
        one.wait_seconds,
        one.timeout_seconds,
        json.dumps(to_json(one.affinity)) if one.affinity else None,
        bool(one.affinity.hard or one.affinity.anti),
        one.config_id,
        one.keeps_input,
    )
