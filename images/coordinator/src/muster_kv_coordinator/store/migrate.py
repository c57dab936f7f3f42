"""The schema of the metadata; see `muster_runtime.schema` for how it is brought up to date."""

from muster_kv_coordinator.store.database import SERVER_SETTINGS
from muster_runtime import schema
from muster_runtime.schema import Migration, SchemaError

__all__ = ["SchemaError", "migrate"]

# Its own, so that a database can hold this schema beside others.
_LEDGER = "kv_schema_migrations"


async def migrate(dsn: str) -> list[Migration]:
    """Bring the schema up to date, as `muster_runtime.schema.migrate`; what was run now."""
    known = schema.migrations("muster_kv_coordinator.store")
    return await schema.migrate(dsn, schema.Schema(known, _LEDGER, SERVER_SETTINGS))
