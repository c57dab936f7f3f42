"""The queue as its customers use it: submit, look, wait, watch, list, cancel, pause, resume."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from uuid import UUID

from muster_coordinator.engine.admission import Admission, QueueLimits
from muster_coordinator.engine.batching import Batcher
from muster_coordinator.engine.customers import Customer
from muster_coordinator.engine.errors import NotFound
from muster_coordinator.engine.model import (
    DEFAULT_CUSTOMER,
    NewWorkload,
    Once,
    QueueDepth,
    Workload,
    WorkloadQuery,
)
from muster_coordinator.engine.ports import QueueStore
from muster_coordinator.engine.states import TERMINAL
from muster_coordinator.engine.waiters import Waiters

# A watcher looks by itself as often, as notifications may be missed.
_WATCH_SECONDS = 5.0


class Queue:
    """Workloads of customers.

    Args:
        limits: how many workloads may wait; more are refused with `QueueFull`.

    Attributes:
        hand_over: stores new work with its assignment, where it can; whether it did.
    """

    def __init__(self, store: QueueStore, waiters: Waiters, limits: QueueLimits) -> None:
        self._store = store
        self._waiters = waiters
        self._admission = Admission(limits, store.queued)
        self.hand_over: Callable[[Sequence[NewWorkload]], Awaitable[bool]] = _never
        self._submit: Batcher[NewWorkload, None] = Batcher(self._store_batch, size=200)

    async def submit(
        self,
        workloads: Sequence[NewWorkload],
        once: Once | None = None,
        customer: Customer | None = None,
    ) -> list[UUID]:
        """Store workloads of one customer together, or none of them; the ids of what is stored.

        Args:
            once: where it was used before, nothing is stored and the ids are those of then.
            customer: whose limit counts; None for none.

        Raises:
            Conflict: `once` was used for another request.
            OverLimit: the customer may not have so many in the queue.
            QueueFull: not all of them have room.
            Unavailable: the database is away.
        """
        await self._admission.admit(workloads, customer)
        if once is not None:
            return await self._store.submit_once(workloads, once)
        if len(workloads) == 1:
            await self._submit(workloads[0])
        else:
            await self._keep(workloads)
        return [workload.id for workload in workloads]

    async def submitted(self, once: Once, customer_id: str = DEFAULT_CUSTOMER) -> list[UUID] | None:
        """The ids of what was stored under a key, None where it was not used.

        Raises:
            Conflict: it was used for another request.
        """
        return await self._store.submitted(once, customer_id)

    async def get(self, workload_id: UUID, customer_id: str = DEFAULT_CUSTOMER) -> Workload:
        """One workload with its result.

        Raises:
            NotFound: the customer has none such.
        """
        workload = await self._store.get(workload_id, customer_id)
        if workload is None:
            raise NotFound(f"task {workload_id}: there is none")
        return workload

    async def wait(
        self, workload_id: UUID, seconds: float, customer_id: str = DEFAULT_CUSTOMER
    ) -> Workload:
        """One workload once it is at its end, or as it is after `seconds`.

        Raises:
            NotFound: the customer has none such.
        """
        end = asyncio.get_running_loop().time() + seconds
        with self._waiters.subscribed(workload_id) as event:
            while True:
                event.clear()
                workload = await self.get(workload_id, customer_id)
                left = end - asyncio.get_running_loop().time()
                if workload.state in TERMINAL or left <= 0 or self._waiters.closed:
                    return workload
                await _set_within(event, left)

    async def watch(
        self, workload_id: UUID, customer_id: str = DEFAULT_CUSTOMER
    ) -> AsyncIterator[Workload]:
        """One workload as it is, and again after each change of state, progress or log, to its end.

        Raises:
            NotFound: the customer has none such.
        """
        if not await self._store.watch(workload_id, customer_id):
            raise NotFound(f"task {workload_id}: there is none")
        with self._waiters.subscribed(workload_id) as event:
            while True:
                event.clear()
                workload = await self.get(workload_id, customer_id)
                yield workload
                if workload.state in TERMINAL or self._waiters.closed:
                    return
                await _set_within(event, _WATCH_SECONDS)

    async def find(self, query: WorkloadQuery) -> list[Workload]:
        """Workloads without their results, newest first."""
        return await self._store.find(query)

    async def count(self, query: WorkloadQuery) -> int:
        """How many workloads a query would list in all, whatever its page."""
        return await self._store.count(query)

    async def cancel(self, workload_id: UUID, customer_id: str = DEFAULT_CUSTOMER) -> Workload:
        """Cancel a workload that is not at its end; a worker's later report on it is refused.

        Raises:
            NotFound: the customer has none such.
            InvalidState: it is at its end already.
        """
        await self._store.cancel(workload_id, customer_id)
        return await self.get(workload_id, customer_id)

    async def pause(self, workload_id: UUID, customer_id: str = DEFAULT_CUSTOMER) -> Workload:
        """Ask the worker of a running workload to pause it; PAUSED as soon as it has.

        Raises:
            NotFound: the customer has none such.
            InvalidState: it does not run.
        """
        await self._store.pause(workload_id, customer_id)
        return await self.get(workload_id, customer_id)

    async def resume(self, workload_id: UUID, customer_id: str = DEFAULT_CUSTOMER) -> Workload:
        """Let a paused workload wait for a worker, which goes on from the last checkpoint.

        Raises:
            NotFound: the customer has none such.
            InvalidState: it is not paused.
        """
        await self._store.resume(workload_id, customer_id)
        return await self.get(workload_id, customer_id)

    def sampled(self, depths: Collection[QueueDepth]) -> None:
        """Take note of how much waits, for the limits."""
        self._admission.sampled(depths)

    async def idle(self) -> None:
        """Wait until all submissions under way are answered."""
        await self._submit.idle()

    async def _store_batch(self, batch: list[NewWorkload]) -> list[None]:
        await self._keep(batch)
        return [None] * len(batch)

    async def _keep(self, workloads: Sequence[NewWorkload]) -> None:
        if workloads and not await self.hand_over(workloads):
            await self._store.submit(workloads)


async def _never(_workloads: Sequence[NewWorkload]) -> bool:
    """Where nobody hands over."""
    return False


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
