"""Workloads on their way through workers; see `engine.ports.AssignmentStore`."""

import logging
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import asyncpg

from muster_coordinator.engine.errors import EngineError, Fenced
from muster_coordinator.engine.model import (
    Assignment,
    Cancel,
    Checkpoint,
    Claim,
    Held,
    Move,
    Moved,
    Pause,
    Result,
)
from muster_coordinator.engine.ports import Decide, Deliverable, Orders, Recover, Statement
from muster_coordinator.engine.states import HELD, State
from muster_coordinator.store.completing import complete
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.fenced import leave_traces
from muster_coordinator.store.transitions import (
    HELD_COLUMNS,
    after,
    apply_seen,
    held,
    lock,
    move_held,
    read,
    requirement,
)
from muster_coordinator.store.witnesses import Unreadable, Witnesses

log = logging.getLogger(__name__)

_DELIVERABLE = """
SELECT workload.id, workload.worker_id, workload.pool, workload.type, workload.key_id,
       workload.key_version, workload.generation, workload.created_at, workload.traceparent,
       workload.customer_id, workload.timeout_seconds,
       workload.retry_count + workload.redistributions + 1 AS attempt,
       known.id IS NOT NULL AS known,
       CASE WHEN known.id IS NULL THEN workload.input END AS input,
       checkpoint.seq, checkpoint.data AS checkpoint
FROM workloads AS workload
LEFT JOIN unnest($2::uuid[], $3::bigint[]) AS known (id, generation)
       ON known.id = workload.id AND known.generation = workload.generation
LEFT JOIN checkpoints AS checkpoint
       ON known.id IS NULL AND workload.checkpoint_seq > 0
      AND checkpoint.workload_id = workload.id AND checkpoint.seq = workload.checkpoint_seq
WHERE workload.worker_id = ANY ($1::text[]) AND workload.state IN ('SCHEDULED', 'RUNNING')
  AND workload.state = 'SCHEDULED'
ORDER BY workload.rank DESC, workload.id
"""

# What is still a worker's own, what it has lost, what it should do. Of work that ended, or rests,
# by its worker's own report there is nothing to tell.
_ORDERS = """
SELECT 'held' AS what, given.worker_id, given.id, given.generation
FROM unnest($2::uuid[], $3::text[], $4::bigint[]) AS given (id, worker_id, generation)
JOIN workloads AS workload ON workload.id = given.id
WHERE workload.state IN ('SCHEDULED', 'RUNNING') AND workload.worker_id = given.worker_id
  AND given.generation IN (0, workload.generation)
UNION ALL
SELECT 'cancel', given.worker_id, given.id, given.generation
FROM unnest($2::uuid[], $3::text[], $4::bigint[]) AS given (id, worker_id, generation)
JOIN workloads AS workload ON workload.id = given.id
WHERE NOT (workload.worker_id IS NOT DISTINCT FROM given.worker_id
           AND given.generation IN (0, workload.generation) AND workload.state <> 'CANCELLED')
UNION ALL
SELECT 'pause', worker_id, id, generation FROM workloads
WHERE worker_id = ANY ($1::text[]) AND state IN ('SCHEDULED', 'RUNNING')
  AND state = 'RUNNING' AND wish = 'pause'
UNION ALL
SELECT 'drain', id, NULL, NULL FROM workers WHERE id = ANY ($1::text[]) AND status = 'DRAINING'
"""

# What keeps its input needs none for its acceptance.
_STATEMENTS = f"""
SELECT {HELD_COLUMNS}, CASE WHEN NOT keeps_input THEN input END AS input
FROM workloads AS workload WHERE id = ANY ($1::uuid[])
"""

# Locked, as it may be lifted at any time, and what it is given then is its own.
_QUARANTINED = "SELECT true FROM workers WHERE id = $1 AND status = 'QUARANTINED' FOR SHARE"


