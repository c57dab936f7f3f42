"""The endpoints under `/v1/admin`."""

import logging
from typing import Annotated

from fastapi import Path, Request

from muster_coordinator.engine.ports import QueueStore
from muster_coordinator.engine.registry import Registry
from muster_coordinator.http_face.requests import PoolName
from muster_coordinator.workload_face import views
from muster_coordinator.workload_face.requests import WORKER_ID
from muster_coordinator.workload_face.rest import caller

log = logging.getLogger(__name__)

WorkerPath = Annotated[PoolName, Path(description=WORKER_ID)]


class AdminApi:
    """Workers and the queue; for administrators only."""

    def __init__(self, registry: Registry, queue: QueueStore) -> None:
        self._registry = registry
        self._queue = queue

    async def workers(self, request: Request) -> views.WorkerList:
        """All known workers."""
        _administrator(request)
        workers = await self._registry.workers()
        return views.WorkerList(workers=[views.worker(one) for one in workers])

    async def drain(self, request: Request, worker_id: WorkerPath) -> None:
        """Give a worker nothing more; it finishes what it holds."""
        name = _administrator(request)
        await self._registry.drain(worker_id, f"the word of {name}")

    async def remove(self, request: Request, worker_id: WorkerPath) -> None:
        """Forget a worker; what it holds goes elsewhere, and if it lives it registers again."""
        name = _administrator(request)
        await self._registry.remove(worker_id, f"the word of {name}")

    async def queue(self, request: Request) -> views.QueueList:
        """How much work waits and runs."""
        _administrator(request)
        return views.queues(await self._queue.depth())


def _administrator(request: Request) -> str:
    """The name of the administrator that asks.

    Raises:
        Forbidden: it is a customer.
    """
    asking = caller(request)
    asking.must_administrate()
    return asking.name
