"""The whole operator: what runs in every replica, and how it begins and ends."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib.metadata import version

from muster_operator.cluster import Cluster, ClusterError
from muster_operator.config import OperatorConfig
from muster_operator.events import EventRecorder
from muster_operator.inventory import Inventory
from muster_operator.leading import Leadership
from muster_operator.metrics import OperatorMetrics
from muster_operator.metrics_api.access import Access
from muster_operator.metrics_api.application import MetricsApi
from muster_operator.metrics_api.secret import SharedCertificates
from muster_operator.metrics_api.server import MetricsServer
from muster_operator.naming import owners
from muster_operator.reconcile.coordinator import CoordinatorReconciler
from muster_operator.reconcile.kv.client import Faces, faces_in_cluster
from muster_operator.reconcile.kv.reconciler import KvReconciler
from muster_operator.reconcile.prover_pool import PoolReconciler
from muster_operator.reconcile.reconciler import Reconciler, World
from muster_operator.resources import (
    COORDINATORS,
    CUSTOM,
    KV_CLUSTERS,
    PROVER_POOLS,
    Key,
    Manifest,
    Resource,
)
from muster_operator.reviewers import TokenReviewers
from muster_operator.telemetry.poll import Telemetry, in_cluster
from muster_operator.watching import Watcher
from muster_runtime.election import LeaseElector, Timings
from muster_runtime.election.kube_lease import kube_leases
from muster_runtime.kube import connect
from muster_runtime.ops import Check, Health, OpsServer

log = logging.getLogger(__name__)

_CRD_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Which replica this is, and the namespace that it runs in."""

    name: str
    namespace: str


