"""The ring in force: one row, read by all, changed under its lock."""

import msgspec

from muster_kv.ring import Member, Phase, Ring
from muster_kv_coordinator.store.database import Connection, Database

_READ = "SELECT version, phase, members FROM ring"
_HELD = {"share": f"{_READ} FOR SHARE", "update": f"{_READ} FOR UPDATE"}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[Member, ...])


class PostgresRing:
    """Reads the ring."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ring(self) -> Ring:
        """The ring in force.

        Raises:
            UnavailableError: the database is away.
        """
        async with self._database.connection() as connection:
            return await _ring(connection, _READ)


async def locked_ring(connection: Connection, lock: str) -> Ring:
    """The ring, which stays as it is until the transaction ends.

    Args:
        lock: `update` to change it, `share` to rely on it.
    """
    return await _ring(connection, _HELD[lock])


async def _ring(connection: Connection, query: str) -> Ring:
    (row,) = await connection.fetch(query)
    return Ring(row["version"], _decoder.decode(row["members"]), Phase(row["phase"]))


async def store_ring(
    connection: Connection, members: tuple[Member, ...], phase: Phase = Phase.STABLE
) -> int:
    """Let `members` be the ring from now on, under the lock for updates; its version."""
    version = await connection.fetchval(
        "UPDATE ring SET version = version + 1, phase = $1, members = $2, updated_at = now()"
        " RETURNING version",
        phase.value,
        _encoder.encode(members).decode(),
    )
    return int(version)
