"""The metadata in PostgreSQL: tenants, storage nodes, the ring, migrations."""