class Operator:
    """One replica.

    Args:
        coordinator_url: the base URL of a Coordinator's operations port.
        kv_faces: where the coordinators of a KVCluster are reached.
        timings: how fast a lost leader is replaced.
    """

    def __init__(
        self,
        config: OperatorConfig,
        identity: Identity,
        *,
        coordinator_url: Callable[[Key], str] = in_cluster,
        kv_faces: Callable[[Key], Faces] = faces_in_cluster,
        timings: Timings | None = None,
    ) -> None:
        self._config = config.muster
        self._defaults = config.defaults()
        self._identity = identity
        self._coordinator_url = coordinator_url
        self._kv_faces = kv_faces
        self._timings = timings
        self.metrics = OperatorMetrics()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`.

        Raises:
            OSError: a port is taken.
        """
        async with connect() as api:
            cluster, inventory = Cluster(api), Inventory()
            async with self._ops_server(_alive, _not_ready):
                known = await _known_kinds(cluster, inventory, stop)
            if not known:
                return
            elector = LeaseElector(
                kube_leases(
                    api,
                    self._identity.namespace,
                    self._config.lease_name,
                    self._config.deployment,
                ),
                self._identity.name,
                self._timings,
            )
            await self._serve(cluster, inventory, elector, stop)

    async def _serve(
        self, cluster: Cluster, inventory: Inventory, elector: LeaseElector, stop: asyncio.Event
    ) -> None:
        self.metrics.watch_conditions(inventory.conditions)
        telemetry = self._telemetry(inventory)
        server = self._metrics_server(cluster)
        leadership = self._leadership(cluster, inventory, telemetry, server)
        telemetry.changed = lambda key: leadership.mark([key, *inventory.pools(key)])
        watcher = Watcher(_delivery(inventory, leadership))
        watcher.start()
        tasks = [
            elector.run(leadership.lead),
            leadership.resync_for_ever(),
            telemetry.run(),
        ]
        if server:
            api = MetricsApi(
                server.front_proxy, Access(cluster), inventory, telemetry, self.metrics
            )
            tasks.append(server.run(api.application()))

        async def alive() -> Health:
            return Health(not watcher.stuck, {"watching": watcher.watching})

        async def ready() -> Health:
            serving = server is None or server.serving
            return Health(
                # Before it has asked, it would tell the autoscaler that nobody answers.
                watcher.watching and serving and telemetry.asked,
                {
                    "watching": watcher.watching,
                    "metrics_api": serving,
                    "coordinators_asked": telemetry.asked,
                    "is_leader": leadership.leading,
                    "leader": elector.leader,
                },
            )

        async with self._ops_server(alive, ready):
            async with _running(*(asyncio.ensure_future(task) for task in tasks)) as failed:
                await _first(stop, failed)
            await watcher.stop()

    def _ops_server(self, health: Check, ready: Check) -> OpsServer:
        return OpsServer(
            service="muster-operator",
            version=version("muster-operator"),
            port=self._config.ops_port,
            registry=self.metrics.registry,
            health=health,
            ready=ready,
        )

    def _telemetry(self, inventory: Inventory) -> Telemetry:
        return Telemetry(
            lambda: inventory.of_kind(COORDINATORS.kind),
            self.metrics,
            url=self._coordinator_url,
            interval=self._config.poll_interval.total_seconds(),
        )

    def _metrics_server(self, cluster: Cluster) -> MetricsServer | None:
        if self._config.autoscaling_source != "Muster":
            return None
        certificates = SharedCertificates(
            cluster,
            self._identity.namespace,
            self._config.metrics_api_secret,
            self._config.metrics_api_service,
        )
        return MetricsServer(cluster, certificates, self._config.metrics_api_port)

    def _leadership(
        self,
        cluster: Cluster,
        inventory: Inventory,
        telemetry: Telemetry,
        server: MetricsServer | None,
    ) -> Leadership:
        reviewers = TokenReviewers(cluster, inventory.reviewing, self._config.token_review_binding)
        events = EventRecorder(cluster, self._identity.name)
        world = World(cluster, self._defaults, telemetry, events)
        reconcilers: dict[str, Reconciler] = {
            COORDINATORS.kind: CoordinatorReconciler(world),
            PROVER_POOLS.kind: PoolReconciler(world),
            KV_CLUSTERS.kind: KvReconciler(world, self._kv_faces),
        }
        return Leadership(
            cluster,
            inventory,
            reconcilers,
            self.metrics,
            self._config.resync_interval.total_seconds(),
            [reviewers.keep, *([server.register] if server else [])],
        )


def _delivery(
    inventory: Inventory, leadership: Leadership
) -> Callable[[Resource, str | None, Manifest], None]:
    """Turns what the watches tell into dirt."""

    def deliver(resource: Resource, event: str | None, body: Manifest) -> None:
        if resource not in CUSTOM:
            leadership.mark(owners(body))
        elif event == "DELETED":
            leadership.mark(inventory.drop(body))
        else:
            leadership.mark(inventory.put(body), urgent=True)

    return deliver


async def _alive() -> Health:
    """While the kinds are not known: starting it again would not make them so."""
    return Health(True, {"kinds_known": False})


async def _not_ready() -> Health:
    return Health(False, {"kinds_known": False})


async def _known_kinds(cluster: Cluster, inventory: Inventory, stop: asyncio.Event) -> bool:
    """Wait until the API server knows our kinds, and take note of what there is of them.

    Returns:
        False where `stop` came first.
    """
    told = False
    while not stop.is_set():
        try:
            for resource in CUSTOM:
                inventory.replace(resource.kind, await cluster.list(resource))
            return True
        except ClusterError as error:
            if not told:
                log.warning(
                    "waiting for the custom resource definitions of Muster to be installed",
                    extra={"error": str(error)},
                )
                told = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CRD_SECONDS):
                await stop.wait()
    return False


@contextlib.asynccontextmanager
async def _running(*tasks: asyncio.Future[None]) -> AsyncIterator[asyncio.Event]:
    """Run `tasks` while the context is open; the event is set when one of them ends.

    Raises:
        Exception: what a task raised, at the end of the context.
    """
    failed = asyncio.Event()
    for task in tasks:
        task.add_done_callback(lambda _: failed.set())
    try:
        yield failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            task.result()


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
