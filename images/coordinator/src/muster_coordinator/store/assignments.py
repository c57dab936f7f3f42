"""Workloads on their way through workers; see `engine.ports.AssignmentStore`."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from muster_coordinator.engine.errors import EngineError, Fenced
from muster_coordinator.engine.model import Assignment, Claim, Held, Move, Moved, Result
from muster_coordinator.engine.ports import Decide, Deliverable, Recover, Statement
from muster_coordinator.engine.states import HELD
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.transitions import (
    after,
    apply,
    held,
    lock,
    move_held,
    requirement,
)

_DELIVERABLE = """
SELECT workload.id, workload.worker_id, workload.pool, workload.type, workload.key_id,
       workload.key_version, workload.generation, workload.created_at, workload.traceparent,
       known.id IS NOT NULL AS known,
       CASE WHEN known.id IS NULL THEN workload.input END AS input
FROM workloads AS workload
LEFT JOIN unnest($2::uuid[], $3::bigint[]) AS known (id, generation)
       ON known.id = workload.id AND known.generation = workload.generation
WHERE workload.worker_id = ANY ($1::text[]) AND workload.state IN ('SCHEDULED', 'RUNNING')
  AND workload.state = 'SCHEDULED'
ORDER BY workload.rank DESC, workload.id
"""

_STATEMENTS = """
SELECT id, pool, type, key_id, key_version, state, worker_id, generation, retry_count, max_retries,
       redistributions, started_at, input
FROM workloads WHERE id = ANY ($1::uuid[])
"""

_RESULTS = """
INSERT INTO results (workload_id, worker_id, generation, proof, encoding, public, merkle_root,
                     key_version, verified, duration_ms)
SELECT id, worker_id, generation, proof, encoding, string_to_array(public, ','), merkle_root,
       key_version, verified, duration_ms
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bytea[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::bool[], $10::bigint[])
     AS result (id, worker_id, generation, proof, encoding, public, merkle_root, key_version,
                verified, duration_ms)
"""

_FENCED = """
INSERT INTO audit_events (workload_id, worker_id, actor, event, generation, reason)
SELECT id, worker_id, 'worker:' || worker_id, 'report.fenced', generation, reason
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[])
     AS fenced (id, worker_id, generation, reason)
"""


class PostgresAssignments:
    """Implements `engine.ports.AssignmentStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def deliverable(self, workers: Collection[str], known: Mapping[UUID, int]) -> Deliverable:
        """See `AssignmentStore.deliverable`."""
        rows = await self._database.fetch(
            _DELIVERABLE, list(workers), list(known.keys()), list(known.values())
        )
        fresh = [
            Assignment(
                row["id"],
                row["worker_id"],
                requirement(row),
                row["generation"],
                row["input"],
                row["created_at"],
                row["traceparent"],
            )
            for row in rows
            if not row["known"]
        ]
        return Deliverable(fresh, {row["id"] for row in rows})

    async def statements(self, ids: Collection[UUID]) -> dict[UUID, Statement]:
        """See `AssignmentStore.statements`."""
        rows = await self._database.fetch(_STATEMENTS, list(ids))
        return {row["id"]: Statement(held(row), row["input"]) for row in rows}

    async def report(
        self, claims: Sequence[Claim], decide: Decide
    ) -> list[Moved | EngineError | None]:
        """See `AssignmentStore.report`."""

        async def report(connection: Connection) -> list[Moved | EngineError | None]:
            rows = await lock(connection, {claim.workload_id for claim in claims})
            batch = _Batch(rows)
            outcomes = [batch.take(claim, decide) for claim in claims]
            moved: dict[UUID, Moved] = {}
            for moves in batch.rounds:
                for one in await apply(connection, moves, "worker"):
                    moved[one.id] = one
            await _keep(connection, batch.results)
            await _trace(connection, batch.fenced)
            return [moved[one] if isinstance(one, UUID) else one for one in outcomes]

        return await self._database.run(report)

    async def take_back(self, worker_id: str, reason: str, recover: Recover) -> list[Moved]:
        """See `AssignmentStore.take_back`."""

        async def take_back(connection: Connection) -> list[Moved]:
            return await move_held(
                connection, [worker_id], HELD, recover, reason, f"worker:{worker_id}"
            )

        return await self._database.run(take_back)


class _Batch:
    """Reports of one transaction, judged one after the other on what the ones before left."""

    def __init__(self, rows: dict[UUID, Held]) -> None:
        self._rows = rows
        self.rounds: list[list[Move]] = [[], []]
        self.results: list[tuple[Held, Result]] = []
        self.fenced: list[tuple[Claim, Fenced]] = []

    def take(self, claim: Claim, decide: Decide) -> UUID | EngineError | None:
        """The workload where it moves, None where nothing is to do, or the error."""
        row = self._rows.get(claim.workload_id)
        decision = decide(claim, row)
        if isinstance(decision, EngineError):
            if isinstance(decision, Fenced):
                self.fenced.append((claim, decision))
            return decision
        if row is None or not decision.moves:
            return None
        for moves, move in zip(self.rounds, decision.moves, strict=False):
            moves.append(move)
            row = after(row, move)
        if decision.result is not None:
            self.results.append((row, decision.result))
        self._rows[claim.workload_id] = row
        return claim.workload_id


async def _keep(connection: Connection, results: Sequence[tuple[Held, Result]]) -> None:
    if not results:
        return
    await connection.execute(
        _RESULTS,
        [row.id for row, _ in results],
        [row.worker_id for row, _ in results],
        [row.generation for row, _ in results],
        [result.proof for _, result in results],
        [result.encoding for _, result in results],
        [",".join(result.public) for _, result in results],
        [result.merkle_root for _, result in results],
        [result.key_version for _, result in results],
        [result.verified for _, result in results],
        [result.duration_ms for _, result in results],
    )


async def _trace(connection: Connection, fenced: Sequence[tuple[Claim, Fenced]]) -> None:
    if not fenced:
        return
    await connection.execute(
        _FENCED,
        [claim.workload_id for claim, _ in fenced],
        [claim.worker_id for claim, _ in fenced],
        [claim.generation for claim, _ in fenced],
        [str(error) for _, error in fenced],
    )
