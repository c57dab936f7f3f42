"""What became of workloads; see `engine.ports.HistoryStore`."""

from uuid import UUID

from muster_coordinator.engine.errors import NotFound
from muster_coordinator.engine.model import AuditEvent, LoggedLine, LogLine
from muster_coordinator.store.database import Database

_OWNED = "SELECT audit_batches FROM workloads WHERE id = $1 AND customer_id = $2"

_LOGS = """
SELECT seq, at, level, message, generation FROM logs
WHERE workload_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
"""

_AUDIT = """
SELECT seq, at, actor, event, before, after, worker_id, generation, reason FROM audit_events
WHERE workload_id = $1 AND seq > $2
UNION ALL
SELECT seq, at, actor, event, before, after, worker_ids[array_position(workload_ids, $1)],
       generation, ''
FROM audit_batches
WHERE seq = ANY ($4::bigint[]) AND seq > $2 AND workload_ids @> ARRAY[$1]
ORDER BY seq LIMIT $3
"""


class PostgresHistory:
    """Implements `engine.ports.HistoryStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def logs(
        self, workload_id: UUID, customer_id: str, after: int = 0, limit: int = 1000
    ) -> list[LoggedLine]:
        """See `HistoryStore.logs`."""
        await self._batches(workload_id, customer_id)
        return [
            LoggedLine(
                row["seq"], LogLine(row["at"], row["level"], row["message"]), row["generation"]
            )
            for row in await self._database.fetch(_LOGS, workload_id, after, limit)
        ]

    async def audit(
        self, workload_id: UUID, customer_id: str, after: int = 0, limit: int = 1000
    ) -> list[AuditEvent]:
        """See `HistoryStore.audit`."""
        batches = await self._batches(workload_id, customer_id)
        return [
            AuditEvent(
                row["seq"],
                row["at"],
                row["actor"],
                row["event"],
                row["before"],
                row["after"],
                row["worker_id"],
                row["generation"],
                row["reason"],
            )
            for row in await self._database.fetch(_AUDIT, workload_id, after, limit, batches)
        ]

    async def _batches(self, workload_id: UUID, customer_id: str) -> list[int]:
        """The numbers of the batches of the audit that tell of a workload of this customer.

        Raises:
            NotFound: it has none such.
        """
        row = await self._database.fetchrow(_OWNED, workload_id, customer_id)
        if row is None:
            raise NotFound(f"task {workload_id}: there is none")
        return list(row["audit_batches"])
