"""What workers say on the way; see `engine.ports.NoteStore`.

One statement for each kind of note, which locks the workloads, judges the notes, and keeps them.
What it did not take is judged once more, for the words of its refusal.
"""

from collections.abc import Sequence
from uuid import UUID

from muster_coordinator.engine.errors import EngineError, Fenced
from muster_coordinator.engine.fencing import judge
from muster_coordinator.engine.model import Claim
from muster_coordinator.engine.ports import CheckpointNote, LogNote, ProgressNote
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.fenced import leave_traces
from muster_coordinator.store.transitions import read
from muster_coordinator.store.witnesses import Witnesses

# Locked in the order of their ids, as everywhere, against deadlocks. A lease that the workload's
# own limit made is not renewed.
_MINE = """
mine AS MATERIALIZED (
    SELECT workload.id, workload.generation, workload.checkpoint_seq, workload.log_seq, note.place,
           CASE WHEN workload.state = 'RUNNING' AND workload.timeout_seconds IS NULL
                THEN now() + make_interval(secs => {lease})
                ELSE workload.lease_expires_at END AS lease
    FROM workloads AS workload JOIN note ON note.id = workload.id
    WHERE workload.worker_id = note.worker_id AND note.generation IN (0, workload.generation)
      AND workload.state = ANY ({states})
    ORDER BY workload.id, note.place FOR UPDATE OF workload
)"""

_HELD = "'{SCHEDULED,RUNNING}'::text[]"
# The checkpoint of a pause may be sent again, where the answer to the first time was lost.
_HELD_OR_PAUSED = "'{SCHEDULED,RUNNING,PAUSED}'::text[]"
# The last lines of a log may come after its end.
_EVER_HELD = "'{SCHEDULED,RUNNING,PAUSED,COMPLETED,FAILED,CANCELLED}'::text[]"

_TELL = """
SELECT mine.place, CASE WHEN changed.watched THEN pg_notify('muster_done', mine.id::text) END
FROM mine JOIN changed ON changed.id = mine.id
"""

_PROGRESS = f"""
WITH note AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::int[], $5::real[], $6::text[])
    AS note (id, worker_id, generation, place, percent, message)
), {_MINE.format(lease="$7", states=_HELD)}, changed AS (
    UPDATE workloads AS workload SET
        progress_percent = latest.percent, progress_message = latest.message,
        lease_expires_at = latest.lease
    FROM (
        SELECT DISTINCT ON (mine.id) mine.id, mine.lease, note.percent, note.message
        FROM mine JOIN note ON note.place = mine.place ORDER BY mine.id, mine.place DESC
    ) AS latest
    WHERE workload.id = latest.id
    RETURNING workload.id, workload.watched
){_TELL}"""

_CHECKPOINTS = f"""
WITH note AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::int[], $5::bytea[])
    AS note (id, worker_id, generation, place, data)
), {_MINE.format(lease="$6", states=_HELD_OR_PAUSED)}, numbered AS (
    SELECT mine.id, mine.generation, note.data,
           mine.checkpoint_seq + row_number() OVER (PARTITION BY mine.id ORDER BY mine.place) AS seq
    FROM mine JOIN note ON note.place = mine.place
), kept AS (
    INSERT INTO checkpoints (workload_id, seq, generation, data)
    SELECT id, seq, generation, data FROM numbered
), changed AS (
    UPDATE workloads AS workload SET
        checkpoint_seq = latest.seq, lease_expires_at = latest.lease
    FROM (
        SELECT mine.id, mine.lease, max(mine.checkpoint_seq) + count(*) AS seq
        FROM mine GROUP BY mine.id, mine.lease
    ) AS latest
    WHERE workload.id = latest.id
    RETURNING workload.id, workload.watched, workload.checkpoint_seq
), dropped AS (
    DELETE FROM checkpoints USING changed
    WHERE checkpoints.workload_id = changed.id AND checkpoints.seq <= changed.checkpoint_seq - 10
){_TELL}"""

