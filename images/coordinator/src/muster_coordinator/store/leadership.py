"""What only the leader writes, each write fenced by its epoch; see `engine.ports.LeaderStore`."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from muster_coordinator.engine.errors import StaleEpoch
from muster_coordinator.engine.model import Held, Move, Moved, NewWorkload, Requirement
from muster_coordinator.engine.ports import Expire, HealthLimits, Recover
from muster_coordinator.engine.scheduling import Candidate, Lane, Placement, Waiting
from muster_coordinator.engine.states import State, WorkerStatus
from muster_coordinator.store import cleaning, submissions
from muster_coordinator.store.assignments import assignment_of
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.giving import give
from muster_coordinator.store.submissions import customer_terms
from muster_coordinator.store.transitions import (
    HELD_COLUMNS,
    Leading,
    affinity_of,
    apply,
    apply_seen,
    held,
    requirement,
)
from muster_coordinator.store.witnesses import Unreadable, Witnesses

_TAKE_EPOCH = """
WITH taken AS (
    UPDATE leader_epoch SET epoch = epoch + 1, holder = $1, taken_at = now() RETURNING epoch
), logged AS (
    INSERT INTO audit_events (actor, event, epoch)
    SELECT 'leader:' || $1, 'leader.elected', epoch FROM taken
)
SELECT epoch, now() AS at FROM taken
"""

_FENCED = """
INSERT INTO audit_events (actor, event, epoch, reason)
SELECT 'leader:' || $1, 'leader.fenced', $2::bigint,
       'epoch ' || epoch || ' of ' || holder || ' is newer'
FROM leader_epoch
"""

# Jumps from one kind to the next through the index, however much waits in each.
_WAITING = """
WITH RECURSIVE kind AS (
    (SELECT pool, type, key_id, key_version, customer_id, particular FROM workloads
     WHERE state IN ('PENDING', 'REDISTRIBUTING')
     ORDER BY pool, type, key_id, key_version, customer_id, particular LIMIT 1)
    UNION ALL
    SELECT following.* FROM kind CROSS JOIN LATERAL (
        SELECT pool, type, key_id, key_version, customer_id, particular FROM workloads
        WHERE state IN ('PENDING', 'REDISTRIBUTING')
          AND (pool, type, key_id, key_version, customer_id, particular)
              > (kind.pool, kind.type, kind.key_id, kind.key_version, kind.customer_id,
                 kind.particular)
        ORDER BY pool, type, key_id, key_version, customer_id, particular LIMIT 1
    ) AS following
)
SELECT kind.*, customers.tier, customers.max_concurrent
FROM kind LEFT JOIN customers ON customers.id = kind.customer_id
"""

# What no free worker should get, as all of them failed it before, is left to a busy one.
_CANDIDATES = """
SELECT candidate.* FROM jsonb_to_recordset($1::jsonb) AS lane (
    need int, customer_id text, particular bool, room int)
JOIN jsonb_to_recordset($2::jsonb) AS need (
    number int, pool text, type text, key_id text, key_version text, free text[], able text[])
    ON need.number = lane.need
CROSS JOIN LATERAL (
    SELECT id, pool, type, key_id, key_version, state, excluded_workers, rank, generation,
           customer_id, affinity, created_at, traceparent, timeout_seconds,
           retry_count, max_retries, redistributions,
           retry_count + redistributions + 1 AS attempt,
           -- What is small can go to its worker without another look.
           CASE WHEN checkpoint_seq = 0 AND octet_length(input) <= 4096 THEN input END AS input
    FROM workloads
    WHERE pool = need.pool AND type = need.type
      AND key_id = need.key_id AND key_version = need.key_version
      AND customer_id = lane.customer_id AND particular = lane.particular
      AND state IN ('PENDING', 'REDISTRIBUTING') AND not_before <= now()
      AND (deadline_at IS NULL OR deadline_at > now())
      AND (excluded_workers = '{}' OR NOT excluded_workers @> need.free
           OR excluded_workers @> need.able)
    ORDER BY rank DESC, id LIMIT lane.room
) AS candidate
ORDER BY candidate.rank DESC, candidate.id
"""

_SILENT = """
WITH silent AS (
    SELECT id, status AS before FROM workers
    WHERE status = ANY ($1::text[]) AND greatest(last_heartbeat_at, $3) < now() - $4::interval
    ORDER BY id FOR UPDATE
), marked AS (
    UPDATE workers SET status = $2, status_reason = 'no heartbeat', status_changed_at = now()
    FROM silent WHERE workers.id = silent.id
    RETURNING workers.id, silent.before, workers.status
), logged AS (
    INSERT INTO audit_events (worker_id, actor, event, before, after, epoch, reason)
    SELECT id, 'leader', 'worker.status', before, status, $5, 'no heartbeat' FROM marked
)
SELECT id, status FROM marked
"""

_END_STREAMS_OF_SILENT_REPLICAS = """
UPDATE workers SET stream_id = NULL, replica_id = NULL, stream_lost_at = now()
WHERE replica_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM replicas WHERE replicas.id = workers.replica_id
    AND greatest(replicas.last_seen_at, $1) >= now() - $2::interval)
