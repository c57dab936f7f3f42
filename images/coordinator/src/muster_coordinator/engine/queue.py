"""The queue as its customers use it: submit, look, wait, list, cancel."""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from uuid import UUID

from muster_coordinator.engine.batching import Batcher
from muster_coordinator.engine.errors import NotFound, QueueFull
from muster_coordinator.engine.model import (
    NewWorkload,
    Once,
    QueueDepth,
    Workload,
    WorkloadQuery,
)
from muster_coordinator.engine.ports import QueueStore
from muster_coordinator.engine.states import TERMINAL
from muster_coordinator.engine.waiters import Waiters


class Queue:
    """Workloads of customers.

    Args:
        limit: how many workloads may wait in one pool; more are refused with `QueueFull`. 0 stands
            for any number.
    """

    def __init__(self, store: QueueStore, waiters: Waiters, limit: int) -> None:
        self._store = store
        self._waiters = waiters
        self._limit = limit
        self._waiting: Counter[str] = Counter()
        self._submit: Batcher[NewWorkload, None] = Batcher(self._store_batch, size=200)

    async def submit(
        self, workloads: Sequence[NewWorkload], once: Once | None = None
    ) -> list[UUID]:
        """Store workloads of one customer together, or none of them; the ids of what is stored.

        Args:
            once: where it was used before, nothing is stored and the ids are those of then.

        Raises:
            Conflict: `once` was used for another request.
            QueueFull: not all of them have room in their pools.
            Unavailable: the database is away.
        """
        self._admit(workloads)
        if once is not None:
            return await self._store.submit_once(workloads, once)
        if len(workloads) == 1:
            await self._submit(workloads[0])
        else:
            await self._store.submit(workloads)
        return [workload.id for workload in workloads]

    async def submitted(self, once: Once, customer_id: str = "default") -> list[UUID] | None:
        """The ids of what was stored under a key, None where it was not used.

        Raises:
            Conflict: it was used for another request.
        """
        return await self._store.submitted(once, customer_id)

    async def get(self, workload_id: UUID, customer_id: str = "default") -> Workload:
        """One workload with its result.

        Raises:
            NotFound: the customer has none such.
        """
        workload = await self._store.get(workload_id, customer_id)
        if workload is None:
            raise NotFound(f"task {workload_id}: there is none")
        return workload

    async def wait(self, workload_id: UUID, seconds: float) -> Workload:
        """One workload once it is at its end, or as it is after `seconds`.

        Raises:
            NotFound: there is none such.
        """
        event = self._waiters.subscribe(workload_id)
        try:
            workload = await self.get(workload_id)
            if workload.state in TERMINAL or seconds <= 0:
                return workload
            try:
                async with asyncio.timeout(seconds):
                    await event.wait()
            except TimeoutError:
                pass
            return await self.get(workload_id)
        finally:
            self._waiters.unsubscribe(workload_id, event)

    async def find(self, query: WorkloadQuery) -> list[Workload]:
        """Workloads without their results, newest first."""
        return await self._store.find(query)

    async def cancel(self, workload_id: UUID, customer_id: str = "default") -> Workload:
        """Cancel a workload that is not at its end; a worker's later report on it is refused.

        Raises:
            NotFound: the customer has none such.
            InvalidState: it is at its end already.
        """
        await self._store.cancel(workload_id, customer_id)
        return await self.get(workload_id, customer_id)

    def sampled(self, depths: Collection[QueueDepth]) -> None:
        """Take note of how much waits, for `limit`."""
        self._waiting = Counter()
        for depth in depths:
            self._waiting[depth.pool] += depth.pending

    async def idle(self) -> None:
        """Wait until all submissions under way are answered."""
        await self._submit.idle()

    def _admit(self, workloads: Sequence[NewWorkload]) -> None:
        """Count workloads in, on top of what waited when that was last looked at.

        Raises:
            QueueFull: a pool has no room for its share of them; then none is counted.
        """
        wanted = Counter(workload.requirement.pool for workload in workloads)
        for pool, count in wanted.items():
            if self._limit and self._waiting[pool] + count > self._limit:
                raise QueueFull(
                    f"pool {pool}: {self._waiting[pool]} tasks wait, of at most {self._limit}; "
                    "come back later"
                )
        self._waiting += wanted

    async def _store_batch(self, batch: list[NewWorkload]) -> list[None]:
        await self._store.submit(batch)
        return [None] * len(batch)
