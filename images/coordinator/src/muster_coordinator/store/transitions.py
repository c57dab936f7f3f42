"""The one statement that moves workloads, with their audit events and notifications."""

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from uuid import UUID

import asyncpg

from muster_coordinator.engine.affinity import NO_AFFINITY, Affinity, from_json
from muster_coordinator.engine.model import Held, Move, Moved, Requirement, Result
from muster_coordinator.engine.ports import Recover
from muster_coordinator.engine.states import CLAIMABLE, State, Wish
from muster_coordinator.store.database import Connection

# Most batches are of one kind, whose words need not be sent, and unpacked, for each workload.
_ALIKE = """
WITH move AS (
    SELECT id, worker_id, generation, $6::text AS before, $7::text AS after, $8::text AS event,
           $9::text AS reason, $10::float8 AS lease, $11::float8 AS delay, $12::bool AS retried,
           $13::bool AS redistributed, $14::text AS failed_on, $15::text AS error,
           $16::bool AS begun
    FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS move (id, worker_id, generation)
"""
_DIFFERING = """
WITH move AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::float8[], $11::float8[], $12::bool[], $13::bool[], $14::text[], $15::text[],
        $16::bool[])
    AS move (id, worker_id, generation, before, after, event, reason,
             lease, delay, retried, redistributed, failed_on, error, begun)
"""
_KIND = attrgetter(
    *("before", "after", "event", "reason", "lease", "delay", "retried", "redistributed"),
    *("failed_on", "error", "begun"),
)

# Rows are locked in the order of their ids, as everywhere, against deadlocks. Where a generation is
# given, it was read without a lock, and a row that moved since then stays as it is. Where an epoch
# is given, it holds to the end of the transaction, or nothing moves. Nothing is given to a worker
# that went, or lied, after it was chosen.
_MOVED = """
), locked AS MATERIALIZED (
    SELECT move.*, workload.worker_id AS held_by
    FROM workloads AS workload JOIN move ON workload.id = move.id
    WHERE workload.state = move.before
      AND workload.generation = coalesce(move.generation, workload.generation)
      AND ($5::bigint IS NULL
           OR EXISTS (SELECT FROM leader_epoch WHERE epoch = $5 FOR SHARE))
      AND (move.after <> 'SCHEDULED'
           OR EXISTS (SELECT FROM workers WHERE workers.id = move.worker_id
                      AND workers.status = 'ACTIVE' AND workers.stream_id IS NOT NULL))
    ORDER BY workload.id FOR UPDATE OF workload
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
            WHEN move.after = 'RUNNING' OR move.begun THEN now()
            WHEN move.after IN ('PENDING', 'REDISTRIBUTING', 'SCHEDULED') THEN NULL
            ELSE workload.started_at END,
        completed_at = CASE
            WHEN move.after IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN now() END,
        input = CASE
            WHEN move.after IN ('COMPLETED', 'FAILED', 'CANCELLED') AND NOT workload.keeps_input
            THEN NULL ELSE workload.input END,
        progress_percent = CASE
            WHEN move.after = 'COMPLETED' THEN 100
            WHEN move.after = 'SCHEDULED' AND workload.checkpoint_seq = 0 THEN 0
            ELSE workload.progress_percent END,
        wish = '',
        error = coalesce(move.error, workload.error)
    FROM locked AS move
    WHERE workload.id = move.id
    RETURNING workload.id, workload.customer_id, workload.pool, workload.type, workload.key_id,
              workload.key_version, workload.state, workload.worker_id, workload.generation,
              workload.created_at, workload.checkpoint_seq, workload.watched,
              move.held_by, move.before, move.event, move.reason, move.begun
), logged AS (
    INSERT INTO audit_events (customer_id, workload_id, worker_id, actor, event, before, after,
                              generation, epoch, reason)
    SELECT customer_id, id, worker_id, $4, 'workload.started', before, 'RUNNING',
           generation, $5, ''
    FROM moved WHERE begun
    UNION ALL
    SELECT customer_id, id, coalesce(worker_id, held_by), $4, event,
           CASE WHEN begun THEN 'RUNNING' ELSE before END, state, generation, $5, reason
    FROM moved
), ended AS (
    DELETE FROM checkpoints USING moved
    WHERE checkpoints.workload_id = moved.id AND moved.checkpoint_seq > 0
      AND moved.state IN ('COMPLETED', 'FAILED', 'CANCELLED')
)"""

