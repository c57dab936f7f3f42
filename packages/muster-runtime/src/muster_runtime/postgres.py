"""What a connection to PostgreSQL raises, and what of that means that the database is away."""

import asyncpg

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

LOST = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What it says between a server's goodbye on an idle connection and the end of that connection.
    asyncpg.InternalClientError,
)
"""All that a connection raises, whoever is at fault; `is_outage` tells which."""

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""Of these, what is raised where the connection, or what is behind it, is away; see `is_outage`."""


def is_outage(error: BaseException) -> bool:
    """Whether `error` says that the database is away, not that something is wrong with it."""
    # asyncpg's errors about wrong arguments are ValueErrors besides.
    return isinstance(error, AWAY) and not isinstance(error, ValueError)
