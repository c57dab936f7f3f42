"""One pool of connections: every call has a deadline, every outage is `UnavailableError`."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

import asyncpg

from muster_kv_coordinator.core.errors import UnavailableError
from muster_runtime import postgres

log = logging.getLogger(__name__)

Connection = postgres.Connection

SERVER_SETTINGS = {
    "application_name": "muster-kv-coordinator",
    "statement_timeout": "5s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    "jit": "off",
}


def is_outage(error: BaseException) -> bool:
    """Whether `error` says that the database is away, not that something is wrong with it.

    A lock that was not given in time counts too: nothing here tries again by itself, and whoever
    asked is told to come back later.
    """
    return postgres.is_outage(error) or isinstance(error, asyncpg.LockNotAvailableError)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of the pool; times in seconds."""

    max_connections: int = 50
    min_connections: int = 0
    max_lifetime: float = 1800.0
    call: float = 5.0


class DatabaseMeter(Protocol):
    """Counts what is asked of the metadata store."""

    def asked_database(self, seconds: float) -> None:
        """It was used for so long."""
        ...

    def database_failed(self) -> None:
        """It was away."""
        ...

    def watch_connections(self, name: str, read: Callable[[], float]) -> None:
        """Read how many connections are in a state, whenever asked."""
        ...


class Database:
    """A pool of connections to the metadata; `open` it first.

    The pool opens connections as they are needed, so that it can be made while the database is
    away; calls then raise `UnavailableError`.
    """

    def __init__(self, dsn: str, limits: PoolLimits, meter: DatabaseMeter) -> None:
        self._dsn = dsn
        self._limits = limits
        self._meter = meter
        self._pool: asyncpg.Pool | None = None
        self._renewing: asyncio.Task[None] | None = None
        meter.watch_connections("idle", lambda: self._counted()[1])
        meter.watch_connections("used", lambda: self._counted()[0])

    def _counted(self) -> tuple[int, int]:
        """Connections in use, and open ones that are not."""
        if self._pool is None:
            return 0, 0
        idle = self._pool.get_idle_size()
        return self._pool.get_size() - idle, idle

    async def open(self) -> None:
        """Make the pool with its first connections; nothing where it is made already.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError: the database is away.
        """
        if self._pool is not None:
            return
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=self._limits.min_connections,
            max_size=self._limits.max_connections,
            max_inactive_connection_lifetime=self._limits.max_lifetime,
            command_timeout=self._limits.call,
            timeout=self._limits.call,
            server_settings=SERVER_SETTINGS,
        )
        renewing = postgres.renew(self._pool, self._limits.max_lifetime)
        self._renewing = asyncio.create_task(renewing, name="connections")

    async def close(self) -> None:
        """Close what is open, at once where the server does not answer."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self._pool is not None:
            try:
                async with asyncio.timeout(self._limits.call):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, for one statement.

        Raises:
            UnavailableError: the database is away.
        """
        if self._pool is None:
            raise UnavailableError("the metadata store is not open yet")
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._limits.call), self._pool.acquire() as held:
                yield held
        except postgres.LOST as error:
            if postgres.was_cancelled():
                raise asyncio.CancelledError from error
            if not is_outage(error):
                raise
            self._meter.database_failed()
            log.warning("the metadata store is away", extra={"error": repr(error)})
            raise UnavailableError("the metadata store is away; come back later") from error
        finally:
            self._meter.asked_database(time.perf_counter() - begun)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction; as `connection`."""
        async with self.connection() as held, held.transaction():
            yield held

    async def ping(self) -> None:
        """Ask for anything.

        Raises:
            UnavailableError: the database is away.
        """
        async with self.connection() as held:
            await held.execute("SELECT 1")
