"""What the leading replica does: reconcile whatever is dirty."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping

from muster_operator.cluster import Cluster, ClusterError
from muster_operator.inventory import Inventory
from muster_operator.metrics import FAILED, OperatorMetrics
from muster_operator.queue import WorkQueue
from muster_operator.reconcile.reconciler import Outcome, Reconciler
from muster_operator.resources import CUSTOM, Key
from muster_runtime.election import Term
from muster_runtime.logs import bind

log = logging.getLogger(__name__)

Duty = Callable[[], Awaitable[None]]
"""Something else that the leader does for ever."""

_DEADLINE_SECONDS = 120.0
_RETRY_SECONDS = 2.0


class Leadership:
    """Reconciles while leading, and is deaf to dirt otherwise.

    Args:
        reconcilers: by kind.
        resync_interval: seconds between two looks at everything.
        duties: see `Duty`.
    """

    def __init__(
        self,
        cluster: Cluster,
        inventory: Inventory,
        reconcilers: Mapping[str, Reconciler],
        metrics: OperatorMetrics,
        resync_interval: float,
        duties: Iterable[Duty] = (),
    ) -> None:
        self._cluster = cluster
        self._inventory = inventory
        self._reconcilers = reconcilers
        self._metrics = metrics
        self._resync_interval = resync_interval
        self._duties = tuple(duties)
        self._queue: WorkQueue | None = None
        metrics.watch_depth(lambda: self._queue.depth if self._queue else 0)

    @property
    def leading(self) -> bool:
        """Whether this replica leads."""
        return self._queue is not None

    def mark(self, keys: Iterable[Key], *, urgent: bool = False) -> None:
        """Have objects reconciled, if this replica leads."""
        if self._queue is not None:
            for key in keys:
                self._queue.mark(key, urgent=urgent)

    async def lead(self, term: Term) -> None:
        """Reconcile until cancelled, beginning with everything."""
        with bind(term=term.number):
            self._queue = WorkQueue(self._work)
            self._metrics.leading.set(1)
            try:
                await self._attend()
            finally:
                queue, self._queue = self._queue, None
                self._metrics.leading.set(0)
                await queue.close()

    async def resync_for_ever(self) -> None:
        """List everything now and then: a watch may have missed that something went."""
        while True:
            await asyncio.sleep(self._resync_interval)
            await self._resync()

    async def _attend(self) -> None:
        await self._resync()
        async with asyncio.TaskGroup() as group:
            for duty in self._duties:
                group.create_task(_for_ever(duty))
            await asyncio.Event().wait()

    async def _resync(self) -> None:
        """Mark every object dirty, and forget those that are no more."""
        while True:
            try:
                for resource in CUSTOM:
                    found = await self._cluster.list(resource)
                    self.mark(self._inventory.replace(resource.kind, found))
                    self._metrics.objects.labels(resource.kind).set(len(found))
                return
            except ClusterError as error:
                log.warning("can't list our objects", extra={"error": str(error)})
                await asyncio.sleep(_RETRY_SECONDS)

    async def _work(self, key: Key) -> float | None:
        with bind(
            reconcile_id=uuid.uuid4().hex[:8],
            kind=key.kind,
            namespace=key.namespace,
            name=key.name,
        ):
            begun = time.monotonic()
            try:
                outcome = await self._reconcile(key)
            except BaseException as error:
                if not isinstance(error, asyncio.CancelledError):
                    self._metrics.reconciles.labels(key.kind, FAILED).inc()
                raise
            finally:
                self._metrics.durations.labels(key.kind).observe(time.monotonic() - begun)
            self._metrics.reconciles.labels(key.kind, outcome.result).inc()
            log.debug("reconciled", extra={"result": outcome.result})
            return outcome.again_after

    async def _reconcile(self, key: Key) -> Outcome:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                return await self._reconcilers[key.kind].reconcile(key)
        except (ClusterError, TimeoutError) as error:
            log.warning("reconciling failed; it will be tried again", extra={"error": str(error)})
            raise
        except Exception:
            log.exception("reconciling failed; this is a fault of the operator")
            raise


async def _for_ever(duty: Duty) -> None:
    await duty()
    raise RuntimeError(f"{duty} has ended")
