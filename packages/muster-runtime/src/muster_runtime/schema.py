"""A database's schema: numbered SQL files, each in its own transaction, run once, under a lock.

A migration must be safe while the version before it still serves: add, fill, and only in a later
release remove.
"""

import hashlib
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
_MIGRATION_SECONDS = 600.0

_LEDGER = """
CREATE TABLE IF NOT EXISTS {ledger} (
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


@dataclass(frozen=True, slots=True)
class Schema:
    """What one kind of process keeps in its database.

    Args:
        known: all migrations of this version, in order.
        ledger: name of the table that says which were run.
        settings: of the session that runs them; times out nothing, whatever they say.
    """

    known: Sequence[Migration]
    ledger: str
    settings: Mapping[str, str]

    @property
    def lock(self) -> int:
        """The advisory lock under which it is changed; all versions agree on it."""
        # The first of these schemas has had a lock of its own since before there were others.
        if self.ledger == "schema_migrations":
            return 0x6D75_7374_6572
        return 0x6D75_7374 << 32 | zlib.crc32(self.ledger.encode())


def migrations(package: str) -> list[Migration]:
    """The files `<number>_<name>.sql` in the folder `migrations` of a package, in order."""
    found = []
    for entry in files(package).joinpath("migrations").iterdir():
        stem, _, suffix = entry.name.rpartition(".")
        if suffix == "sql":
            number, _, name = stem.partition("_")
            found.append(Migration(int(number), name, entry.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


async def migrate(dsn: str, schema: Schema) -> list[Migration]:
    """Bring the schema up to date; the migrations that were run now.

    Raises:
        SchemaError: the schema is newer than this version, or was made by other files.
        OSError, asyncpg.PostgresError, TimeoutError: the database is away, or a migration failed
            and was rolled back.
    """
    connection = await asyncpg.connect(
        dsn,
        timeout=_CONNECT_SECONDS,
        command_timeout=_MIGRATION_SECONDS,
        server_settings={**schema.settings, "statement_timeout": "0", "lock_timeout": "0"},
    )
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", schema.lock)
        await connection.execute(_LEDGER.format(ledger=schema.ledger))
        query = f"SELECT number, sha256 FROM {schema.ledger}"  # noqa: S608 - a name from code
        applied = {row["number"]: row["sha256"] for row in await connection.fetch(query)}
        _check(schema.known, applied)
        due = [migration for migration in schema.known if migration.number not in applied]
        for migration in due:
            await _apply(connection, migration, schema.ledger)
        return due
    finally:
        # Ends the session, and the lock with it.
        await connection.close(timeout=_CONNECT_SECONDS)


def _check(known: Sequence[Migration], applied: dict[int, str]) -> None:
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


async def _apply(connection: asyncpg.Connection, migration: Migration, ledger: str) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            f"INSERT INTO {ledger} (number, name, sha256) VALUES ($1, $2, $3)",  # noqa: S608
            migration.number,
            migration.name,
            migration.sha256,
        )
    log.info("migration applied", extra={"number": migration.number, "migration": migration.name})
