"""Tenants in PostgreSQL."""

from collections.abc import Callable

import asyncpg
import msgspec

from muster_kv.ring import MemberState
from muster_kv_coordinator.core.errors import ErrorCode, KvError, shown
from muster_kv_coordinator.core.model import (
    Migration,
    MigrationType,
    Policy,
    Tenant,
)
from muster_kv_coordinator.store.database import Connection, Database
from muster_kv_coordinator.store.migrations_table import add_migration, open_migration_of_tenant
from muster_kv_coordinator.store.ring import locked_ring

_COLUMNS = (
    "tenant_id, replication_factor, desired_replication_factor, moving_to, policy, created_at,"
    " tenants.updated_at"
)
_LOOK_UP = f"SELECT {_COLUMNS}, ring.version FROM tenants, ring WHERE tenant_id = $1"  # noqa: S608 - names from code
_SELECT = f"SELECT {_COLUMNS} FROM tenants WHERE tenant_id = $1"  # noqa: S608 - names from code

_INSERT = f"""
INSERT INTO tenants (tenant_id, replication_factor, desired_replication_factor, policy)
VALUES ($1, $2, $2, $3)
ON CONFLICT DO NOTHING
RETURNING {_COLUMNS}
"""  # noqa: S608 - names from here
_UPDATE_POLICY = f"""
UPDATE tenants SET policy = $2, updated_at = now() WHERE tenant_id = $1 RETURNING {_COLUMNS}
"""  # noqa: S608 - names from here


class PostgresTenants:
    """A `TenantStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """One tenant; None where there is none."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_LOOK_UP, tenant_id)
        return _tenant(row, row["version"]) if row else None

    async def create_tenant(self, tenant_id: str, factor: int, policy: Policy) -> Tenant:
        """Make one."""
        async with self._database.transaction() as connection:
            await _check_factor(connection, factor)
            row = await connection.fetchrow(_INSERT, tenant_id, factor, _document(policy))
        if row is None:
            raise KvError(ErrorCode.TENANT_EXISTS, f"tenant {shown(tenant_id)} exists already")
        return _tenant(row)

    async def update_policy(
        self, tenant_id: str, change: Callable[[Policy], Policy]
    ) -> Tenant | None:
        """Change a tenant's policy; None where there is no such tenant."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(f"{_SELECT} FOR UPDATE", tenant_id)
            if row is None:
                return None
            document = _document(change(_tenant(row).policy))
            (changed,) = await connection.fetch(_UPDATE_POLICY, tenant_id, document)
        return _tenant(changed)

    async def ask_for_factor(self, tenant_id: str, factor: int) -> tuple[Tenant, Migration | None]:
        """Want another replication factor."""
        async with self._database.transaction() as connection:
            await _check_factor(connection, factor)
            row = await connection.fetchrow(f"{_SELECT} FOR UPDATE", tenant_id)
            if row is None:
                text = f"tenant {shown(tenant_id)} does not exist"
                raise KvError(ErrorCode.TENANT_NOT_FOUND, text)
            tenant = _tenant(row)
            if tenant.desired_replication_factor == factor:
                return tenant, await open_migration_of_tenant(connection, tenant_id)
            await connection.execute(
                "UPDATE tenants SET desired_replication_factor = $2, updated_at = now()"
                " WHERE tenant_id = $1",
                tenant_id,
                factor,
            )
            migration = await add_migration(
                connection,
                MigrationType.REPLICATION_CHANGE,
                tenant_id=tenant_id,
                factors=(tenant.replication_factor, factor),
            )
        return tenant, migration


async def largest_factor(connection: Connection) -> int:
    """The most replicas that a tenant has, or is to have; 0 without tenants."""
    found = await connection.fetchval(
        "SELECT max(greatest(replication_factor, desired_replication_factor)) FROM tenants"
    )
    return int(found or 0)


async def smallest_factor(connection: Connection) -> int:
    """The fewest replicas that a tenant has, or is to have; 0 without tenants."""
    found = await connection.fetchval(
        "SELECT min(least(replication_factor, desired_replication_factor)) FROM tenants"
    )
    return int(found or 0)


async def _check_factor(connection: Connection, factor: int) -> None:
    ring = await locked_ring(connection, "share")
    nodes = sum(1 for member in ring.members if member.state is MemberState.NORMAL)
    if factor > nodes:
        raise KvError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"replication_factor: got {factor}; allowed: at most the number of nodes, {nodes}",
        )


def _tenant(row: asyncpg.Record, known_at: int = 0) -> Tenant:
    return Tenant(
        row["tenant_id"],
        row["replication_factor"],
        row["desired_replication_factor"],
        row["moving_to"],
        msgspec.json.decode(row["policy"], type=Policy),
        row["created_at"],
        row["updated_at"],
        known_at,
    )


def _document(policy: Policy) -> str:
    return msgspec.json.encode(policy).decode()
