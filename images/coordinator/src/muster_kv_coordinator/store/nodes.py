"""Storage nodes in PostgreSQL: which are wanted, and what the ring needs for it.

A node that comes while no tenant exists joins the ring at once, as there is no data to move; so do
the first nodes of a cluster. Any other joins, and leaves, by a migration.
"""

import asyncpg
from msgspec.structs import replace

from muster_kv.ring import Member, MemberState, Ring
from muster_kv_coordinator.core.errors import ErrorCode, KvError, invalid, shown
from muster_kv_coordinator.core.model import (
    AskedRepair,
    Migration,
    MigrationStatus,
    MigrationType,
    NodeSpec,
    NodeStatus,
    StoredNode,
)
from muster_kv_coordinator.store import migrations_table, repairs_table
from muster_kv_coordinator.store.database import Connection, Database
from muster_kv_coordinator.store.ring import locked_ring, store_ring
from muster_kv_coordinator.store.tenants import largest_factor


class PostgresNodes:
    """A `NodeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def nodes(self) -> list[StoredNode]:
        """All nodes, by name."""
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT * FROM storage_nodes ORDER BY node_id")
        return [_node(row) for row in rows]

    async def migration(self, migration_id: str) -> Migration | None:
        """One migration; None where there is none."""
        async with self._database.connection() as connection:
            return await migrations_table.migration(connection, migration_id)

    async def cancel_migration(self, migration_id: str) -> Migration | None:
        """Ask that a migration be cancelled; what was wanted by it is wanted no more."""
        async with self._database.transaction() as connection:
            await locked_ring(connection, "update")
            found = await migrations_table.cancel(connection, migration_id)
            if found is not None and found.status is MigrationStatus.CANCELLED:
                await migrations_table.want_no_more(connection, found)
            return found

    async def ask_repair(self, tenant_id: str) -> AskedRepair:
        """Want anti-entropy now, of a tenant or ('') of all."""
        async with self._database.transaction() as connection:
            return await repairs_table.ask(connection, tenant_id)

    async def repair(self, repair_id: str) -> AskedRepair | None:
        """Anti-entropy that was asked for; None where there is none."""
        async with self._database.connection() as connection:
            return await repairs_table.repair(connection, repair_id)

    async def add(self, spec: NodeSpec) -> Migration:
        """Want a node; the migration that brings it in, completed where nothing has to move.

        Adding what is there already changes nothing but its address, and answers the migration
        that brought it.

        Raises:
            KvError: NODE_IN_USE where a node of that name is there in another form, or leaves.
        """
        async with self._database.transaction() as connection:
            ring = await locked_ring(connection, "update")
            row = await connection.fetchrow(
                "SELECT * FROM storage_nodes WHERE node_id = $1", spec.node_id
            )
            known = _node(row) if row else None
            if known is not None and known.status is not NodeStatus.INACTIVE:
                return await _again(connection, ring, known, spec)
            tenants = await connection.fetchval("SELECT EXISTS (SELECT FROM tenants)")
            status = NodeStatus.JOINING if tenants else NodeStatus.ACTIVE
            await _store(connection, StoredNode(spec, status))
            if not tenants:
                await store_ring(connection, (*ring.members, _member(spec)))
            return await migrations_table.add_migration(
                connection, MigrationType.NODE_ADDITION, node_id=spec.node_id, done=not tenants
            )

    async def remove(self, node_id: str, *, force: bool) -> Migration:
        """Want a node no more; the migration that moves its data away.

        Args:
            force: wait for nothing from it; the others bring what it held to its successors, and
                what only it holds is lost. Of one that is being filled again: go on without what
                nobody has, and keep it.

        Raises:
            KvError: INVALID_REQUEST where there is no such node; NODE_IN_USE where the others are
                too few for the largest replication factor.
        """
        async with self._database.transaction() as connection:
            ring = await locked_ring(connection, "update")
            row = await connection.fetchrow(
                "SELECT * FROM storage_nodes WHERE node_id = $1", node_id
            )
            if row is None or row["status"] == NodeStatus.INACTIVE:
                raise invalid("node_id", node_id, "a node that ListStorageNodes shows")
            node = _node(row)
            under_way = await migrations_table.open_migration_of_node(connection, node_id)
            if under_way is not None and under_way.type is MigrationType.NODE_REPLACEMENT and force:
                return await migrations_table.force(connection, under_way.migration_id)
            if under_way is not None and not force:
                if under_way.type is MigrationType.NODE_DELETION:
                    return under_way
                raise KvError(
                    ErrorCode.NODE_IN_USE,
                    f"node {shown(node_id)} is still joining; cancel migration "
                    f"{under_way.migration_id}, or wait for it",
                )
            await _check_rest(connection, ring, node_id)
            return await _leave(connection, ring, node, under_way, force=force)


async def _again(
    connection: Connection, ring: Ring, known: StoredNode, spec: NodeSpec
) -> Migration:
    if known.status is NodeStatus.DRAINING:
        text = f"node {shown(spec.node_id)} is leaving; add it again when it has left"
        raise KvError(ErrorCode.NODE_IN_USE, text)
    if (known.spec.virtual_nodes, known.spec.zone) != (spec.virtual_nodes, spec.zone):
        raise KvError(
            ErrorCode.NODE_IN_USE,
            f"node {shown(spec.node_id)} is a member with {known.spec.virtual_nodes} virtual nodes"
            f" in zone {known.spec.zone!r}; remove it before it comes back as another",
        )
    if known.spec != spec:
        await _store(connection, StoredNode(spec, known.status))
        if any(member.node_id == spec.node_id for member in ring.members):
            moved = (
                replace(member, host=spec.host, port=spec.port)
                if member.node_id == spec.node_id
                else member
                for member in ring.members
            )
            await store_ring(connection, tuple(moved), ring.phase)
    found = await migrations_table.any_migration_of_node(connection, spec.node_id)
    if found is None:
        raise RuntimeError(f"node {spec.node_id} came without a migration")
    return found


async def _check_rest(connection: Connection, ring: Ring, node_id: str) -> None:
    largest = await largest_factor(connection)
    leaving = await connection.fetch(
        "SELECT node_id FROM storage_nodes WHERE status = $1", NodeStatus.DRAINING
    )
    gone = {row["node_id"] for row in leaving} | {node_id}
    rest = sum(
        1
        for member in ring.members
        if member.state is MemberState.NORMAL and member.node_id not in gone
    )
    if rest < largest:
        raise KvError(
            ErrorCode.NODE_IN_USE,
            f"node {shown(node_id)} can't leave: {rest} would remain, and tenants want {largest} "
            "replicas; add a node before",
        )


async def _leave(
    connection: Connection,
    ring: Ring,
    node: StoredNode,
    under_way: Migration | None,
    *,
    force: bool,
) -> Migration:
    node_id = node.spec.node_id
    member = any(one.node_id == node_id for one in ring.members)
    empty = not await connection.fetchval("SELECT EXISTS (SELECT FROM tenants)")
    at_once = empty or not member
    if under_way is not None:
        if under_way.type is MigrationType.NODE_DELETION:
            return await migrations_table.force(connection, under_way.migration_id)
        await migrations_table.cancel(connection, under_way.migration_id)
    status = NodeStatus.INACTIVE if at_once else NodeStatus.DRAINING
    await _store(connection, StoredNode(node.spec, status))
    if at_once and member:
        await store_ring(connection, tuple(one for one in ring.members if one.node_id != node_id))
    made = await migrations_table.add_migration(
        connection, MigrationType.NODE_DELETION, node_id=node_id, done=at_once
    )
    return await migrations_table.force(connection, made.migration_id) if force else made


async def _store(connection: Connection, node: StoredNode) -> None:
    spec = node.spec
    await connection.execute(
        "INSERT INTO storage_nodes (node_id, host, port, virtual_nodes, zone, status)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (node_id) DO UPDATE SET host = $2,"
        " port = $3, virtual_nodes = $4, zone = $5, status = $6, updated_at = now()",
        spec.node_id,
        spec.host,
        spec.port,
        spec.virtual_nodes,
        spec.zone,
        node.status,
    )


def _member(spec: NodeSpec) -> Member:
    return Member(spec.node_id, spec.host, spec.port, spec.virtual_nodes, spec.zone)


def _node(row: asyncpg.Record) -> StoredNode:
    return StoredNode(
        NodeSpec(row["node_id"], row["host"], row["port"], row["virtual_nodes"], row["zone"]),
        NodeStatus(row["status"]),
    )
