"""Campaign for a lease, lead while it is held, release it at the end."""

import asyncio
import logging
import math
import random
import time
from datetime import UTC, datetime
from typing import Protocol

from muster_runtime.election.record import (
    LeaseRecord,
    Observation,
    Term,
    Timings,
    first,
    held,
    observe,
    released,
)
from muster_runtime.election.reign import Lead, reign

log = logging.getLogger(__name__)

_JITTER = 0.2
_GIVE_BACK_PAUSE = 0.2


class Elector(Protocol):
    """Anything that can make one of several processes the leader."""

    @property
    def identity(self) -> str:
        """This candidate's name."""
        ...

    @property
    def leader(self) -> str | None:
        """Who leads, as far as this candidate knows."""
        ...

    async def run(self, lead: Lead) -> None:
        """Campaign for ever, and run `lead` while leading.

        `lead` is cancelled as soon as leadership is lost or in doubt. When `run` itself is
        cancelled, or `lead` raises, leadership is given up so that another can follow at once.
        """
        ...


class LeaseStore(Protocol):
    """Where a lease record lives; writes are refused when somebody else wrote in between."""

    async def get(self) -> LeaseRecord | None:
        """Read the record; None where there is no lease yet."""
        ...

    async def create(self, record: LeaseRecord) -> bool:
        """Write the first record; False where somebody else was faster."""
        ...

    async def update(self, record: LeaseRecord) -> bool:
        """Replace the record last read; False where it has changed since."""
        ...


class LeaseElector:
    """Leader election on a `LeaseStore` with client-go's algorithm.

    Args:
        store: the lease.
        identity: this candidate's name; unique among the candidates.
        timings: see `Timings`.
    """

    def __init__(self, store: LeaseStore, identity: str, timings: Timings | None = None) -> None:
        self._store = store
        self._identity = identity
        self._timings = timings or Timings()
        self._seen: Observation | None = None
        self._renewed = 0.0
        self._asked = False

    @property
    def identity(self) -> str:
        """This candidate's name."""
        return self._identity

    @property
    def leader(self) -> str | None:
        """Who leads, as last read from the lease."""
        return (self._seen.record.holder or None) if self._seen else None

    async def run(self, lead: Lead) -> None:
        """Campaign for ever, and run `lead` while leading; see `Elector.run`."""
        try:
            while True:
                term = await self._acquire()
                log.info("leading", extra={"holder": term.holder, "term": term.number})
                await reign(lead, term, self._renew())
                await self._release()
                await self._pause()
        finally:
            # Also where the end came while it was acquired, or given back.
            await self._release()

    async def _acquire(self) -> Term:
        while not await self._attempt(self._timings.renew_deadline):
            await self._pause()
        assert self._seen is not None  # noqa: S101 - a successful attempt has read the record
        return Term(self._identity, self._seen.record.transitions)

    async def _renew(self) -> None:
        """Renew until that has failed for the renew deadline, or somebody else holds the lease."""
        while True:
            # To the deadline and not beyond, where another may lead already.
            await self._pause(most=self._left())
            left = self._left()
            if left <= 0:
                log.warning("lost the lease: not renewed in time")
                return
            if await self._attempt(left):
                continue
            if self._seen is not None and self._seen.record.holder != self._identity:
                log.warning("lost the lease", extra={"holder": self._seen.record.holder})
                return

    def _left(self) -> float:
        """Seconds for which the lease need not be renewed."""
        return self._renewed + self._timings.renew_deadline - time.monotonic()

    async def _attempt(self, seconds: float) -> bool:
        """Try once to take or renew the lease, in at most `seconds`."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                written = await self._take()
        except (OSError, TimeoutError) as error:
            log.warning("the lease can't be reached", extra={"error": repr(error)})
            return False
        if written:
            # The others count from the write, which came after `begun` and before its answer.
            self._renewed = begun
        return written

    async def _take(self) -> bool:
        record = await self._store.get()
        wall = datetime.now(UTC)
        if record is not None:
            self._seen = observe(self._seen, record, time.monotonic())
            if not self._seen.is_free(self._identity, time.monotonic()):
                return False
        self._asked = True
        if record is None:
            wanted = first(self._identity, self._timings, wall)
            written = await self._store.create(wanted)
        else:
            wanted = held(record, self._identity, self._timings, wall)
            written = await self._store.update(wanted)
        if written:
            self._seen = Observation(wanted, time.monotonic())
        return written

    async def _release(self) -> None:
        """Give the lease back if it may be ours, also by a write whose answer was never read."""
        if not self._asked:
            return
        try:
            # Worth some patience: what is not given back keeps all others away to its end.
            async with asyncio.timeout(self._timings.renew_deadline):
                while not await self._given_back():
                    await self._pause(most=_GIVE_BACK_PAUSE)
            self._asked = False
        except TimeoutError:
            log.warning("the lease was not given back: others wait until it ends")
        self._seen = None

    async def _given_back(self) -> bool:
        """Try once; also true where somebody else has the lease."""
        try:
            record = await self._store.get()
            if record is None or record.holder != self._identity:
                return True
            # Refused where the last renewal was cut off here, and arrives only now.
            if not await self._store.update(released(record, datetime.now(UTC))):
                return False
        except OSError as error:
            log.warning("the lease can't be given back yet", extra={"error": repr(error)})
            return False
        log.info("released the lease")
        return True

    async def _pause(self, most: float = math.inf) -> None:
        spread = 1 + _JITTER * random.random()  # noqa: S311 - jitter is no secret
        await asyncio.sleep(min(most, self._timings.retry_period * spread))