"""

# Not locked: a lock would be taken on what a row has become meanwhile, beside the worker that held
# it before. What moved since it was read here is left alone.
_ORPHANS = f"""
SELECT {HELD_COLUMNS},
       CASE WHEN worker.id IS NULL THEN 'it left'
            WHEN worker.status NOT IN ('ACTIVE', 'DRAINING') THEN 'it is ' || worker.status
            WHEN workload.lease_expires_at < now() THEN 'it took longer than allowed'
            ELSE 'the stream to it ended' END AS reason,
       workload.lease_expires_at < now() AS stuck
FROM workloads AS workload LEFT JOIN workers AS worker ON worker.id = workload.worker_id
WHERE workload.state IN ('SCHEDULED', 'RUNNING') AND (
    worker.id IS NULL
    OR worker.status NOT IN ('ACTIVE', 'DRAINING')
    OR workload.lease_expires_at < now()
    OR (worker.stream_id IS NULL AND (
        workload.state = 'SCHEDULED'
        OR greatest(worker.stream_lost_at, worker.last_heartbeat_at) < now() - $1::interval)))
ORDER BY workload.id LIMIT 1000
"""

_SUSPECT = """
WITH suspected AS (
    UPDATE workers SET status = 'SUSPECT', status_reason = 'a task took longer than allowed',
                       status_changed_at = now()
    WHERE id = ANY ($1::text[]) AND status = 'ACTIVE' RETURNING id
)
INSERT INTO audit_events (worker_id, actor, event, before, after, epoch, reason)
SELECT id, 'leader', 'worker.status', 'ACTIVE', 'SUSPECT', $2, 'a task took longer than allowed'
FROM suspected
"""

_EXPIRED = f"""
SELECT {HELD_COLUMNS}, deadline_at FROM workloads AS workload
WHERE state IN ('PENDING', 'REDISTRIBUTING') AND deadline_at <= now()
ORDER BY deadline_at LIMIT 1000
FOR UPDATE SKIP LOCKED
"""

_RELEASE = """
WITH released AS (
    UPDATE workers SET status = 'ACTIVE', status_reason = 'quarantine is over',
                       status_changed_at = now(), quarantined_until = NULL
    WHERE status = 'QUARANTINED' AND quarantined_until < now() RETURNING id
), logged AS (
    INSERT INTO audit_events (worker_id, actor, event, before, after, epoch, reason)
    SELECT id, 'leader', 'worker.status', 'QUARANTINED', 'ACTIVE', $1, 'quarantine is over'
    FROM released
)
SELECT id, pg_notify('muster_work', '') FROM released
"""


class PostgresLeadership:
    """Implements `engine.ports.LeaderStore`.

    Args:
        here: this replica, which tells its own workers itself what they are given.
    """

    def __init__(
        self, database: Database, witnesses: Witnesses | None = None, here: str | None = None
    ) -> None:
        self._database = database
        self._witnesses = witnesses or Witnesses()
        self._here = here

    async def take_epoch(self, holder: str) -> tuple[int, datetime]:
        """See `LeaderStore.take_epoch`."""

        async def take(connection: Connection) -> tuple[int, datetime]:
            rows = await connection.fetch(_TAKE_EPOCH, holder)
            return rows[0]["epoch"], rows[0]["at"]

        return await self._database.run(take)

    async def epoch(self) -> int:
        """See `LeaderStore.epoch`."""
        rows = await self._database.fetch("SELECT epoch FROM leader_epoch")
        epoch: int = rows[0]["epoch"]
        return epoch

    async def fenced(self, epoch: int, holder: str) -> None:
        """See `LeaderStore.fenced`."""
        await self._database.fetch(_FENCED, holder, epoch)

    async def now(self) -> datetime:
        """See `LeaderStore.now`."""
        rows = await self._database.fetch("SELECT now() AS at")
        at: datetime = rows[0]["at"]
        return at

    async def waiting(self) -> list[Waiting]:
        """See `LeaderStore.waiting`."""
        kinds = []
        for row in await self._database.fetch(_WAITING):
            terms = customer_terms(row["tier"], row["max_concurrent"])
            kinds.append(
                Waiting(
                    requirement(row),
                    row["customer_id"],
                    row["particular"],
                    terms.weight,
                    terms.max_concurrent,
                )
            )
        return kinds

    async def assign(
        self,
        epoch: int,
        lanes: Sequence[Lane],
        place: Callable[[Sequence[Candidate]], Sequence[Placement]],
        lease: float,
    ) -> list[Moved]:
        """See `LeaderStore.assign`."""
        rows = await self._database.fetch(_CANDIDATES, *_lanes(lanes))
        candidates = [
            Candidate(
                row["id"],
                requirement(row),
                State(row["state"]),
                frozenset(row["excluded_workers"]),
                row["customer_id"],
                affinity_of(row),
            )
            for row in rows
        ]
        seen = {row["id"]: row for row in rows}
        moves = [_scheduled(placement, lease) for placement in place(candidates)]
        if not moves:
            return []

        leading = Leading(epoch, self._here)

        async def store(connection: Connection) -> list[Moved]:
            if all(move.before is State.PENDING for move in moves):
                return await give(connection, moves, seen, leading)
            return await apply_seen(
                connection,
                moves,
                "leader",
                leading=leading,
                generations={one: row["generation"] for one, row in seen.items()},
                hurried=False,
            )

        moved = {one.id: one for one in await self._database.single(store)}
        if not moved:
            await self._database.run(lambda connection: fence(connection, epoch))
        # In the order of the queue, as their workers are to have them.
        return [
            self._with_assignment(moved[move.id], seen[move.id])
            for move in moves
            if move.id in moved
        ]

    async def vacant(self, one: NewWorkload) -> Waiting | None:
        """See `LeaderStore.vacant`."""
        return await submissions.vacant(self._database, one)

    async def hand_over(
        self, epoch: int, batch: Sequence[NewWorkload], chosen: Mapping[UUID, str], lease: float
    ) -> list[Moved]:
        """See `LeaderStore.hand_over`."""
        leading = Leading(epoch, self._here)
        return await submissions.hand_over(
            self._database, self._witnesses, batch, chosen, leading, lease
        )

    def _with_assignment(self, moved: Moved, row: asyncpg.Record) -> Moved:
        """With what its worker is to be sent and judged by, where that was read already."""
        if row["input"] is None or moved.worker_id is None:
            return moved
        try:
            witness = self._witnesses.open(moved.id, row["input"])
        except Unreadable:
            # Whoever delivers it says so.
            return moved
        assignment = assignment_of(row, moved.worker_id, moved.generation, witness)
        return Moved(
            moved.id,
            moved.requirement,
            moved.after,
            moved.worker_id,
            moved.generation,
            moved.created_at,
            moved.at,
            assignment,
            Held(
                moved.id,
                moved.requirement,
                moved.after,
                moved.worker_id,
                moved.generation,
                row["retry_count"],
                row["max_retries"],
                row["redistributions"],
                timeout_seconds=row["timeout_seconds"],
                customer_id=row["customer_id"],
            ),
        )

    async def judge_workers(
        self, epoch: int, limits: HealthLimits, since: datetime
    ) -> list[tuple[str, WorkerStatus]]:
        """See `LeaderStore.judge_workers`."""
        steps = (
            ([WorkerStatus.ACTIVE], WorkerStatus.SUSPECT, limits.suspect),
            ([WorkerStatus.SUSPECT, WorkerStatus.DRAINING], WorkerStatus.DEAD, limits.dead),
        )

        async def judge(connection: Connection) -> list[tuple[str, WorkerStatus]]:
            await fence(connection, epoch)
            changed = []
            for before, status, seconds in steps:
                rows = await connection.fetch(
                    _SILENT, before, status, since, timedelta(seconds=seconds), epoch
                )
                changed += [(row["id"], status) for row in rows]
            return changed

        return await self._database.run(judge)

    async def recover(
        self, epoch: int, since: datetime, limits: HealthLimits, recover: Recover
    ) -> list[Moved]:
        """See `LeaderStore.recover`."""

        async def run(connection: Connection) -> list[Moved]:
            await fence(connection, epoch)
            await connection.execute(
                _END_STREAMS_OF_SILENT_REPLICAS, since, timedelta(seconds=limits.replica)
            )
            rows = await connection.fetch(_ORPHANS, timedelta(seconds=limits.grace))
            stuck = {
                row["worker_id"] for row in rows if row["stuck"] and row["state"] == State.RUNNING
            }
            if stuck:
                await connection.execute(_SUSPECT, sorted(stuck), epoch)
            moves = [recover(held(row), row["reason"]) for row in rows]
            generations = {row["id"]: row["generation"] for row in rows}
            return await apply_seen(
                connection, moves, "leader", leading=Leading(epoch), generations=generations
            )

        return await self._database.run(run)

    async def expire(self, epoch: int, expire: Expire) -> list[Moved]:
        """See `LeaderStore.expire`."""

        async def run(connection: Connection) -> list[Moved]:
            await fence(connection, epoch)
            rows = await connection.fetch(_EXPIRED)
            moves = [expire(held(row), row["deadline_at"]) for row in rows]
            return await apply(connection, moves, "leader", Leading(epoch))

        return await self._database.run(run)

    async def release(self, epoch: int) -> list[str]:
        """See `LeaderStore.release`."""

        async def release(connection: Connection) -> list[str]:
            await fence(connection, epoch)
            return [row["id"] for row in await connection.fetch(_RELEASE, epoch)]

        return await self._database.run(release)

    async def retire(self, epoch: int, seconds: float, most: int) -> int:
        """See `LeaderStore.retire`."""

        async def retire(connection: Connection) -> int:
            await fence(connection, epoch)
            return await cleaning.retire(connection, seconds, most)

        return await self._database.run(retire)

    async def maintain(self, epoch: int, limits: HealthLimits) -> None:
        """See `LeaderStore.maintain`."""

        async def maintain(connection: Connection) -> None:
            await fence(connection, epoch)
            await cleaning.forget(connection, limits.forgotten, epoch)

        await self._database.run(maintain)
        await cleaning.make_audit_months(self._database)


async def fence(connection: Connection, epoch: int) -> None:
    """Hold the epoch until the end of the transaction, so that no later one begins within it.

    Raises:
        StaleEpoch: a newer one has begun.
    """
    row = await connection.fetchrow("SELECT epoch, holder FROM leader_epoch FOR SHARE")
    if row is None or row["epoch"] != epoch:
        found = f"epoch {row['epoch']} of {row['holder']}" if row else "none"
        raise StaleEpoch(f"epoch {epoch} is over: {found}")


def _lanes(lanes: Sequence[Lane]) -> tuple[str, str]:
    """The arguments of `_CANDIDATES`: lanes, and what those of one need have in common."""
    numbers: dict[Requirement, int] = {}
    needs: list[dict[str, object]] = []
    for lane in lanes:
        if lane.need not in numbers:
            number = numbers[lane.need] = len(needs)
            common = asdict(lane.need) | {"number": number, "free": lane.free, "able": lane.able}
            needs.append(common)
    requested = [
        {
            "need": numbers[lane.need],
            "customer_id": lane.waiting.customer_id,
            "particular": lane.waiting.particular,
            "room": lane.room,
        }
        for lane in lanes
    ]
    return json.dumps(requested), json.dumps(needs)


def _scheduled(placement: Placement, lease: float) -> Move:
    return Move(
        placement.candidate.id,
        placement.candidate.state,
        State.SCHEDULED,
        "workload.scheduled",
        worker_id=placement.worker_id,
        lease=lease,
    )