_PROOFS = """, kept AS (
    INSERT INTO results_apart (workload_id, worker_id, generation, duration_ms, output, proof,
                               encoding, public, merkle_root, key_version, verified)
    SELECT moved.id, moved.worker_id, moved.generation, duration_ms, output, proof, encoding,
           string_to_array(public, ','), coalesce(merkle_root, ''), result.key_version, verified
    FROM unnest($18::uuid[], $19::bigint[], $20::bytea[], $21::bytea[], $22::text[], $23::text[],
                $24::text[], $25::text[], $26::bool[])
         AS result (id, duration_ms, output, proof, encoding, public, merkle_root, key_version,
                    verified)
    JOIN moved ON moved.id = result.id
)"""

_OUTPUTS = """, kept AS (
    INSERT INTO results_apart (workload_id, worker_id, generation, duration_ms, output)
    SELECT moved.id, moved.worker_id, moved.generation, duration_ms, output
    FROM unnest($18::uuid[], $19::bigint[], $20::bytea[]) AS result (id, duration_ms, output)
    JOIN moved ON moved.id = result.id
)"""

# One notification names many workloads, up to the 8000 bytes that it may have; it is sent to every
# replica, and each costs as much as the row it is about.
_RETURNED = """
SELECT id, pool, type, key_id, key_version, state, worker_id, generation, created_at, now() AS at,
       (SELECT pg_notify('muster_work', '') FROM moved
        WHERE state NOT IN ('SCHEDULED', 'RUNNING') LIMIT 1),
       (SELECT count(pg_notify('muster_assigned', worker_id))
        FROM (SELECT DISTINCT worker_id FROM moved WHERE state = 'SCHEDULED') AS given
        WHERE NOT EXISTS (SELECT FROM workers WHERE workers.id = given.worker_id
                          AND workers.replica_id = $17)),
       (SELECT count(pg_notify('muster_orders', held_by))
        FROM (SELECT DISTINCT held_by FROM moved
              WHERE state IN ('CANCELLED', 'REDISTRIBUTING') AND held_by IS NOT NULL) AS taken),
       (SELECT count(pg_notify('muster_done', ids))
        FROM (SELECT string_agg(id::text, ' ') AS ids
              FROM (SELECT id, row_number() OVER () / 200 AS part FROM moved
                    WHERE watched OR state IN ('COMPLETED', 'FAILED', 'CANCELLED')) AS done
              GROUP BY part) AS told)"""

_FROM_MOVED = """
FROM moved
"""

# The commit does not wait for the disk. Only where nobody is told that something is safe: what a
# crash of the database takes with it is an assignment or its beginning, and the work waits again.
_UNHURRIED = """,
       set_config('synchronous_commit', 'off', true)"""

HELD_COLUMNS = """
workload.id, workload.pool, workload.type, workload.key_id, workload.key_version, workload.state,
workload.worker_id, workload.generation, workload.retry_count, workload.max_retries,
workload.redistributions, workload.started_at, workload.timeout_seconds, workload.wish,
workload.customer_id, workload.created_at
"""
"""What `held` reads, of a table or an alias `workload`."""

_READ = f"""
SELECT {HELD_COLUMNS} FROM workloads AS workload WHERE workload.id = ANY ($1::uuid[])
"""

_LOCK = f"""
SELECT {HELD_COLUMNS} FROM workloads AS workload
WHERE workload.id = ANY ($1::uuid[]) ORDER BY workload.id FOR UPDATE
"""

_LOCK_OF_WORKERS = f"""
SELECT {HELD_COLUMNS} FROM workloads AS workload
WHERE workload.worker_id = ANY ($1::text[]) AND workload.state IN ('SCHEDULED', 'RUNNING')
  AND workload.state = ANY ($2::text[])
ORDER BY workload.id FOR UPDATE
"""


@dataclass(frozen=True, slots=True)
class Leading:
    """In which epoch a replica leads.

    Args:
        here: its name, where it tells its own workers itself what they are given.
    """

    epoch: int
    here: str | None = None


