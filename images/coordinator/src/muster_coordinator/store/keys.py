"""Proving and verifying keys; see `engine.ports.KeyStore`."""

from collections.abc import AsyncIterator

from muster_coordinator.engine.model import KeyRecord
from muster_coordinator.store.database import Connection, Database
from muster_coordinator.store.leadership import fence

_CHUNK = 1 << 20

_ADD = """
WITH added AS (
    INSERT INTO proving_keys (key_id, version, proving_key, proving_key_sha256, verifying_key,
                              insecure)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING RETURNING key_id, version
), logged AS (
    INSERT INTO audit_events (actor, event, after, epoch, reason)
    SELECT 'leader', 'key.added', version, $7, key_id FROM added
)
SELECT pg_notify('muster_keys', key_id) FROM added
"""

_KEYS = """
SELECT key_id, version, proving_key_sha256, length(proving_key) AS size, insecure
FROM proving_keys ORDER BY created_at, key_id, version
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
            )

        await self._database.run(add)
