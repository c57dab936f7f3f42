"""What only the leader writes, each write fenced by its epoch; see `engine.ports.LeaderStore`."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import asyncpg

from muster_coordinator.engine.errors import StaleEpoch
from muster_coordinator.engine.model import Held, Holding, Move, Moved, NewWorkload
from muster_coordinator.engine.ports import Expire, HealthLimits, Recover, Sight
from muster_coordinator.engine.scheduling import Candidate, Lane, Placement, Waiting
from muster_coordinator.engine.states import State, WorkerStatus
from muster_coordinator.store import cleaning, submissions, waiting
from muster_coordinator.store.assignments import assignment_of
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.giving import give
from muster_coordinator.store.transitions import (
    HELD_COLUMNS,
    Leading,
    apply,
    apply_seen,
    held,
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

_NO_HEARTBEAT = "greatest(last_heartbeat_at, {since}) < now() - {seconds}::interval"

_SILENT = f"""
WITH silent AS (
    SELECT id, status AS before FROM workers
    WHERE status = ANY ($1::text[]) AND {_NO_HEARTBEAT.format(since="$3", seconds="$4")}
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

_ITS_REPLICA_IS_SILENT = """
replica_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM replicas WHERE replicas.id = workers.replica_id
    AND greatest(replicas.last_seen_at, {since}) >= now() - {seconds}::interval)
"""

_END_STREAMS_OF_SILENT_REPLICAS = f"""
UPDATE workers SET stream_id = NULL, replica_id = NULL, stream_lost_at = now()
WHERE {_ITS_REPLICA_IS_SILENT.format(since="$1", seconds="$2")}
"""

_LOST = """
FROM workloads AS workload LEFT JOIN workers AS worker ON worker.id = workload.worker_id
WHERE workload.state IN ('SCHEDULED', 'RUNNING') AND (
    worker.id IS NULL
    OR worker.status NOT IN ('ACTIVE', 'DRAINING')
    OR workload.lease_expires_at < now()
    OR (worker.stream_id IS NULL AND (
        workload.state = 'SCHEDULED'
        OR greatest(worker.stream_lost_at, worker.last_heartbeat_at) < now() - {grace}::interval)))
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
{_LOST.format(grace="$1")}
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

_LATE = "state IN ('PENDING', 'REDISTRIBUTING') AND deadline_at <= now()"

_EXPIRED = f"""
SELECT {HELD_COLUMNS}, deadline_at FROM workloads AS workload
WHERE {_LATE}
ORDER BY deadline_at LIMIT 1000
FOR UPDATE SKIP LOCKED
"""

_SERVED = "status = 'QUARANTINED' AND quarantined_until < now()"

_RELEASE = f"""
WITH released AS (
    UPDATE workers SET status = 'ACTIVE', status_reason = 'quarantine is over',
                       status_changed_at = now(), quarantined_until = NULL
    WHERE {_SERVED} RETURNING id
), logged AS (
    INSERT INTO audit_events (worker_id, actor, event, before, after, epoch, reason)
    SELECT id, 'leader', 'worker.status', 'QUARANTINED', 'ACTIVE', $1, 'quarantine is over'
    FROM released
)
SELECT id, pg_notify('muster_work', 'workers') FROM released
"""

# Nearly always there is nothing, and then nothing is locked, and no journal waited for.
_AMISS = f"""
SELECT epoch, holder,
       EXISTS (SELECT FROM workers
               WHERE status = 'ACTIVE' AND {_NO_HEARTBEAT.format(since="$1", seconds="$2")})
       OR EXISTS (SELECT FROM workers WHERE status IN ('SUSPECT', 'DRAINING')
                  AND {_NO_HEARTBEAT.format(since="$1", seconds="$3")})
       OR EXISTS (SELECT FROM workers
                  WHERE {_ITS_REPLICA_IS_SILENT.format(since="$1", seconds="$4")})
       OR EXISTS (SELECT {_LOST.format(grace="$5")})
       OR EXISTS (SELECT FROM workloads WHERE {_LATE})
       OR EXISTS (SELECT FROM workers WHERE {_SERVED}) AS amiss
FROM leader_epoch
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
        return await waiting.kinds(self._database)

    async def assign(
        self,
        epoch: int,
        lanes: Sequence[Lane],
        place: Callable[[Sequence[Candidate]], Sequence[Placement]],
        lease: float,
    ) -> list[Moved]:
        """See `LeaderStore.assign`."""
        rows = await waiting.in_lanes(self._database, lanes)
        placements = place([waiting.candidate(row) for row in rows])
        return await self._give(epoch, placements, rows, lease)

    async def assign_few(
        self,
        epoch: int,
        most: int,
        place: Callable[[Sight], Awaitable[Sequence[Placement]]],
        lease: float,
    ) -> list[Moved] | None:
        """See `LeaderStore.assign_few`."""
        found = await waiting.few(self._database, most)
        if found is None:
            return None
        sight, rows = found
        if not rows:
            return []
        return await self._give(epoch, await place(sight), rows, lease)

    async def vacant(self, one: NewWorkload) -> tuple[Waiting, Holding] | None:
        """See `LeaderStore.vacant`."""
        return await waiting.vacant(self._database, one)

    async def hand_over(
        self, epoch: int, batch: Sequence[NewWorkload], workers: Sequence[str], lease: float
    ) -> list[Moved]:
        """See `LeaderStore.hand_over`."""
        leading = Leading(epoch, self._here)
        return await submissions.hand_over(
            self._database, self._witnesses, batch, workers, leading, lease
        )

    async def _give(
        self,
        epoch: int,
        placements: Sequence[Placement],
        rows: Sequence[asyncpg.Record],
        lease: float,
    ) -> list[Moved]:
        """Schedule what was placed, as far as it still is as in `rows`."""
        moves = [_scheduled(placement, lease) for placement in placements]
        if not moves:
            return []
        seen = {row["id"]: row for row in rows}
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
                row["created_at"],
                timeout_seconds=row["timeout_seconds"],
                customer_id=row["customer_id"],
            ),
        )

    async def amiss(self, epoch: int, since: datetime, limits: HealthLimits) -> bool:
        """See `LeaderStore.amiss`."""
        seconds = (limits.suspect, limits.dead, limits.replica, limits.grace)
        row = await self._database.fetchrow(
            _AMISS, since, *(timedelta(seconds=one) for one in seconds)
        )
        _same_epoch(row, epoch)
        return row is not None and bool(row["amiss"])

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
    _same_epoch(
        await connection.fetchrow("SELECT epoch, holder FROM leader_epoch FOR SHARE"), epoch
    )


def _same_epoch(row: asyncpg.Record | None, epoch: int) -> None:
    if row is None or row["epoch"] != epoch:
        found = f"epoch {row['epoch']} of {row['holder']}" if row else "none"
        raise StaleEpoch(f"epoch {epoch} is over: {found}")


def _scheduled(placement: Placement, lease: float) -> Move:
    return Move(
        placement.candidate.id,
        placement.candidate.state,
        State.SCHEDULED,
        "workload.scheduled",
        worker_id=placement.worker_id,
        lease=lease,
    )