# The log of a workload is numbered on its row, which is locked; so numbers have no gaps.
_LOGS = f"""
WITH note AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::int[])
    AS note (id, worker_id, generation, place)
), line AS (
    SELECT * FROM unnest($5::int[], $6::timestamptz[], $7::text[], $8::text[])
    WITH ORDINALITY AS line (place, at, level, message, number)
), {_MINE.format(lease="0", states=_EVER_HELD)}, numbered AS (
    SELECT mine.id, mine.generation, line.at, line.level, line.message,
           mine.log_seq + row_number() OVER (PARTITION BY mine.id ORDER BY line.number) AS seq
    FROM mine JOIN line ON line.place = mine.place
), kept AS (
    INSERT INTO logs (workload_id, seq, at, level, message, generation)
    SELECT id, seq, at, level, message, generation FROM numbered
), changed AS (
    UPDATE workloads AS workload SET log_seq = latest.seq
    FROM (SELECT id, max(seq) AS seq FROM numbered GROUP BY id) AS latest
    WHERE workload.id = latest.id
    RETURNING workload.id, workload.watched, workload.log_seq
), dropped AS (
    DELETE FROM logs USING changed
    WHERE logs.workload_id = changed.id AND logs.seq <= changed.log_seq - 10000
){_TELL}"""


class PostgresNotes:
    """Implements `engine.ports.NoteStore`."""

    def __init__(self, database: Database, witnesses: Witnesses | None = None) -> None:
        self._database = database
        self._witnesses = witnesses or Witnesses()

    async def progress(
        self, notes: Sequence[ProgressNote], lease: float
    ) -> list[EngineError | None]:
        """See `NoteStore.progress`."""
        rows = await self._database.fetch(
            _PROGRESS,
            *_claims([note.claim for note in notes]),
            [note.percent for note in notes],
            [note.message for note in notes],
            lease,
        )
        return await self._answers([note.claim for note in notes], {row["place"] for row in rows})

    async def checkpoints(
        self, notes: Sequence[CheckpointNote], lease: float
    ) -> list[EngineError | None]:
        """See `NoteStore.checkpoints`."""
        claims = [note.claim for note in notes]
        sealed = [self._witnesses.seal(note.claim.workload_id, note.data) for note in notes]
        rows = await self._database.fetch(_CHECKPOINTS, *_claims(claims), sealed, lease)
        return await self._answers(claims, {row["place"] for row in rows})

    async def logs(self, notes: Sequence[LogNote]) -> list[EngineError | None]:
        """See `NoteStore.logs`."""
        claims = [note.claim for note in notes]
        lines = [(place, line) for place, note in enumerate(notes) for line in note.lines]
        rows = await self._database.fetch(
            _LOGS,
            *_claims(claims),
            [place for place, _ in lines],
            [line.at for _, line in lines],
            [line.level for _, line in lines],
            [line.message for _, line in lines],
        )
        return await self._answers(claims, {row["place"] for row in rows})

    async def _answers(self, claims: Sequence[Claim], taken: set[int]) -> list[EngineError | None]:
        refused = [claim for place, claim in enumerate(claims) if place not in taken]
        if not refused:
            return [None] * len(claims)
        errors = await self._refusals(refused)
        return [None if place in taken else errors[claim] for place, claim in enumerate(claims)]

    async def _refusals(self, claims: Sequence[Claim]) -> dict[Claim, EngineError]:
        async def refuse(connection: Connection) -> dict[Claim, EngineError]:
            found = await read(connection, {claim.workload_id for claim in claims})
            errors = {
                # One that has become the worker's own since then was not when it was said.
                claim: judge(claim, found.get(claim.workload_id)) or Fenced(_too_early(claim))
                for claim in claims
            }
            await leave_traces(
                connection,
                [(claim, error) for claim, error in errors.items() if isinstance(error, Fenced)],
            )
            return errors

        return await self._database.run(refuse)


def _too_early(claim: Claim) -> str:
    return f"task {claim.workload_id}: it was not yet worker {claim.worker_id}'s"


def _claims(claims: Sequence[Claim]) -> tuple[list[UUID], list[str], list[int], list[int]]:
    """The first four columns of `note`."""
    return (
        [claim.workload_id for claim in claims],
        [claim.worker_id for claim in claims],
        [claim.generation for claim in claims],
        list(range(len(claims))),
    )
