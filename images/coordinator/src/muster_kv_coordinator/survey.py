"""How the store stands: ranges, migrations, hints. For whoever looks after it."""

import asyncio
from collections.abc import Mapping, Set
from typing import Any

from muster_kv.ring import Ring, arcs
from muster_kv.wire.messages import Hints, HintsWaiting
from muster_kv_coordinator.nodes.cluster import StorageCluster
from muster_kv_coordinator.nodes.storage_node import StorageNode
from muster_kv_coordinator.store.database import Database
from muster_kv_coordinator.store.ring import PostgresRing

_SECONDS = 1.0
_MOST_MIGRATIONS = 20

_FACTOR = "SELECT coalesce(max(replication_factor), 0) FROM tenants"
_OPEN = """
SELECT migration_id, type, node_id, tenant_id, status, keys_migrated, total_keys FROM migrations
WHERE status IN ('pending', 'in_progress') ORDER BY created_at LIMIT $1
"""


class Survey:
    """Answers `/topology` on the operations port; any coordinator knows as much as the others."""

    def __init__(self, database: Database, cluster: StorageCluster) -> None:
        self._database = database
        self._cluster = cluster

    async def answer(self) -> Mapping[str, Any]:
        """The ring, its ranges, hints that wait, and the migrations that have not ended.

        Raises:
            UnavailableError: the database is away.
        """
        ring = await PostgresRing(self._database).ring()
        async with self._database.connection() as connection:
            factor = await connection.fetchval(_FACTOR)
            rows = await connection.fetch(_OPEN, _MOST_MIGRATIONS)
        nodes = self._cluster.nodes
        healthy = {node.node_id for node in nodes if node.healthy}
        return {
            "ring_version": ring.version,
            "phase": ring.phase.value,
            "under_replicated_ranges": under_replicated(ring, factor, healthy),
            "hints_waiting": sum(await asyncio.gather(*map(_hints, nodes))),
            "migrations": [
                {**row, "migration_id": str(row["migration_id"]), "percentage": _percent(row)}
                for row in map(dict, rows)
            ],
        }


def under_replicated(ring: Ring, factor: int, healthy: Set[str]) -> int:
    """Of how many ranges of the ring a replica is away or missing.

    Args:
        factor: the largest of all tenants; 0 where there is none, and nothing to replicate.
        healthy: the nodes that answer.
    """
    if not factor:
        return 0
    placed = [ring.placement(token, factor).natural for _, token in arcs(ring.before, ring.after)]
    return sum(len(healthy & set(nodes)) < factor for nodes in placed)


def _percent(migration: Mapping[str, Any]) -> int:
    done, total = migration["keys_migrated"], migration["total_keys"]
    return min(100, 100 * done // total) if total else 0


async def _hints(node: StorageNode) -> int:
    """The hints that a node keeps for others; 0 where it does not answer."""
    if not node.healthy:
        return 0
    reply = await node.request(HintsWaiting(), 0, _SECONDS)
    return sum(reply.waiting.values()) if isinstance(reply, Hints) else 0
