"""Anti-entropy that was asked for, in PostgreSQL: what was asked, and what came of it."""

from collections.abc import Collection
from uuid import UUID

import asyncpg

from muster_kv_coordinator.core.model import AskedRepair, RepairStatus
from muster_kv_coordinator.store.database import Connection


async def ask(connection: Connection, tenant_id: str) -> AskedRepair:
    """Want a repair of a tenant ('': of all); one that nobody has begun with is answered again.

    Those that were completed a week ago go.
    """
    await connection.execute(
        "DELETE FROM repairs WHERE status = 'completed' AND finished_at < now() - interval '7 days'"
    )
    (row,) = await connection.fetch(
        "INSERT INTO repairs (tenant_id) VALUES ($1) ON CONFLICT (tenant_id)"
        " WHERE status = 'pending' DO UPDATE SET tenant_id = EXCLUDED.tenant_id RETURNING *",
        tenant_id,
    )
    return _repair(row)


async def repair(connection: Connection, repair_id: str) -> AskedRepair | None:
    """One of them; None where there is none, or the id is no id."""
    try:
        key = UUID(repair_id)
    except ValueError:
        return None
    row = await connection.fetchrow("SELECT * FROM repairs WHERE repair_id = $1", key)
    return _repair(row) if row else None


async def open_repairs(connection: Connection) -> tuple[AskedRepair, ...]:
    """Those that are not completed, the oldest first."""
    rows = await connection.fetch(
        "SELECT * FROM repairs WHERE status <> 'completed' ORDER BY created_at"
    )
    return tuple(_repair(row) for row in rows)


async def begin(connection: Connection, repairs: Collection[AskedRepair]) -> None:
    """They are being carried out."""
    await connection.execute(
        "UPDATE repairs SET status = 'in_progress', waiting_for = '',"
        " started_at = coalesce(started_at, now())"
        " WHERE repair_id = ANY($1) AND status <> 'completed'",
        _ids(repairs),
    )


async def wait(connection: Connection, repairs: Collection[AskedRepair], reason: str) -> None:
    """They can't be carried out now, or not to their end."""
    await connection.execute(
        "UPDATE repairs SET waiting_for = $2 WHERE repair_id = ANY($1) AND status <> 'completed'",
        _ids(repairs),
        reason,
    )


async def complete(
    connection: Connection, repairs: Collection[AskedRepair], differing: int, repaired: int
) -> None:
    """They came to their end: parts in which replicas differed, records brought to replicas."""
    await connection.execute(
        "UPDATE repairs SET status = 'completed', waiting_for = '', finished_at = now(),"
        " started_at = coalesce(started_at, now()), ranges_differing = $2,"
        " records_repaired = $3 WHERE repair_id = ANY($1) AND status <> 'completed'",
        _ids(repairs),
        differing,
        repaired,
    )


def _ids(repairs: Collection[AskedRepair]) -> list[UUID]:
    return [UUID(one.repair_id) for one in repairs]


def _repair(row: asyncpg.Record) -> AskedRepair:
    return AskedRepair(
        repair_id=str(row["repair_id"]),
        tenant_id=row["tenant_id"],
        status=RepairStatus(row["status"]),
        waiting_for=row["waiting_for"],
        ranges_differing=row["ranges_differing"],
        records_repaired=row["records_repaired"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
