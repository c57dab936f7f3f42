"""The channels on which changes of metadata are told.

Caches have a time of their own and the ring is looked at from time to time: what is told makes that
fast, and after every reconnection all is taken for changed.
"""

TENANTS = "kv_tenants"
"""The tenant in the payload was made or changed."""

RING = "kv_ring"
"""The ring has the version in the payload."""

MIGRATIONS = "kv_migrations"
"""The migration in the payload was made, or its status changed."""

REPAIRS = "kv_repairs"
"""The repair in the payload was asked for."""
