"""The ring in force: one row, read by all, changed under its lock."""

import msgspec

from muster_kv.ring import Member, Phase, Ring
from muster_kv_coordinator.store.database import Connection, Database

_READ = "SELECT version, phase, members, factors_version FROM ring"
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


async def current_ring(connection: Connection) -> Ring:
    """The ring at this moment."""
    return await _ring(connection, _READ)


async def locked_ring(connection: Connection, lock: str) -> Ring:
    """The ring, which stays as it is until the transaction ends.

    Args:
        lock: `update` to change it, `share` to rely on it.
    """
    return await _ring(connection, _HELD[lock])


async def _ring(connection: Connection, query: str) -> Ring:
    (row,) = await connection.fetch(query)
    return Ring(
        row["version"],
        _decoder.decode(row["members"]),
        Phase(row["phase"]),
        row["factors_version"],
    )


async def store_ring(
    connection: Connection,
    members: tuple[Member, ...],
    phase: Phase = Phase.STABLE,
    *,
    factors: bool = False,
) -> int:
    """Let `members` be the ring from now on, under the lock for updates; its version.

    Args:
        factors: whether a tenant's replication factor changes with it.
    """
    version = await connection.fetchval(
        "UPDATE ring SET version = version + 1, phase = $1, members = $2, updated_at = now(),"
        " factors_version = CASE WHEN $3 THEN version + 1 ELSE factors_version END"
        " RETURNING version",
        phase.value,
        _encoder.encode(members).decode(),
        factors,
    )
    return int(version)