def requirement(row: asyncpg.Record) -> Requirement:
    """The requirement in the columns pool, type, key_id and key_version."""
    return _requirement(row["pool"], row["type"], row["key_id"], row["key_version"])


# There are few, and each is read again and again.
_requirement = functools.lru_cache(maxsize=1024)(Requirement)


def affinity_of(row: asyncpg.Record) -> Affinity:
    """The affinity in a column of that name."""
    return from_json(json.loads(row["affinity"])) if row["affinity"] else NO_AFFINITY


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
        row["created_at"],
        row["started_at"],
        row["timeout_seconds"],
        Wish(row["wish"]),
        row["customer_id"],
    )


def after(before: Held, move: Move) -> Held:
    """What `before` is once `move` is stored, as far as further decisions of a batch need it."""
    return Held(
        before.id,
        before.requirement,
        move.after,
        None if move.after in CLAIMABLE else before.worker_id,
        before.generation,
        before.retry_count,
        before.max_retries,
        before.redistributions,
        before.created_at,
        before.started_at,
        before.timeout_seconds,
        Wish.NONE,
        before.customer_id,
    )


async def read(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Held]:
    """Workloads as they are now."""
    return {row["id"]: held(row) for row in await connection.fetch(_READ, list(ids))}


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
    connection: Connection, moves: Sequence[Move], actor: str, leading: Leading | None = None
) -> list[Moved]:
    """Store moves of locked workloads, at most one of each; one statement for all."""
    return await apply_seen(connection, moves, actor, leading=leading)


async def apply_seen(
    connection: Connection,
    moves: Sequence[Move],
    actor: str,
    *,
    leading: Leading | None = None,
    generations: Mapping[UUID, int] | None = None,
    results: Mapping[UUID, Result] | None = None,
    hurried: bool = True,
) -> list[Moved]:
    """Store moves in one statement, which is a transaction of its own outside of any.

    Args:
        leading: the leader that does it; nothing moves where another has followed it.
        generations: of workloads that were read without a lock; what has another one, or another
            state than the move begins with, stays as it is and is not in the answer.
        results: to keep with the moves.
        hurried: False where the commit need not wait for the disk; only outside of a transaction.
    """
    if not moves:
        return []
    arguments: list[object] = [
        [move.id for move in moves],
        [move.worker_id for move in moves],
        [generations[move.id] if generations else None for move in moves],
        actor,
        leading and leading.epoch,
    ]
    kinds = [_KIND(move) for move in moves]
    alike = all(kind == kinds[0] for kind in kinds)
    arguments += kinds[0] if alike else [list(words) for words in zip(*kinds, strict=True)]
    arguments.append(leading and leading.here)
    kept = ""
    if results:
        proofs = any(result.proof is not None for result in results.values())
        kept = _PROOFS if proofs else _OUTPUTS
        arguments += _columns(results, with_proofs=proofs)
    head = _ALIKE if alike else _DIFFERING
    query = head + _MOVED + kept + _RETURNED + ("" if hurried else _UNHURRIED) + _FROM_MOVED
    return [
        Moved(
            row["id"],
            requirement(row),
            State(row["state"]),
            row["worker_id"],
            row["generation"],
            row["created_at"],
            row["at"],
            duration_ms=results[row["id"]].duration_ms if results and row["id"] in results else 0,
        )
        for row in await connection.fetch(query, *arguments)
    ]


def _columns(results: Mapping[UUID, Result], *, with_proofs: bool) -> list[object]:
    columns: list[object] = [
        list(results),
        [result.duration_ms for result in results.values()],
        [result.output for result in results.values()],
    ]
    if with_proofs:
        proofs = [result.proof for result in results.values()]
        columns += [
            [proof and proof.data for proof in proofs],
            [proof and proof.encoding for proof in proofs],
            # Decimal strings, so that a comma is in none of them.
            [proof and ",".join(proof.public) for proof in proofs],
            [proof and proof.merkle_root for proof in proofs],
            [proof and proof.key_version for proof in proofs],
            [proof and proof.verified for proof in proofs],
        ]
    return columns


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
