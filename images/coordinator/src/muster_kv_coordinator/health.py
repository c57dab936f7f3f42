"""Whether this replica works, and whether it should be sent requests."""

import asyncio

from muster_kv_coordinator.core.errors import UnavailableError
from muster_kv_coordinator.metrics import Metrics
from muster_kv_coordinator.nodes.cluster import StorageCluster
from muster_kv_coordinator.redis_memory import RedisMemory
from muster_kv_coordinator.store.database import Database
from muster_runtime.ops import Health

_EVERY_SECONDS = 1.0


class HealthState:
    """Answers the health endpoints.

    Ready is one that has its metadata, is not stopping, and of whose storage nodes a majority
    answers, so that no write is refused right after; a cluster without nodes is ready to be given
    some. While the metadata store is away known tenants are served, so that takes no readiness.
    """

    def __init__(
        self,
        identity: str,
        database: Database,
        cluster: StorageCluster,
        memory: RedisMemory | None,
    ) -> None:
        self._identity = identity
        self._database = database
        self._cluster = cluster
        self._memory = memory
        self._connected = {"database": False} | ({} if memory is None else {"redis": False})
        self.prepared = False
        self.stopping = False

    async def sample(self, metrics: Metrics) -> None:
        """Look at what this depends on, for ever."""
        while True:
            try:
                await self._database.ping()
                self._connected["database"] = True
            except UnavailableError:
                self._connected["database"] = False
            if self._memory is not None:
                self._connected["redis"] = await self._memory.ping()
            healthy = self._healthy()
            metrics.nodes(healthy, len(self._cluster.nodes) - healthy)
            await asyncio.sleep(_EVERY_SECONDS)

    async def is_ready(self) -> bool:
        """Whether this replica should be sent requests."""
        members = len(self._cluster.nodes)
        enough = not members or self._healthy() > members // 2
        return self.prepared and enough and not self.stopping

    def _healthy(self) -> int:
        return sum(node.healthy for node in self._cluster.nodes)

    async def health(self) -> Health:
        """Liveness: the process works, whatever it depends on."""
        whole = self.prepared and all(self._connected.values())
        return Health(
            ok=True,
            body={
                "status": "healthy" if whole else "degraded",
                "coordinator_id": self._identity,
            },
        )

    async def ready(self) -> Health:
        """Readiness, with its reasons."""
        ok = await self.is_ready()
        dependencies = {
            name: "connected" if up else "disconnected" for name, up in self._connected.items()
        }
        return Health(
            ok=ok,
            body={
                "ready": ok,
                "stopping": self.stopping,
                "dependencies": dependencies,
                "ring_version": self._cluster.version,
                "storage_nodes": {
                    node.node_id: "healthy" if node.healthy else "away"
                    for node in self._cluster.nodes
                },
            },
        )
