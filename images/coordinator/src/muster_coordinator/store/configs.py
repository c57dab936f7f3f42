"""Stored configurations of workloads; see `engine.ports.ConfigStore`."""

import json
from uuid import UUID

import asyncpg

from muster_coordinator.engine.customers import WorkloadConfig
from muster_coordinator.engine.errors import Conflict, NotFound
from muster_coordinator.store.database import Connection, Database

_COLUMNS = """
id, customer_id, name, workload_type, input_params, priority, timeout_seconds, max_retries,
affinity, created_at, updated_at
"""

_ADD = f"""
INSERT INTO workload_configs (id, customer_id, name, workload_type, input_params, priority,
                              timeout_seconds, max_retries, affinity)
VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, $8, $9::jsonb)
-- The same one again, as the answer to the first time may have been lost.
ON CONFLICT (id) DO UPDATE SET id = excluded.id
RETURNING {_COLUMNS}
"""

_UPDATE = f"""
UPDATE workload_configs SET
    name = $3, workload_type = $4, input_params = $5::jsonb, priority = $6, timeout_seconds = $7,
    max_retries = $8, affinity = $9::jsonb, updated_at = now()
WHERE id = $1 AND customer_id = $2
RETURNING {_COLUMNS}
"""

_LOCK = "SELECT FROM workload_configs WHERE id = $1 AND customer_id = $2 FOR UPDATE"

_USED = """
SELECT count(*) FROM workloads
WHERE config_id = $1 AND state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')
"""


class PostgresConfigs:
    """Implements `engine.ports.ConfigStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, config: WorkloadConfig) -> WorkloadConfig:
        """See `ConfigStore.add`."""
        return _config(await self._store(_ADD, config))

    async def get(self, config_id: UUID, customer_id: str) -> WorkloadConfig | None:
        """See `ConfigStore.get`."""
        row = await self._database.fetchrow(
            f"SELECT {_COLUMNS} FROM workload_configs WHERE id = $1 AND customer_id = $2",
            config_id,
            customer_id,
        )
        return _config(row) if row is not None else None

    async def find(
        self, customer_id: str, limit: int = 50, offset: int = 0
    ) -> list[WorkloadConfig]:
        """See `ConfigStore.find`."""
        rows = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM workload_configs WHERE customer_id = $1 "
            "ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3",
            customer_id,
            limit,
            offset,
        )
        return [_config(row) for row in rows]

    async def update(self, config: WorkloadConfig) -> WorkloadConfig:
        """See `ConfigStore.update`."""
        row = await self._store(_UPDATE, config)
        if row is None:
            raise NotFound(f"workload config {config.id}: there is none")
        return _config(row)

    async def delete(self, config_id: UUID, customer_id: str) -> None:
        """See `ConfigStore.delete`."""

        async def delete(connection: Connection) -> None:
            if await connection.fetchrow(_LOCK, config_id, customer_id) is None:
                raise NotFound(f"workload config {config_id}: there is none")
            used = await connection.fetchval(_USED, config_id)
            if used:
                raise Conflict(f"workload config {config_id}: {used} workloads still use it")
            await connection.execute("DELETE FROM workload_configs WHERE id = $1", config_id)

        await self._database.run(delete)

    async def _store(self, query: str, config: WorkloadConfig) -> asyncpg.Record | None:
        try:
            return await self._database.fetchrow(
                query,
                config.id,
                config.customer_id,
                config.name,
                config.workload_type,
                json.dumps(config.input_params),
                config.priority,
                config.timeout_seconds,
                config.max_retries,
                json.dumps(config.affinity),
            )
        except asyncpg.UniqueViolationError:
            raise Conflict(
                f"workload config {config.name!r}: there is another one of this name"
            ) from None


def _config(row: asyncpg.Record | None) -> WorkloadConfig:
    if row is None:
        raise TypeError("a stored configuration has no row")
    return WorkloadConfig(
        id=row["id"],
        customer_id=row["customer_id"],
        name=row["name"],
        workload_type=row["workload_type"],
        input_params=json.loads(row["input_params"]),
        priority=row["priority"],
        timeout_seconds=row["timeout_seconds"],
        max_retries=row["max_retries"],
        affinity=json.loads(row["affinity"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
