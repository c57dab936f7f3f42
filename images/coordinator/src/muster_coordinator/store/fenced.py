"""The trace of reports that were refused, as their assignments are no longer their workers'."""

from collections.abc import Sequence

from muster_coordinator.engine.errors import Fenced
from muster_coordinator.engine.model import Claim
from muster_coordinator.store.database import Connection

_FENCED = """
INSERT INTO audit_events (workload_id, worker_id, actor, event, generation, reason)
SELECT id, worker_id, 'worker:' || worker_id, 'report.fenced', generation, reason
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[])
     AS fenced (id, worker_id, generation, reason)
"""


async def leave_traces(connection: Connection, fenced: Sequence[tuple[Claim, Fenced]]) -> None:
    """Write an audit event `report.fenced` for each."""
    if fenced:
        await connection.execute(
            _FENCED,
            [claim.workload_id for claim, _ in fenced],
            [claim.worker_id for claim, _ in fenced],
            [claim.generation for claim, _ in fenced],
            [str(error) for _, error in fenced],
        )
