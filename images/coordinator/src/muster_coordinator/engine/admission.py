"""How much may wait: in a pool, in all, and of one customer."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from muster_coordinator.engine.customers import Customer
from muster_coordinator.engine.errors import OverLimit, QueueFull
from muster_coordinator.engine.model import NewWorkload, QueueDepth

# What another replica lets in meanwhile is not seen: the nearer the limit, the newer the number.
_FRESH_SECONDS = 1.0
_FRESH_SECONDS_NEAR = 0.1


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many workloads may wait, in one pool and in all; 0 stands for any number."""

    pool: int = 0
    total: int = 0


@dataclass(slots=True)
class _Queued:
    """How many workloads of a customer wait, by what was let in here since it was counted."""

    count: int
    counted_at: float


class Admission:
    """Counts in what is submitted, on top of what waited when that was last looked at.

    Args:
        queued: counts what waits of one customer.
    """

    def __init__(self, limits: QueueLimits, queued: Callable[[str], Awaitable[int]]) -> None:
        self._limits = limits
        self._count_queued = queued
        self._pools: Counter[str] = Counter()
        self._customers: dict[str, _Queued] = {}

    def sampled(self, depths: Collection[QueueDepth]) -> None:
        """Take note of how much waits in the pools."""
        self._pools = Counter()
        for depth in depths:
            self._pools[depth.pool] += depth.pending
        now = time.monotonic()
        self._customers = {
            customer_id: queued
            for customer_id, queued in self._customers.items()
            if now - queued.counted_at < _FRESH_SECONDS
        }

    async def admit(self, workloads: Sequence[NewWorkload], customer: Customer | None) -> None:
        """Count workloads of one customer in, or none of them.

        Raises:
            OverLimit: the customer may not have so many in the queue.
            QueueFull: a pool, or the whole queue, has no room for them.
        """
        if customer is not None and customer.terms.max_queued:
            await self._admit_customer(customer, len(workloads))
        wanted = Counter(workload.requirement.pool for workload in workloads)
        waiting = self._pools.total()
        if self._limits.total and waiting + len(workloads) > self._limits.total:
            raise QueueFull(
                f"{waiting} tasks wait, of at most {self._limits.total}; come back later"
            )
        for pool, count in wanted.items():
            if self._limits.pool and self._pools[pool] + count > self._limits.pool:
                raise QueueFull(
                    f"pool {pool}: {self._pools[pool]} tasks wait, of at most "
                    f"{self._limits.pool}; come back later"
                )
        self._pools += wanted
        if customer is not None and customer.id in self._customers:
            self._customers[customer.id].count += len(workloads)

    async def _admit_customer(self, customer: Customer, count: int) -> None:
        most = customer.terms.max_queued
        queued = self._customers.get(customer.id)
        age = time.monotonic() - queued.counted_at if queued is not None else 0.0
        near = queued is not None and queued.count + count > most / 2
        if queued is None or age > (_FRESH_SECONDS_NEAR if near else _FRESH_SECONDS):
            queued = _Queued(await self._count_queued(customer.id), time.monotonic())
            self._customers[customer.id] = queued
        if queued.count + count > most:
            raise OverLimit(
                f"customer {customer.id}: {queued.count} workloads wait, of at most {most} in tier "
                f"{customer.tier}; come back later"
            )
