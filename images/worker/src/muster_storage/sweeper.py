"""Passes over many records that change some of them, a page at a time, by the writing thread."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from muster_kv.ranges import WHOLE_RING, TokenRange
from muster_kv.record import CorruptRecordError, decode
from muster_kv.slots import token_of
from muster_kv.wire.messages import ALL_TENANTS, Purged, Tenants
from muster_storage.horizon import Horizon
from muster_storage.metrics import Metrics
from muster_storage.pace import Pace
from muster_storage.retention import Swept, sweep
from muster_storage.store import REFUSALS, Store, now_us
from muster_storage.transaction import Transaction
from muster_storage.writer import Job

log = logging.getLogger(__name__)

_PAGE = 256


@dataclass(frozen=True, slots=True)
class Rule:
    """What a pass looks for: what died before the horizon, and whose entries contexts keep."""

    horizon: Horizon
    actors: Collection[str] | None

    def swept(self, slot: bytes, data: bytes, now: int) -> Swept | None:
        """What is left of a record; None where it is damaged, for repair to see to."""
        try:
            record = decode(data, slot)
        except CorruptRecordError:
            return None
        return sweep(record, now, self.horizon.at(token_of(slot)), self.actors)


class Sweeper:
    """Purges and drops, slowly."""

    def __init__(self, store: Store, pace: Pace, metrics: Metrics) -> None:
        self._store = store
        self._pace = pace
        self._metrics = metrics

    async def run(self, interval: float) -> None:
        """Pass over everything, again and again.

        Args:
            interval: seconds between two passes.
        """
        while True:
            await asyncio.sleep(interval)
            try:
                # Contexts are pruned only where all replicas are known to have seen the same.
                await self.purge(WHOLE_RING, None)
            except REFUSALS:
                log.exception("the sweeper goes on with its next pass")

    async def purge(self, tokens: TokenRange, actors: Collection[str] | None) -> Purged:
        """Take from the records of a range what died before the horizon, and what has ended.

        Args:
            actors: whose entries a long context has to keep; None keeps all.
        """
        rule = Rule(self._store.writer.horizon, actors)

        def outdated(page: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
            now = now_us()
            found = ((slot, rule.swept(slot, data, now)) for slot, data in page)
            return [slot for slot, swept in found if swept is not None and swept.changed]

        def clean(transaction: Transaction, slot: bytes) -> tuple[int, int]:
            data = transaction.data(slot)
            swept = None if data is None else rule.swept(slot, data, transaction.now_us)
            if swept is None or not swept.changed:
                return 0, 0
            self._metrics.swept("expired", swept.expired)
            self._metrics.swept("purged", swept.purged)
            self._metrics.swept("forgotten", swept.forgotten)
            if swept.record is None:
                transaction.forget(slot)
                return 0, 1
            transaction.put(slot, swept.record)
            return 1, 0

        purged = await self._pass(tokens, ALL_TENANTS, outdated, clean)
        self._metrics.passed()
        return purged

    async def drop(
        self, tokens: TokenRange, tenants: Tenants, wanted: Callable[[], bool]
    ) -> Purged:
        """Delete the records of a range, which others hold, as long as that is wanted."""

        def every(page: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
            return [slot for slot, _ in page]

        def forget(transaction: Transaction, slot: bytes) -> tuple[int, int]:
            if transaction.data(slot) is None or not wanted():
                return 0, 0
            transaction.forget(slot)
            return 0, 1

        return await self._pass(tokens, tenants, every, forget)

    async def _pass(
        self,
        tokens: TokenRange,
        tenants: Tenants,
        choose: Callable[[Sequence[tuple[bytes, bytes]]], list[bytes]],
        change: Callable[[Transaction, bytes], tuple[int, int]],
    ) -> Purged:
        """Have `change` done to the records that `choose` names; sums up what it returns."""
        behind = b""
        changed = removed = 0

        def look() -> tuple[int, bytes, list[bytes]]:
            page = list(islice(self._store.reads.records(tokens, behind, tenants), _PAGE))
            return len(page), page[-1][0] if page else b"", choose(page)

        while True:
            count, last, slots = await self._store.background(look)
            if slots:
                done = await self._store.write(_job(slots, change), len(slots))
                changed += sum(one for one, _ in done)
                removed += sum(whole for _, whole in done)
            if count < _PAGE:
                return Purged(changed, removed)
            behind = last
            await self._pace.spent(count)


def _job(
    slots: list[bytes], change: Callable[[Transaction, bytes], tuple[int, int]]
) -> Job[list[tuple[int, int]]]:
    def work(transaction: Transaction) -> list[tuple[int, int]]:
        return [change(transaction, slot) for slot in slots]

    return Job(slots, work, requests=len(slots))
