"""What this replica knows of the fleet: sampled from the store, shown at the ops endpoints."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC
from typing import Any, Protocol

from aiohttp import web

from muster_coordinator.engine.errors import Unavailable
from muster_coordinator.engine.leader import Leader
from muster_coordinator.engine.model import QueueDepth, Worker
from muster_coordinator.engine.ports import LeaderStore, QueueStore, WorkerStore
from muster_coordinator.engine.queue import Queue
from muster_coordinator.engine.states import WorkerStatus
from muster_coordinator.ops.metrics import Metrics, capacity
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import Offers
from muster_runtime.election import Elector
from muster_runtime.ops import Health

log = logging.getLogger(__name__)

# A leader that knows of a key has made it by then, many times over.
_PATIENCE_SECONDS = 20.0


class Stores:
    """Where the state is read."""

    def __init__(self, queue: QueueStore, workers: WorkerStore, leadership: LeaderStore) -> None:
        self.queue = queue
        self.workers = workers
        self.leadership = leadership


class Broker(Protocol):
    """What workers may be reached over."""

    @property
    def connected(self) -> bool:
        """Whether it answers."""
        ...


class OpsState:
    """Answers the ops endpoints.

    `database` and `stopping` are set as the process goes on; not ready until the first is True.
    """

    def __init__(
        self, identity: str, stores: Stores, keyring: KeyRing, offers: Offers, metrics: Metrics
    ) -> None:
        self._identity = identity
        self._stores = stores
        self._keyring = keyring
        self._offers = offers
        self._metrics = metrics
        self._workers: list[Worker] = []
        self.database = False
        self.stopping = False
        self.elector: Elector | None = None
        self.leader: Leader | None = None
        self.broker: Broker | None = None
        self._missing_since: float | None = None

    async def sample(self, queue: Queue, every: float) -> None:
        """Look at the store for ever."""
        while True:
            try:
                await self._sample_once(queue)
            except Unavailable as error:
                self.database = False
                log.warning("the database is away", extra={"error": str(error)})
            await asyncio.sleep(every)

    async def _sample_once(self, queue: Queue) -> None:
        self._workers = await self._stores.workers.workers()
        depths = await self._stores.queue.depth()
        queue.sampled(depths)
        self._metrics.sampled(self._workers, depths, leading=self._leads)
        self.database = True

    @property
    def _cut_off(self) -> bool:
        return self.broker is not None and not self.broker.connected

    @property
    def _leads(self) -> bool:
        return self.leader is not None and self.leader.epoch is not None

    async def health(self) -> Health:
        """Liveness: the process works, whatever it depends on."""
        counts = Counter(worker.status for worker in self._workers)
        return Health(
            ok=True,
            body={
                "status": "healthy" if self.database and not self._cut_off else "degraded",
                "coordinator_id": self._identity,
                "workers": {"total": len(self._workers)}
                | {status.lower(): counts[status] for status in WorkerStatus},
                "capacity": capacity(self._workers),
                "scheduler": self._metrics.scheduler(),
            },
        )

    async def ready(self) -> Health:
        """Readiness: the database answers, the keys are loaded, and this is not the end.

        Without the broker it stays ready, as all other workers and clients are served. Without some
        key it becomes so, where another leads that makes none: a leader of an older configuration
        knows no new circuit, and leaves only when its successors are ready.
        """
        missing, problems = self._keyring.missing(), self._keyring.problems()
        keys = not missing or (self._waits_in_vain() and not problems)
        if not missing:
            self._missing_since = None
        ok = self.database and keys and not self.stopping
        return Health(
            ok=ok,
            body={
                "ready": ok,
                "is_leader": self._leads,
                "leader": self._leader_id,
                "stopping": self.stopping,
                "degraded": self._cut_off,
                "dependencies": {
                    "database": _connected(self.database),
                    "keys": f"missing: {', '.join(missing)}" if missing else "loaded",
                }
                | ({"key_problems": problems} if problems else {})
                | ({"broker": _connected(self.broker.connected)} if self.broker else {}),
            },
        )

    def _waits_in_vain(self) -> bool:
        now = time.monotonic()
        if self._missing_since is None:
            self._missing_since = now
        return not self._leads and now - self._missing_since > _PATIENCE_SECONDS

    async def queue(self) -> Mapping[str, Any]:
        """What waits and runs in each pool, and with which keys; 503 while the database is away."""
        try:
            return await self._queue_now()
        except Unavailable as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from error

    async def workers(self) -> Mapping[str, Any]:
        """All known workers, from the database; 503 while that is away."""
        try:
            return {"workers": [_shown(one) for one in await self._stores.workers.workers()]}
        except Unavailable as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from error

    async def _queue_now(self) -> Mapping[str, Any]:
        pools = {name: QueueDepth(name, "", "", 0, 0, 0, 0.0) for name in self._offers.pools}
        for depth in await self._stores.queue.depth():
            seen = pools.get(depth.pool, QueueDepth(depth.pool, "", "", 0, 0, 0, 0.0))
            pools[depth.pool] = QueueDepth(
                depth.pool,
                "",
                "",
                seen.pending + depth.pending,
                seen.assigned + depth.assigned,
                seen.in_progress + depth.in_progress,
                max(seen.oldest_pending_seconds, depth.oldest_pending_seconds),
            )
        return {
            "pools": [
                {
                    "pool": pool.pool,
                    "pending": pool.pending,
                    "assigned": pool.assigned,
                    "in_progress": pool.in_progress,
                    "oldest_pending_seconds": round(pool.oldest_pending_seconds, 3),
                }
                for pool in pools.values()
            ],
            "keys": [
                {"pool": pool, "key_id": key.key_id, "version": key.version}
                for pool, key in self._keyring.in_use()
            ],
            "leader": self._leader_id,
            "epoch": await self._stores.leadership.epoch(),
        }

    @property
    def _leader_id(self) -> str:
        return (self.elector.leader if self.elector else None) or ""


def _connected(answers: bool) -> str:
    return "connected" if answers else "disconnected"


def _shown(worker: Worker) -> Mapping[str, Any]:
    until = worker.quarantined_until
    return {
        "worker_id": worker.id,
        "pool": worker.pool,
        "status": worker.status,
        "capacity": worker.capacity,
        "active_tasks": worker.load,
        "connected": worker.connected,
        "last_heartbeat": worker.last_heartbeat_at.astimezone(UTC).isoformat(),
        "reason": worker.status_reason,
        "quarantined_until": until and until.astimezone(UTC).isoformat(),
    }
