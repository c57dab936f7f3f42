"""Connections to PostgreSQL: how long they last, what they raise, and what means an outage."""

import asyncio

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


def was_cancelled() -> bool:
    """Whether the current task was cancelled, whatever it caught last.

    A connection that is given back in the middle of a statement and does not answer raises
    TimeoutError in the place of the cancellation; whoever takes that for an outage never ends.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def is_outage(error: BaseException) -> bool:
    """Whether `error` says that the database is away, not that something is wrong with it."""
    # asyncpg's errors about wrong arguments are ValueErrors besides.
    return isinstance(error, AWAY) and not isinstance(error, ValueError)


async def renew(pool: asyncpg.Pool, seconds: float) -> None:
    """Let no connection last for longer than that; one that is in use ends when it is given back.

    Runs until it is cancelled.
    """
    while True:
        await asyncio.sleep(seconds)
        await pool.expire_connections()
