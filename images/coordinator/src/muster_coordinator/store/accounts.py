"""Customers and their keys; see `engine.ports.AccountStore`."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

import asyncpg

from muster_coordinator.engine.customers import ApiKey, Customer, CustomerStats, Tier
from muster_coordinator.engine.errors import NotFound
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Connection, Database

_CUSTOMER = "id, name, tier, max_concurrent, max_queued, created_at"

_PUT = f"""
INSERT INTO customers (id, name, tier, max_concurrent, max_queued) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, tier = excluded.tier,
    max_concurrent = excluded.max_concurrent, max_queued = excluded.max_queued
RETURNING {_CUSTOMER}
"""

_KEY = "id, customer_id, prefix, admin, created_at, expires_at, revoked_at, last_used_at"

_FIND_KEY = """
SELECT key.id, key.customer_id, key.prefix, key.admin, key.created_at, key.expires_at,
       key.revoked_at, key.last_used_at,
       customer.name, customer.tier, customer.max_concurrent, customer.max_queued,
       customer.created_at AS customer_since
FROM api_keys AS key LEFT JOIN customers AS customer ON customer.id = key.customer_id
WHERE key.secret_sha256 = $1
"""

# Storing one again changes nothing, as the answer to the first time may have been lost.
_ADD_KEY = """
WITH added AS (
    INSERT INTO api_keys (id, customer_id, prefix, secret_sha256, admin, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING RETURNING id, customer_id, prefix
)
INSERT INTO audit_events (customer_id, actor, event, reason)
SELECT customer_id, 'administrator', 'api_key.created', prefix FROM added
"""

_REVOKE_KEY = """
WITH revoked AS (
    UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL
    RETURNING id, customer_id, prefix
), logged AS (
    INSERT INTO audit_events (customer_id, actor, event, reason)
    SELECT customer_id, 'administrator', 'api_key.revoked', prefix FROM revoked
)
SELECT id FROM revoked
"""

_END_KEY = """
WITH ending AS (
    UPDATE api_keys SET expires_at = least(expires_at, now() + $2::interval)
    WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    RETURNING id, customer_id, prefix
), logged AS (
    INSERT INTO audit_events (customer_id, actor, event, reason)
    SELECT customer_id, 'administrator', 'api_key.rotated', prefix FROM ending
)
SELECT id FROM ending
"""

_TOUCH_KEYS = """
WITH used AS (SELECT id FROM api_keys WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE)
UPDATE api_keys SET last_used_at = now() FROM used WHERE api_keys.id = used.id
"""

_STATS = """
SELECT state, count(*) AS count,
       extract(epoch FROM now() - min(created_at)
           FILTER (WHERE state IN ('PENDING', 'REDISTRIBUTING')))::float8 AS oldest
FROM workloads WHERE customer_id = $1 GROUP BY state
"""

_DURATION = """
SELECT avg(coalesce(workload.duration_ms, result.duration_ms))::float8 AS duration_ms
FROM workloads AS workload LEFT JOIN results_apart AS result ON result.workload_id = workload.id
WHERE workload.customer_id = $1
"""


class PostgresAccounts:
    """Implements `engine.ports.AccountStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def customer(self, customer_id: str) -> Customer | None:
        """See `AccountStore.customer`."""
        row = await self._database.fetchrow(
            f"SELECT {_CUSTOMER} FROM customers WHERE id = $1", customer_id
        )
        return _customer(row) if row is not None else None

    async def customers(self) -> list[Customer]:
        """See `AccountStore.customers`."""
        rows = await self._database.fetch(f"SELECT {_CUSTOMER} FROM customers ORDER BY id")
        return [_customer(row) for row in rows]

    async def put_customer(self, customer: Customer) -> Customer:
        """See `AccountStore.put_customer`."""
        rows = await self._database.fetch(
            _PUT,
            customer.id,
            customer.name,
            customer.tier,
            customer.max_concurrent,
            customer.max_queued,
        )
        return _customer(rows[0])

    async def stats(self, customer_id: str) -> CustomerStats:
        """See `AccountStore.stats`."""
        rows = await self._database.fetch(_STATS, customer_id)
        duration = await self._database.fetchrow(_DURATION, customer_id)
        return CustomerStats(
            {State(row["state"]): row["count"] for row in rows},
            (duration and duration["duration_ms"]) or 0.0,
            max((row["oldest"] or 0.0 for row in rows), default=0.0),
        )

    async def add_key(self, key: ApiKey, secret_sha256: bytes) -> None:
        """See `AccountStore.add_key`."""
        await self._database.run(lambda connection: _add(connection, key, secret_sha256))

    async def find_key(self, secret_sha256: bytes) -> tuple[ApiKey, Customer | None] | None:
        """See `AccountStore.find_key`."""
        row = await self._database.fetchrow(_FIND_KEY, secret_sha256)
        if row is None:
            return None
        if row["tier"] is None:
            return _key(row), None
        customer = Customer(
            row["customer_id"],
            row["name"],
            Tier(row["tier"]),
            row["max_concurrent"],
            row["max_queued"],
            row["customer_since"],
        )
        return _key(row), customer

    async def keys(self, customer_id: str | None = None) -> list[ApiKey]:
        """See `AccountStore.keys`."""
        rows = await self._database.fetch(
            f"SELECT {_KEY} FROM api_keys WHERE $1::text IS NULL OR customer_id = $1 "
            "ORDER BY created_at DESC, id DESC",
            customer_id,
        )
        return [_key(row) for row in rows]

    async def revoke_key(self, key_id: UUID) -> bool:
        """See `AccountStore.revoke_key`."""
        return await self._database.fetchrow(_REVOKE_KEY, key_id) is not None

    async def rotate_key(
        self, key_id: UUID, follower: ApiKey, secret_sha256: bytes, grace: float
    ) -> None:
        """See `AccountStore.rotate_key`."""

        async def rotate(connection: Connection) -> None:
            if await connection.fetchval(_END_KEY, key_id, timedelta(seconds=grace)) is None:
                raise NotFound(f"key {key_id}: there is none that is valid")
            await _add(connection, follower, secret_sha256)

        await self._database.run(rotate)

    async def touch_keys(self, keys: Collection[UUID]) -> None:
        """See `AccountStore.touch_keys`."""
        await self._database.fetch(_TOUCH_KEYS, list(keys))


async def _add(connection: Connection, key: ApiKey, secret_sha256: bytes) -> None:
    try:
        await connection.execute(
            _ADD_KEY,
            key.id,
            key.customer_id or None,
            key.prefix,
            secret_sha256,
            key.admin,
            key.expires_at,
        )
    except asyncpg.ForeignKeyViolationError:
        raise NotFound(f"customer {key.customer_id}: there is none") from None


def _customer(row: asyncpg.Record) -> Customer:
    return Customer(
        row["id"],
        row["name"],
        Tier(row["tier"]),
        row["max_concurrent"],
        row["max_queued"],
        row["created_at"],
    )


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        row["id"],
        row["customer_id"] or "",
        row["prefix"],
        row["admin"],
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
        row["last_used_at"],
    )
