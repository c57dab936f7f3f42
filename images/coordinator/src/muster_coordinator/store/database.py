"""One pool of connections: every statement has a deadline, every outage is `Unavailable`."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg

from muster_coordinator.engine.errors import Unavailable
from muster_runtime import postgres

log = logging.getLogger(__name__)

T = TypeVar("T")

Connection = postgres.Connection

# Somebody else was in the way; the same again may succeed at once.
_CONFLICT = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
)

# Seconds; a connection may break for less without the database being away.
_LAST_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the pool and of each statement; times in seconds.

    Args:
        idle_connections: are opened before they are needed.
        max_lifetime: after which a connection is closed, in use or not.
        statement: longest time of one statement, held by the server and by the client.
        attempt: longest time that one call tries, over outages and conflicts.
    """

    max_connections: int = 25
    idle_connections: int = 0
    max_lifetime: float = 300.0
    statement: float = 5.0
    attempt: float = 5.0


SERVER_SETTINGS = {
    "application_name": "muster-coordinator",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    # A leader that is stopped in the middle of a transaction must not block its follower.
    "idle_in_transaction_session_timeout": "5s",
    "jit": "off",
    # Plans are kept. One that was made while a table was small must not read all of it for a few of
    # its rows when it has grown; where there is no index to use, this changes nothing.
    "enable_seqscan": "off",
    # Each workload leaves dead entries in the indexes of what waits and of what is held. A scan of
    # an index marks those that it meets, so that the next one passes over them; a bitmap does not,
    # and reads all of them, with their pages, again and again until they are vacuumed.
    "enable_bitmapscan": "off",
}


class Database:
    """A pool of connections to PostgreSQL; open it as a context."""

    def __init__(self, dsn: str, limits: Limits | None = None) -> None:
        self._dsn = dsn
        self._limits = limits or Limits()
        self._pool: asyncpg.Pool | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._patience = self._limits.attempt
        self._leaving = False
        self._given_up = False

    async def __aenter__(self) -> Self:
        """See `open`."""
        await self.open()
        return self

    async def open(self) -> None:
        """Open the pool and its first connections; nothing where it is open already.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError: the database is away.
        """
        if self._pool is not None:
            return
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=self._limits.idle_connections,
            max_size=self._limits.max_connections,
            max_inactive_connection_lifetime=self._limits.max_lifetime,
            command_timeout=self._limits.statement,
            timeout=self._limits.attempt,
            server_settings=SERVER_SETTINGS,
            # Nothing here changes a session, so that no round trip is needed to undo it.
            reset=_keep,
        )
        renewing = postgres.renew(self._pool, self._limits.max_lifetime)
        self._renewing = asyncio.create_task(renewing, name="connections")

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def leave(self) -> None:
        """This process ends: an outage is waited out once, for a moment, and then all calls fail.

        Who follows finds out what could not be noted.
        """
        self._leaving = True
        self._patience = min(self._patience, _LAST_PATIENCE)

    async def close(self) -> None:
        """Close the pool, where it is open."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self._pool is not None and self._given_up:
            self._pool.terminate()
        elif self._pool is not None:
            try:
                async with asyncio.timeout(self._limits.statement):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in one transaction, and again where a connection or a conflict broke it.

        `work` must bear being run twice, even where its first run was committed and only the
        answer was lost.

        Raises:
            Unavailable: the database was away all the time.
        """
        return await self._attempts(work, transaction=True)

    async def single(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work`, which is one statement and so needs no transaction around it; as `run`.

        Raises:
            Unavailable: the database was away all the time.
        """
        return await self._attempts(work, transaction=False)

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """The rows of one statement, which must bear being run twice.

        Raises:
            Unavailable: the database was away all the time.
        """

        async def rows(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(query, *args)

        return await self._attempts(rows, transaction=False)

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """The first row of one statement, as `fetch`."""
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None

    async def _attempts(
        self, work: Callable[[Connection], Awaitable[T]], *, transaction: bool
    ) -> T:
        try:
            async with asyncio.timeout(self._limits.attempt + self._limits.statement):
                return await self._tries(work, transaction=transaction)
        except TimeoutError as error:
            self._given_up |= self._leaving
            raise Unavailable("the database does not answer; come back later") from error

    async def _tries(self, work: Callable[[Connection], Awaitable[T]], *, transaction: bool) -> T:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        pause = 0.02
        while not self._given_up:
            try:
                return await self._once(work, transaction=transaction)
            except (*postgres.AWAY, *_CONFLICT) as error:
                if postgres.was_cancelled():
                    raise asyncio.CancelledError from error
                if not postgres.is_outage(error) and not isinstance(error, _CONFLICT):
                    raise
                if loop.time() + pause >= begun + self._patience:
                    self._given_up |= self._leaving and postgres.is_outage(error)
                    raise Unavailable("the database is away; come back later") from error
                log.debug("trying again", extra={"error": repr(error)})
            await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter
            pause = min(pause * 2, 0.5)
        raise Unavailable("the database is away, and this coordinator stops")

    async def _once(self, work: Callable[[Connection], Awaitable[T]], *, transaction: bool) -> T:
        if self._pool is None:
            raise Unavailable("the database is not open")
        async with self._pool.acquire(timeout=self._limits.attempt) as connection:
            if not transaction:
                return await work(connection)
            async with connection.transaction():
                return await work(connection)


async def _keep(_connection: Connection) -> None:
    """Leave a session as it is."""
