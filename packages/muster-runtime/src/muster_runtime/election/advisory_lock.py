"""Leader election outside Kubernetes: a PostgreSQL advisory lock, held as long as a connection.

The server drops the lock when it sees the connection gone. A leader whose connection hangs steps
down after the renew deadline, as with a Lease.
"""

import asyncio
import contextlib
import hashlib
import logging

import asyncpg

from muster_runtime.election.record import Term, Timings
from muster_runtime.election.reign import Lead, reign
from muster_runtime.postgres import LOST

log = logging.getLogger(__name__)

_HOLDER = """
SELECT activity.application_name
FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)
WHERE lock.locktype = 'advisory' AND lock.granted
  AND (lock.classid::bigint << 32) | lock.objid::bigint = $1
"""


class AdvisoryLockElector:
    """Leader election on one PostgreSQL database.

    Args:
        dsn: connection string of the database.
        name: what is led; candidates of the same name compete.
        identity: this candidate's name; at most 63 bytes of it are shown to the others.
        timings: see `Timings`; `lease_duration` is not used.
    """

    def __init__(self, dsn: str, name: str, identity: str, timings: Timings | None = None) -> None:
        self._dsn = dsn
        self._identity = identity
        self._timings = timings or Timings()
        self._leader: str | None = None
        # Clears the sign bit: pg_locks shows the key as two unsigned halves.
        digest = hashlib.sha256(name.encode()).digest()
        self._key = int.from_bytes(digest[:8], "big") >> 1

    @property
    def identity(self) -> str:
        """This candidate's name."""
        return self._identity

    @property
    def leader(self) -> str | None:
        """Who holds the lock, as last seen."""
        return self._leader

    async def run(self, lead: Lead) -> None:
        """Campaign for ever, and run `lead` while leading; see `Elector.run`."""
        while True:
            connection = await self._connect()
            if connection is not None:
                try:
                    await self._campaign(connection, lead)
                finally:
                    self._leader = None
                    connection.terminate()
            await asyncio.sleep(self._timings.retry_period)

    async def _connect(self) -> asyncpg.Connection | None:
        try:
            return await asyncpg.connect(
                self._dsn,
                timeout=self._timings.renew_deadline,
                command_timeout=self._timings.renew_deadline,
                server_settings={"application_name": self._identity},
            )
        except LOST as error:
            log.warning("the database can't be reached", extra={"error": repr(error)})
            return None

    async def _campaign(self, connection: asyncpg.Connection, lead: Lead) -> None:
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._key):
                self._leader = await connection.fetchval(_HOLDER, self._key)
                await asyncio.sleep(self._timings.retry_period)
            # A transaction id rises over the life of the database, as a term's number must.
            number = await connection.fetchval("SELECT pg_current_xact_id()::text::bigint")
        except LOST as error:
            log.warning("lost the database while campaigning", extra={"error": repr(error)})
            return
        self._leader = self._identity
        log.info("leading", extra={"holder": self._identity, "term": number})
        await reign(lead, Term(self._identity, number), self._hold(connection))

    async def _hold(self, connection: asyncpg.Connection) -> None:
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        try:
            while not await self._is_set_soon(closed):
                await connection.fetchval("SELECT 1")
        except LOST as error:
            log.warning("the lock's connection fails", extra={"error": repr(error)})
        log.warning("lost the lock")

    async def _is_set_soon(self, event: asyncio.Event) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timings.retry_period):
                await event.wait()
        return event.is_set()
