"""Workers coming, living and leaving."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from muster_coordinator.engine.batching import Batcher
from muster_coordinator.engine.errors import NotFound
from muster_coordinator.engine.model import Registration, Worker, WorkerStats
from muster_coordinator.engine.ports import AssignmentStore, WorkerStore
from muster_coordinator.engine.retry import RetryPolicy

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Beat:
    worker_id: str
    active: int


class Registry:
    """What workers tell about themselves."""

    def __init__(
        self, workers: WorkerStore, assignments: AssignmentStore, policy: RetryPolicy
    ) -> None:
        self._workers = workers
        self._assignments = assignments
        self._policy = policy
        self._beat: Batcher[_Beat, bool] = Batcher(self._beat_batch)

    async def register(self, worker: Registration) -> None:
        """Make a worker known. What an earlier process of its name held goes elsewhere at once."""
        restarted = await self._workers.register(worker)
        log.info(
            "worker registered",
            extra={"worker_id": worker.id, "pool": worker.pool, "capacity": worker.capacity},
        )
        if restarted:
            await self._take_back(worker.id, "it was started anew")

    async def beat(self, worker_id: str, active: int) -> bool:
        """Note a heartbeat; False where the worker is unknown and must register."""
        return await self._beat(_Beat(worker_id, active))

    async def deregister(self, worker_id: str) -> None:
        """A worker leaves; what it still holds goes elsewhere at once.

        Raises:
            NotFound: it is unknown.
        """
        if not await self._workers.deregister(worker_id):
            raise NotFound(f"worker {worker_id}: unknown")
        await self._take_back(worker_id, "it left")
        log.info("worker left", extra={"worker_id": worker_id})

    async def workers(self) -> list[Worker]:
        """All known workers with what they hold."""
        return await self._workers.workers()

    async def drain(self, worker_id: str, reason: str = "an administrator's word") -> None:
        """Give a worker nothing more; it finishes what it holds, and is told so.

        Raises:
            NotFound: it is unknown.
            InvalidState: it is dead or in quarantine.
        """
        if not await self._workers.drain(worker_id, reason):
            raise NotFound(f"worker {worker_id}: unknown")
        log.info("worker drains", extra={"worker_id": worker_id})

    async def remove(self, worker_id: str, reason: str = "an administrator's word") -> None:
        """Forget a worker, and take back what it holds; one that lives registers again.

        Raises:
            NotFound: it is unknown.
        """
        if not await self._workers.remove(worker_id, reason):
            raise NotFound(f"worker {worker_id}: unknown")
        await self._take_back(worker_id, "it was removed")
        log.info("worker removed", extra={"worker_id": worker_id})

    async def stats(self, worker_id: str) -> WorkerStats:
        """What a worker has done.

        Raises:
            NotFound: it is unknown.
        """
        stats = await self._workers.stats(worker_id)
        if stats is None:
            raise NotFound(f"worker {worker_id}: unknown")
        return stats

    async def idle(self) -> None:
        """Wait until all heartbeats under way are answered."""
        await self._beat.idle()

    async def _take_back(self, worker_id: str, reason: str) -> None:
        await self._assignments.take_back(worker_id, reason, self._policy.lost)

    async def _beat_batch(self, beats: list[_Beat]) -> Sequence[bool]:
        known = await self._workers.beat({beat.worker_id: beat.active for beat in beats})
        return [beat.worker_id in known for beat in beats]
