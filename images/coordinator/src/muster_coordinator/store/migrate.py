"""The schema: numbered SQL files, each in its own transaction, run once, under a lock.

A migration must be safe while the version before it still serves: add, fill, and only in a later
release remove.
"""

import hashlib
import logging
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

from muster_coordinator.store.database import SERVER_SETTINGS

log = logging.getLogger(__name__)

# Any constant will do, as long as all versions agree on it.
_LOCK = 0x6D75_7374_6572

_CONNECT_SECONDS = 10.0
_MIGRATION_SECONDS = 600.0

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    sha256      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)
"""


class SchemaError(Exception):
    """The database's schema is not one that this version can serve."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Of its text, lower-case hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All migrations that this version knows, in order."""
    found = []
    for entry in files("muster_coordinator.store").joinpath("migrations").iterdir():
        stem, _, suffix = entry.name.rpartition(".")
        if suffix == "sql":
            number, _, name = stem.partition("_")
            found.append(Migration(int(number), name, entry.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


async def migrate(dsn: str, known: list[Migration] | None = None) -> list[Migration]:
    """Bring the schema up to date; the migrations that were run now.

    Args:
        known: all migrations of this version; the files beside this module by default.

    Raises:
        SchemaError: the schema is newer than this version, or was made by other files.
        OSError, asyncpg.PostgresError, TimeoutError: the database is away, or a migration failed
            and was rolled back.
    """
    known = migrations() if known is None else known
    connection = await asyncpg.connect(
        dsn,
        timeout=_CONNECT_SECONDS,
        command_timeout=_MIGRATION_SECONDS,
        server_settings=SERVER_SETTINGS | {"statement_timeout": "0", "lock_timeout": "0"},
    )
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        applied = {
            row["number"]: row["sha256"]
            for row in await connection.fetch("SELECT number, sha256 FROM schema_migrations")
        }
        _check(known, applied)
        due = [migration for migration in known if migration.number not in applied]
        for migration in due:
            await _apply(connection, migration)
        return due
    finally:
        # Ends the session, and the lock with it.
        await connection.close(timeout=_CONNECT_SECONDS)


def _check(known: list[Migration], applied: dict[int, str]) -> None:
    numbers = {migration.number for migration in known}
    newer = sorted(applied.keys() - numbers)
    if newer:
        raise SchemaError(
            f"the database has migrations {newer} that this version does not know (it knows up to "
            f"{max(numbers)}): run the version that made them, or a newer one"
        )
    for migration in known:
        if applied.get(migration.number, migration.sha256) != migration.sha256:
            raise SchemaError(
                f"migration {migration.number}_{migration.name} was applied with another text: "
                "restore the file; a released migration never changes"
            )


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3)",
            migration.number,
            migration.name,
            migration.sha256,
        )
    log.info("migration applied", extra={"number": migration.number, "migration": migration.name})
