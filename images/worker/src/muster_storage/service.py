"""A storage node's process: what is started, watched and stopped, and in which order."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any, get_args

from muster_kv.errors import FailureCode
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import NodeState, RequestBody
from muster_kv.wire.server import Limits, serve
from muster_runtime.ops import Health, OpsServer
from muster_storage import __version__
from muster_storage.admin import Admin
from muster_storage.config import StorageConfig
from muster_storage.disk import Fill, fill, usage
from muster_storage.hints import Courier
from muster_storage.metrics import Metrics
from muster_storage.node import Node
from muster_storage.store import Store
from muster_storage.tls import client_context, server_context
from muster_storage.writes import Writes

log = logging.getLogger(__name__)

_WATCH_SECONDS = 1.0
_LONG_WORKERS = 64
"""Mostly they wait: for the thread in the background, or for the pace that it keeps."""
_CLOSING_SHARE = 0.5
"""Of the shutdown timeout, for requests in flight; the rest is for flushing."""


def wire_identity(config: StorageConfig, role: Role = Role.STORAGE) -> Identity:
    """How this process introduces itself to others.

    Raises:
        OSError: the token can't be read.
    """
    storage = config.storage
    token = b""
    if storage.token_file is not None:
        token = storage.token_file.read_bytes().strip()
    return Identity(storage.node_id, role, storage.cluster, token)


class Service:
    """Runs one node until it is told to stop."""

    def __init__(self, config: StorageConfig) -> None:
        self._config = config
        self._metrics = Metrics(
            [body.__name__ for body in get_args(RequestBody)], [code.name for code in FailureCode]
        )
        self._node: Node | None = None
        self._step = Fill.NORMAL

    async def run(self, stop: asyncio.Event) -> int:
        """Serve until `stop` is set.

        Returns:
            0 after an orderly end, 1 where something failed that can't be gone on without.
        """
        storage = self._config.storage
        ops = OpsServer(
            service="muster-storage",
            version=__version__,
            port=storage.ops_port,
            registry=self._metrics.registry,
            health=self._health,
            ready=self._ready,
        )
        async with ops:
            log.info("starting", extra={"node": storage.node_id, "ops_port": ops.bound_port})
            store = await Store.open(self._config, self._metrics)
            try:
                return await self._serve(store, stop)
            finally:
                await store.close()
                log.info("stopped")

    async def _serve(self, store: Store, stop: asyncio.Event) -> int:
        config = self._config
        writes = Writes(config.hints.limit, self._metrics)
        storage = config.storage
        node = Node(store, writes, storage.thresholds, self._metrics, sync=storage.sync)
        admin = Admin(node, store, config, self._metrics)
        admin.install()
        identity = wire_identity(config)
        # An older one could bring back what was deleted and forgotten since.
        hint_ttl = min(config.hints.ttl, config.retention.tombstone_grace)
        courier = Courier(
            store,
            identity,
            lambda: node.ring,
            self._metrics,
            interval=config.hints.interval.total_seconds(),
            ttl_us=round(hint_ttl.total_seconds() * 1e6),
            tls=client_context(config.tls),
        )
        await self._look_at_disk(node)
        server = await serve(
            node.handle,
            identity,
            host=config.storage.host,
            port=config.storage.port,
            limits=Limits(
                max_batch=config.storage.max_batch,
                max_queued=config.storage.max_queued,
                long_workers=_LONG_WORKERS,
            ),
            tls=server_context(config.tls),
            plain=node,
        )
        self._node = node
        log.info(
            "serving",
            extra={
                "port": server.port,
                "actor": store.writer.identity.actor,
                "state": node.state.value,
                "records": store.writer.keys,
            },
        )
        watching = [courier.run(), admin.sweep(), store.keep_synced(), store.try_again()]
        watching.append(self._watch(node))
        async with _together(watching) as failed:
            stopped = asyncio.create_task(stop.wait())
            ends: list[asyncio.Future[Any]] = [stopped, failed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            node.stopping = True
            await server.close(config.storage.shutdown_timeout.total_seconds() * _CLOSING_SHARE)
            return 1 if failed.done() else 0

    async def _watch(self, node: Node) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._look_at_disk(node)

    async def _look_at_disk(self, node: Node) -> None:
        storage = self._config.storage
        node.usage = await asyncio.to_thread(usage, storage.data_dir)
        step = fill(node.usage, storage.thresholds)
        if step is not node.fill:
            log.log(
                logging.WARNING if step > Fill.NORMAL else logging.INFO,
                "disk step changed",
                extra={"percent": round(node.usage.percent, 1), "step": step.name},
            )
        node.fill = step
        self._metrics.disk(step, node.usage)

    async def _health(self) -> Health:
        return Health(ok=True, body={"status": "ok"})

    async def _ready(self) -> Health:
        node = self._node
        if node is None:
            return Health(ok=False, body={"state": NodeState.STARTING.value})
        body = {
            "zone": self._config.storage.zone,
            "state": node.situation,
            "ring_version": node.ring.version,
            "disk_used_percent": round(node.usage.percent, 1),
            "takes_writes": node.takes_writes,
            "filled": node.filled,
        }
        return Health(ok=node.serving and node.filled, body=body)


@contextlib.asynccontextmanager
async def _together(
    works: list[Coroutine[Any, Any, None]],
) -> AsyncIterator["asyncio.Future[None]"]:
    """Run endless work; gives a future that is done when one of it has failed."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        log.error("work in the background ended", exc_info=task.exception())
        if not failed.done():
            failed.set_result(None)

    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
