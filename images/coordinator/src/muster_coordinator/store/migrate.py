"""The schema of the queue; see `muster_runtime.schema` for how it is brought up to date."""

from muster_coordinator.store.database import SERVER_SETTINGS
from muster_runtime import schema
from muster_runtime.schema import Migration, SchemaError

__all__ = ["Migration", "SchemaError", "migrate", "migrations"]

_LEDGER = "schema_migrations"


def migrations() -> list[Migration]:
    """All migrations that this version knows, in order."""
    return schema.migrations("muster_coordinator.store")


async def migrate(dsn: str, known: list[Migration] | None = None) -> list[Migration]:
    """Bring the schema up to date, as `muster_runtime.schema.migrate`; what was run now.

    Args:
        known: all migrations of this version; the files beside this module by default.
    """
    known = migrations() if known is None else known
    return await schema.migrate(dsn, schema.Schema(known, _LEDGER, SERVER_SETTINGS))