class PostgresAssignments:
    """Implements `engine.ports.AssignmentStore`."""

    def __init__(self, database: Database, witnesses: Witnesses | None = None) -> None:
        self._database = database
        self._witnesses = witnesses or Witnesses()

    async def deliverable(self, workers: Collection[str], known: Mapping[UUID, int]) -> Deliverable:
        """See `AssignmentStore.deliverable`."""
        rows = await self._database.fetch(
            _DELIVERABLE, list(workers), list(known.keys()), list(known.values())
        )
        fresh = []
        for row in rows:
            witness = None if row["known"] else self._opened(row["id"], row["input"])
            if witness is None:
                continue
            reached = self._opened(row["id"], row["checkpoint"])
            if (reached is None) is (row["checkpoint"] is None):
                checkpoint = None if reached is None else Checkpoint(row["seq"], reached)
                fresh.append(
                    assignment_of(row, row["worker_id"], row["generation"], witness, checkpoint)
                )
        return Deliverable(fresh, {row["id"] for row in rows})

    async def orders(self, workers: Collection[str], given: Collection[Claim]) -> Orders:
        """See `AssignmentStore.orders`."""
        rows = await self._database.fetch(
            _ORDERS,
            list(workers),
            [claim.workload_id for claim in given],
            [claim.worker_id for claim in given],
            [claim.generation for claim in given],
        )
        kinds: dict[str, type[Cancel | Pause]] = {"cancel": Cancel, "pause": Pause}
        return Orders(
            [
                (row["worker_id"], kinds[row["what"]](row["id"], row["generation"]))
                for row in rows
                if row["what"] in kinds
            ],
            {row["id"] for row in rows if row["what"] == "held"},
            {row["worker_id"] for row in rows if row["what"] == "drain"},
        )

    async def statements(self, ids: Collection[UUID]) -> dict[UUID, Statement]:
        """See `AssignmentStore.statements`."""
        rows = await self._database.fetch(_STATEMENTS, list(ids))
        return {
            row["id"]: Statement(held(row), self._opened(row["id"], row["input"])) for row in rows
        }

    def _opened(self, workload_id: UUID, stored: bytes | None) -> bytes | None:
        """A witness, or None where this replica can't read it; another one may."""
        if stored is None:
            return None
        try:
            return self._witnesses.open(workload_id, stored)
        except Unreadable as error:
            log.error("a witness can't be read", extra={"error": str(error)})  # noqa: TRY400 - the text says it all
            return None

    async def report(
        self,
        claims: Sequence[Claim],
        decide: Decide,
        seen: Mapping[UUID, Held] | None = None,
    ) -> list[Moved | EngineError | None]:
        """See `AssignmentStore.report`.

        Judged first on rows that nobody has locked, and stored in one statement that moves only
        what is still as it was read; the rest is judged again under locks.
        """
        if seen is None:
            ids = {claim.workload_id for claim in claims}
            seen = await self._database.single(lambda connection: read(connection, ids))
        batch = _Batch(dict(seen))
        outcomes = [batch.take(claim, decide) for claim in claims]
        moved = await self._optimistic(batch)
        # With all that was judged on what they would have become.
        undone = {one for one in outcomes if isinstance(one, UUID)} - moved.keys()
        fenced = [one for one in batch.fenced if one[0].workload_id not in undone]
        if fenced:
            await self._database.single(lambda connection: leave_traces(connection, fenced))
        late = [claim for claim in claims if claim.workload_id in undone]
        again = iter(await self._locked(late, decide) if late else ())
        return [
            next(again)
            if claim.workload_id in undone
            else moved[one]
            if isinstance(one, UUID)
            else one
            for claim, one in zip(claims, outcomes, strict=True)
        ]

    async def _optimistic(self, batch: "_Batch") -> dict[UUID, Moved]:
        """Make the moves of a batch that was not read under locks; those that could be made."""
        generations = {row.id: row.generation for row in batch.rows.values()}

        async def store(connection: Connection) -> list[Moved]:
            return await apply_seen(
                connection,
                batch.moves,
                "worker",
                generations=generations,
                results=batch.results,
                hurried=any(move.after is not State.RUNNING for move in batch.moves),
            )

        return {one.id: one for one in await self._database.single(store)}

    async def _locked(
        self, claims: Sequence[Claim], decide: Decide
    ) -> list[Moved | EngineError | None]:
        async def report(connection: Connection) -> list[Moved | EngineError | None]:
            batch = _Batch(await lock(connection, {claim.workload_id for claim in claims}))
            outcomes = [batch.take(claim, decide) for claim in claims]
            stored = await apply_seen(connection, batch.moves, "worker", results=batch.results)
            moved = {one.id: one for one in stored}
            await leave_traces(connection, batch.fenced)
            return [moved[one] if isinstance(one, UUID) else one for one in outcomes]

        return await self._database.run(report)

    async def complete(self, seen: Sequence[Held], results: Sequence[Result]) -> list[Moved]:
        """See `AssignmentStore.complete`."""
        return await self._database.single(lambda connection: complete(connection, seen, results))

    async def take_back(
        self, worker_id: str, reason: str, recover: Recover, *, quarantined: bool = False
    ) -> list[Moved]:
        """See `AssignmentStore.take_back`."""

        async def take_back(connection: Connection) -> list[Moved]:
            if quarantined and not await connection.fetchval(_QUARANTINED, worker_id):
                return []
            return await move_held(
                connection, [worker_id], HELD, recover, reason, f"worker:{worker_id}"
            )

        return await self._database.run(take_back)


class _Batch:
    """Reports of one transaction, judged one after the other on what the ones before left."""

    def __init__(self, rows: dict[UUID, Held]) -> None:
        self.rows = rows
        self.moves: list[Move] = []
        self.results: dict[UUID, Result] = {}
        self.fenced: list[tuple[Claim, Fenced]] = []

    def take(self, claim: Claim, decide: Decide) -> UUID | EngineError | None:
        """The workload where it moves, None where nothing is to do, or the error."""
        row = self.rows.get(claim.workload_id)
        decision = decide(claim, row)
        if isinstance(decision, EngineError):
            if isinstance(decision, Fenced):
                self.fenced.append((claim, decision))
            return decision
        if row is None or decision.move is None:
            return None
        self.moves.append(decision.move)
        if decision.result is not None:
            self.results[row.id] = decision.result
        self.rows[claim.workload_id] = after(row, decision.move)
        return claim.workload_id


def assignment_of(
    row: asyncpg.Record,
    worker_id: str,
    generation: int,
    witness: bytes,
    checkpoint: Checkpoint | None = None,
) -> Assignment:
    """What a worker is sent of a workload."""
    return Assignment(
        row["id"],
        worker_id,
        requirement(row),
        generation,
        witness,
        row["created_at"],
        row["traceparent"],
        row["customer_id"],
        round((row["timeout_seconds"] or 0) * 1000),
        row["attempt"],
        checkpoint,
    )
