"""The queue as its customers use it: submit, look, wait, list, cancel."""

import asyncio
from collections.abc import Collection
from uuid import UUID

from muster_coordinator.engine.batching import Batcher
from muster_coordinator.engine.errors import NotFound, QueueFull
from muster_coordinator.engine.model import NewWorkload, QueueDepth, Workload, WorkloadQuery
from muster_coordinator.engine.ports import QueueStore
from muster_coordinator.engine.states import TERMINAL
from muster_coordinator.engine.waiters import Waiters


class Queue:
    """Workloads of customers.

    Args:
        limit: how many workloads may wait in one pool; more are refused with `QueueFull`.
    """

    def __init__(self, store: QueueStore, waiters: Waiters, limit: int) -> None:
        self._store = store
        self._waiters = waiters
        self._limit = limit
        self._full: frozenset[str] = frozenset()
        self._submit: Batcher[NewWorkload, None] = Batcher(self._store_batch, size=200)

    async def submit(self, workload: NewWorkload) -> None:
        """Store a workload; when this returns it is safe.

        Raises:
            QueueFull: too much waits in its pool.
            Unavailable: the database is away.
        """
        if workload.requirement.pool in self._full:
            raise QueueFull(
                f"pool {workload.requirement.pool}: {self._limit} tasks or more wait; "
                "come back later"
            )
        await self._submit(workload)

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
        waiting: dict[str, int] = {}
        for depth in depths:
            waiting[depth.pool] = waiting.get(depth.pool, 0) + depth.pending
        self._full = frozenset(pool for pool, count in waiting.items() if count >= self._limit)

    async def idle(self) -> None:
        """Wait until all submissions under way are answered."""
        await self._submit.idle()

    async def _store_batch(self, batch: list[NewWorkload]) -> list[None]:
        await self._store.submit(batch)
        return [None] * len(batch)
