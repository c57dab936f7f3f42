"""How the topology stands, for people and for whoever runs the cluster: `/topology`."""

import asyncio
from datetime import datetime
from typing import Any

from muster_kv.wire.messages import Stat, Status
from muster_kv_coordinator.core.errors import UnavailableError
from muster_kv_coordinator.nodes.cluster import StorageCluster
from muster_kv_coordinator.store.database import Database
from muster_kv_coordinator.store.migrations_table import migration_of
from muster_kv_coordinator.store.ring import PostgresRing
from muster_kv_coordinator.store.tenants import largest_factor, smallest_factor
from muster_kv_coordinator.topology import plan

_SECONDS = 1.0

_OPEN = """
SELECT * FROM migrations WHERE status IN ('pending', 'in_progress') ORDER BY created_at
"""
_FACTORS = """
SELECT DISTINCT replication_factor AS factor FROM tenants
UNION SELECT moving_to FROM tenants WHERE moving_to IS NOT NULL
"""

_WANTED = "SELECT EXISTS (SELECT FROM repairs WHERE status <> 'completed')"


class Report:
    """Answers of any coordinator: what it sees itself, and what the leader has written down."""

    def __init__(self, database: Database, cluster: StorageCluster) -> None:
        self._database = database
        self._cluster = cluster

    async def topology(self) -> dict[str, Any]:
        """The ring, its nodes, migrations that have not ended, anti-entropy.

        What only the database knows is left out while that is away.
        """
        ring, nodes = self._cluster.ring, self._cluster.nodes
        replies = await asyncio.gather(*(node.request(Stat(), 0, _SECONDS) for node in nodes))
        said = {reply.node_id: reply for reply in replies if isinstance(reply, Status)}
        lost = plan.unfilled(ring, said)
        found: dict[str, Any] = {
            "ring_version": ring.version,
            "phase": ring.phase.value,
            "nodes": [
                {
                    "node_id": member.node_id,
                    "zone": member.zone,
                    "state": member.state.value,
                    "reachable": member.node_id in said,
                    "whole": member.node_id not in lost,
                }
                for member in ring.members
            ],
            "hints_waiting": sum(status.hints_waiting for status in said.values()),
        }
        try:
            written, factors, in_force = await asyncio.gather(
                self._written(), self._factors(), PostgresRing(self._database).ring()
            )
        except UnavailableError:
            return found
        # A ring is in the database before any node has it: these refuse all that is asked now.
        ahead = {name for name, status in said.items() if status.ring_version > in_force.version}
        under = plan.under_replicated(ring, factors, said.keys() - lost.keys() - ahead)
        return {
            **found,
            "under_replicated_ranges": under,
            "nodes_ahead": sorted(ahead),
            **written,
        }

    async def _factors(self) -> list[int]:
        async with self._database.connection() as connection:
            return [row["factor"] for row in await connection.fetch(_FACTORS)]

    async def _written(self) -> dict[str, Any]:
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_OPEN)
            (kept,) = await connection.fetch("SELECT * FROM maintenance")
            wanted = await connection.fetchval(_WANTED)
            factors = await largest_factor(connection), await smallest_factor(connection)
        rounds = kept["round_started"] is not None
        return {
            "replication_factor": factors[0],
            "smallest_replication_factor": factors[1],
            "leader": kept["holder"],
            "epoch": kept["epoch"],
            "migrations": [
                {
                    "migration_id": one.migration_id,
                    "type": one.type.value,
                    "node_id": one.node_id,
                    "tenant_id": one.tenant_id,
                    "status": one.status.value,
                    "stage": row["stage"],
                    "keys_migrated": one.keys_migrated,
                    "total_keys": one.total_keys,
                    "percentage": one.percentage,
                    "waiting_for": one.error,
                }
                for row in rows
                for one in (migration_of(row),)
            ],
            "anti_entropy": {
                "last_round_began": _text(kept["round_started"]),
                "last_round_ended": _text(kept["round_finished"] if rounds else None),
                "wanted": wanted,
            },
        }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
