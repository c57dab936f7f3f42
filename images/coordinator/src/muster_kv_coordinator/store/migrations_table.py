"""Migrations in PostgreSQL: what was asked for, and how far it is."""

from uuid import UUID

import asyncpg

from muster_kv_coordinator.core.model import (
    Migration,
    MigrationStatus,
    MigrationType,
    NodeStatus,
)
from muster_kv_coordinator.store.database import Connection

_OPEN = "status IN ('pending', 'in_progress')"

_CANCEL = f"""
UPDATE migrations SET
    cancel_requested = true,
    finished_at = CASE WHEN status = 'pending' THEN now() ELSE finished_at END,
    status = CASE WHEN status = 'pending' THEN 'cancelled' ELSE status END
WHERE migration_id = $1 AND {_OPEN}
RETURNING *
"""  # noqa: S608 - texts from here

# What another migration is to bring, or else what is in force.
_WANT_AS_BEFORE = f"""
UPDATE tenants SET updated_at = now(), desired_replication_factor = coalesce(
    (SELECT new_factor FROM migrations WHERE migrations.tenant_id = $1 AND {_OPEN}
     ORDER BY migrations.created_at DESC LIMIT 1),
    replication_factor)
WHERE tenants.tenant_id = $1
"""  # noqa: S608 - texts from here


async def add_migration(
    connection: Connection,
    kind: MigrationType,
    *,
    node_id: str = "",
    tenant_id: str = "",
    factors: tuple[int, int] | None = None,
    folder: str = "",
    done: bool = False,
) -> Migration:
    """Store a migration; `done` where there is nothing to move, so that it is completed at once.

    Args:
        factors: the old and the new replication factor.
        folder: the data folder of a node that is filled again.
    """
    old, new = factors or (None, None)
    status = MigrationStatus.COMPLETED if done else MigrationStatus.PENDING
    (row,) = await connection.fetch(
        "INSERT INTO migrations (type, node_id, tenant_id, old_factor, new_factor, status,"
        " started_at, finished_at, folder) VALUES ($1, $2, $3, $4, $5, $6,"
        " CASE WHEN $7 THEN now() END, CASE WHEN $7 THEN now() END, $8) RETURNING *",
        kind,
        node_id,
        tenant_id,
        old,
        new,
        status,
        done,
        folder,
    )
    return migration_of(row)


async def open_migration_of_tenant(connection: Connection, tenant_id: str) -> Migration | None:
    """The newest migration of a tenant that is not at its end."""
    return await _newest(connection, "tenant_id", tenant_id)


async def open_migration_of_node(connection: Connection, node_id: str) -> Migration | None:
    """The newest migration of a node that is not at its end."""
    return await _newest(connection, "node_id", node_id)


async def _newest(connection: Connection, column: str, value: str) -> Migration | None:
    row = await connection.fetchrow(
        f"SELECT * FROM migrations WHERE {column} = $1 AND {_OPEN}"  # noqa: S608 - from code
        " ORDER BY created_at DESC LIMIT 1",
        value,
    )
    return migration_of(row) if row else None


async def any_migration_of_node(connection: Connection, node_id: str) -> Migration | None:
    """The newest migration of a node, whatever became of it."""
    row = await connection.fetchrow(
        "SELECT * FROM migrations WHERE node_id = $1 ORDER BY created_at DESC LIMIT 1", node_id
    )
    return migration_of(row) if row else None


async def migration(connection: Connection, migration_id: str) -> Migration | None:
    """One migration; None where there is none, or the id is no id."""
    key = _uuid(migration_id)
    if key is None:
        return None
    row = await connection.fetchrow("SELECT * FROM migrations WHERE migration_id = $1", key)
    return migration_of(row) if row else None


async def cancel(connection: Connection, migration_id: str) -> Migration | None:
    """Ask that a migration be cancelled; one that has not begun is at once."""
    key = _uuid(migration_id)
    if key is None:
        return None
    row = await connection.fetchrow(_CANCEL, key)
    return migration_of(row) if row else await migration(connection, migration_id)


async def force(connection: Connection, migration_id: str) -> Migration:
    """Let a migration no longer wait for its node."""
    (row,) = await connection.fetch(
        "UPDATE migrations SET forced = true WHERE migration_id = $1 RETURNING *",
        UUID(migration_id),
    )
    return migration_of(row)


async def want_no_more(connection: Connection, cancelled: Migration) -> None:
    """Undo what a migration was asked for that has been cancelled."""
    if cancelled.type is MigrationType.REPLICATION_CHANGE:
        await connection.execute(_WANT_AS_BEFORE, cancelled.tenant_id)
        return
    # A node that is to be filled again is one of the members all the while.
    joining = cancelled.type is MigrationType.NODE_ADDITION
    await connection.execute(
        "UPDATE storage_nodes SET status = $2, updated_at = now() WHERE node_id = $1",
        cancelled.node_id,
        NodeStatus.INACTIVE if joining else NodeStatus.ACTIVE,
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def migration_of(row: asyncpg.Record) -> Migration:
    """A row of the table."""
    return Migration(
        migration_id=str(row["migration_id"]),
        type=MigrationType(row["type"]),
        node_id=row["node_id"],
        tenant_id=row["tenant_id"],
        status=MigrationStatus(row["status"]),
        keys_migrated=row["keys_migrated"],
        total_keys=row["total_keys"],
        error=row["error"],
        cancel_requested=row["cancel_requested"],
        old_factor=row["old_factor"],
        new_factor=row["new_factor"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        estimated_completion=row["estimated_completion"],
        finished_at=row["finished_at"],
    )
