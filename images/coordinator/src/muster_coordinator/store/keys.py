"""Proving and verifying keys; see `engine.ports.KeyStore`."""

from collections.abc import AsyncIterator, Collection

from muster_coordinator.engine.model import KeyRecord
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.leadership import fence

_CHUNK = 1 << 20

_ADD = """
WITH revived AS (
    UPDATE proving_keys
    SET proving_key = $3, proving_key_sha256 = $4, source_sha256 = $8,
        superseded_at = NULL, retired_at = NULL, created_at = now()
    WHERE key_id = $1 AND version = $2 AND retired_at IS NOT NULL
    RETURNING key_id, version
), inserted AS (
    INSERT INTO proving_keys (key_id, version, proving_key, proving_key_sha256, verifying_key,
                              insecure, source_sha256)
    VALUES ($1, $2, $3, $4, $5, $6, $8)
    ON CONFLICT DO NOTHING RETURNING key_id, version
), added AS (
    SELECT * FROM revived UNION ALL SELECT * FROM inserted
), logged AS (
    INSERT INTO audit_events (actor, event, after, epoch, reason)
    SELECT 'leader', 'key.added', version, $7, key_id FROM added
)
SELECT pg_notify('muster_keys', key_id) FROM added
"""

_KEYS = """
SELECT key_id, version, proving_key_sha256, coalesce(length(proving_key), 0) AS size, insecure,
       source_sha256, retired_at IS NOT NULL AS retired
FROM proving_keys ORDER BY created_at, key_id, version
"""

_NEEDED = """
SELECT DISTINCT key_id, key_version FROM workloads
WHERE pool = $1 AND key_id <> ''
  AND (state IN ('PENDING', 'REDISTRIBUTING') OR state IN ('SCHEDULED', 'RUNNING'))
"""

_SUPERSEDE = """
UPDATE proving_keys AS key
SET superseded_at = CASE WHEN current.key_id IS NULL THEN now() END
FROM proving_keys AS one
LEFT JOIN unnest($1::text[], $2::text[]) AS current (key_id, version)
    ON current.key_id = one.key_id AND current.version = one.version
WHERE key.key_id = one.key_id AND key.version = one.version
  AND (key.superseded_at IS NULL) = (current.key_id IS NULL)
"""

_RETIRE = """
WITH retired AS (
    UPDATE proving_keys AS key SET proving_key = NULL, retired_at = now()
    WHERE retired_at IS NULL AND superseded_at <= now() - make_interval(secs => $1)
      AND NOT EXISTS (
          SELECT FROM workloads
          WHERE state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')
            AND workloads.key_id = key.key_id AND workloads.key_version = key.version)
    RETURNING key_id, version
), logged AS (
    INSERT INTO audit_events (actor, event, after, epoch, reason)
    SELECT 'leader', 'key.retired', version, $2, key_id FROM retired
)
SELECT pg_notify('muster_keys', key_id) FROM retired
"""

_PART = """
SELECT substring(proving_key FROM $3::int FOR $4::int) AS part
FROM proving_keys WHERE key_id = $1 AND version = $2
"""


class PostgresKeys:
    """Implements `engine.ports.KeyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keys(self) -> list[KeyRecord]:
        """See `KeyStore.keys`."""
        return [
            KeyRecord(
                row["key_id"],
                row["version"],
                row["proving_key_sha256"],
                row["size"],
                row["insecure"],
                row["source_sha256"],
                row["retired"],
            )
            for row in await self._database.fetch(_KEYS)
        ]

    async def verifying_key(self, key_id: str, version: str) -> bytes | None:
        """See `KeyStore.verifying_key`."""
        row = await self._database.fetchrow(
            "SELECT verifying_key FROM proving_keys WHERE key_id = $1 AND version = $2",
            key_id,
            version,
        )
        return bytes(row["verifying_key"]) if row is not None else None

    async def proving_key(self, key_id: str, version: str) -> AsyncIterator[bytes]:
        """See `KeyStore.proving_key`."""
        position = 1
        while True:
            row = await self._database.fetchrow(_PART, key_id, version, position, _CHUNK)
            if row is None or not row["part"]:
                return
            yield bytes(row["part"])
            if len(row["part"]) < _CHUNK:
                return
            position += _CHUNK

    async def add(self, epoch: int, record: KeyRecord, proving: bytes, verifying: bytes) -> None:
        """See `KeyStore.add`."""

        async def add(connection: Connection) -> None:
            await fence(connection, epoch)
            await connection.execute(
                _ADD,
                record.key_id,
                record.version,
                proving,
                record.proving_key_sha256,
                verifying,
                record.insecure,
                epoch,
                record.source_sha256,
            )

        await self._database.run(add)

    async def needed(self, pool: str) -> set[tuple[str, str]]:
        """See `KeyStore.needed`."""
        rows = await self._database.fetch(_NEEDED, pool)
        return {(row["key_id"], row["key_version"]) for row in rows}

    async def retire(self, epoch: int, current: Collection[tuple[str, str]], grace: float) -> None:
        """See `KeyStore.retire`."""

        async def retire(connection: Connection) -> None:
            await fence(connection, epoch)
            ids = [key_id for key_id, _ in current]
            await connection.execute(_SUPERSEDE, ids, [version for _, version in current])
            await connection.execute(_RETIRE, grace, epoch)

        await self._database.run(retire)
