"""Putting the parts together, and the order in which they start and stop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

from muster_broker.access import Access
from muster_coordinator import faces
from muster_coordinator.broker_face import face as broker
from muster_coordinator.broker_face.asks import Keys
from muster_coordinator.broker_face.metrics import BrokerMetrics
from muster_coordinator.broker_face.streams import Keeping
from muster_coordinator.config import CoordinatorConfig
from muster_coordinator.engine.acceptance import AsReported, ByType
from muster_coordinator.engine.admission import QueueLimits
from muster_coordinator.engine.delivery import Delivery
from muster_coordinator.engine.errors import Unavailable
from muster_coordinator.engine.leader import Leader, LeaderSettings
from muster_coordinator.engine.model import Moved
from muster_coordinator.engine.notes import Notes
from muster_coordinator.engine.ports import HealthLimits
from muster_coordinator.engine.queue import Queue
from muster_coordinator.engine.registry import Registry
from muster_coordinator.engine.reports import Reports, Times
from muster_coordinator.engine.retry import RetryPolicy
from muster_coordinator.engine.scheduling import STRATEGIES
from muster_coordinator.engine.waiters import Waiters
from muster_coordinator.faces import Faces
from muster_coordinator.grpc_face.authentication import Authentication
from muster_coordinator.grpc_face.callee import Engine, Terms
from muster_coordinator.grpc_face.scaler import ExternalScaler, scaler_service
from muster_coordinator.grpc_face.server import GrpcServer, Security, coordinator_service
from muster_coordinator.grpc_face.service import CoordinatorService
from muster_coordinator.http_face.server import HttpServer
from muster_coordinator.http_face.traced import traced
from muster_coordinator.ops.metrics import Metrics
from muster_coordinator.ops.state import OpsState, Stores
from muster_coordinator.proving.acceptance import ProofAcceptance
from muster_coordinator.proving.imports import KeyFile
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import PREFIX, Offers, Pool
from muster_coordinator.store import signals
from muster_coordinator.store.accounts import PostgresAccounts
from muster_coordinator.store.assignments import PostgresAssignments
from muster_coordinator.store.configs import PostgresConfigs
from muster_coordinator.store.database import SERVER_SETTINGS, Database, Limits
from muster_coordinator.store.history import PostgresHistory
from muster_coordinator.store.keys import PostgresKeys
from muster_coordinator.store.leadership import PostgresLeadership
from muster_coordinator.store.migrate import migrate
from muster_coordinator.store.notes import PostgresNotes
from muster_coordinator.store.queue import PostgresQueue
from muster_coordinator.store.witnesses import Witnesses
from muster_coordinator.store.workers import PostgresWorkers
from muster_coordinator.workload_face.service import workload_service
from muster_coordinator.workload_face.sockets import Watches
from muster_runtime.election import Elector, Term
from muster_runtime.election.configured import open_elector
from muster_runtime.grpc_certificates import credentials
from muster_runtime.http_certificates import encryption
from muster_runtime.notifications import Notifications
from muster_runtime.ops import OpsServer
from muster_runtime.preparation import prepared
from muster_runtime.process import calm_the_collector
from muster_runtime.tracing import Off, Tracer

log = logging.getLogger(__name__)

_LONGEST_HEARTBEAT_SECONDS = 5.0

_SHORTEST_REPLICA_SILENCE_SECONDS = 5.0

# The worker gives up before the coordinator does, and says why.
_WORKERS_SHARE_OF_THE_LEASE = 0.9


def heartbeat_seconds(timeout: timedelta) -> float:
    """How often workers send heartbeats, so that several are missed before one is suspect."""
    return min(_LONGEST_HEARTBEAT_SECONDS, timeout.total_seconds() / 6)


def health_limits(config: CoordinatorConfig) -> HealthLimits:
    """When silence counts, from the one timeout that is configured."""
    timeout = config.coordinator.heartbeat_timeout
    return HealthLimits(
        suspect=timeout.total_seconds(),
        dead=config.coordinator.dead_threshold.total_seconds(),
        grace=1.6 * heartbeat_seconds(timeout),
        replica=max(_SHORTEST_REPLICA_SILENCE_SECONDS, timeout.total_seconds() / 3),
    )


def offers(config: CoordinatorConfig) -> Offers:
    """The pools of a configuration; one that both proves and does other work is one pool."""
    pools = {
        pool.name: Pool(
            pool.name,
            tuple(circuit.spec for circuit in pool.circuits),
            pool.insecure_setup,
            verified=pool.verification == "Required",
            imports={
                circuit.spec: KeyFile(circuit.import_.path, circuit.import_.sha256)
                for circuit in pool.circuits
                if circuit.import_ is not None
            },
        )
        for pool in config.proving.pools
    }
    for pool in config.workloads.pools:
        known = pools.get(pool.name, Pool(pool.name))
        pools[pool.name] = replace(known, general=True, types=frozenset(pool.types))
    return Offers(pools.values())


@dataclass(frozen=True, slots=True)
class Ports:
    """The TCP ports that a replica serves on; `scaler` only where that is wanted."""

    grpc: int
    http: int
    ops: int
    scaler: int | None = None


class Coordinator:
    """One replica: everything that it consists of.

    Args:
        dsn: connection string of the database.
        env: for the name of the pod and its namespace.
        tracer: where spans go; nowhere by default.
        witnesses: what seals inputs at rest; nothing by default.

    Attributes:
        ports: set as soon as it serves.
        watches: what customers watch here.
    """

    def __init__(
        self,
        config: CoordinatorConfig,
        dsn: str,
        env: Mapping[str, str],
        tracer: Tracer | None = None,
        witnesses: Witnesses | None = None,
    ) -> None:
        self.ports: Ports | None = None
        self._tracer = tracer or Off()
        self._config = config
        self._dsn = dsn
        self._env = env
        self._witnesses = witnesses or Witnesses()
        self._section = config.coordinator
        self._identity = config.coordinator.identity(env)
        self._poll = self._section.poll_interval.total_seconds()
        self._lease = self._section.stale_task_timeout.total_seconds()
        self._offers = offers(config)
        self._metrics = Metrics(self._offers)
        self._make_stores()
        self._make_engine()
        self._ops = OpsState(
            self._identity,
            Stores(self._queue_store, self._worker_store, self._leader_store),
            self._keyring,
            self._offers,
            self._metrics,
        )
        self._ops.leader = self._leader
        self._broker = self._make_broker()
        self.watches = Watches()

    def _make_stores(self) -> None:
        section = self._config.database
        self._database = Database(
            self._dsn,
            Limits(
                max_connections=section.max_open_conns,
                idle_connections=section.max_idle_conns,
                max_lifetime=section.conn_max_lifetime.total_seconds(),
            ),
        )
        self._queue_store = PostgresQueue(self._database, self._witnesses)
        self._assignment_store = PostgresAssignments(self._database, self._witnesses)
        self._worker_store = PostgresWorkers(self._database)
        self._leader_store = PostgresLeadership(self._database, self._witnesses, self._identity)
        self._key_store = PostgresKeys(self._database)

    def _make_engine(self) -> None:
        policy = RetryPolicy(max_redistributions=self._section.max_worker_losses)
        self._waiters = Waiters()
        limits = QueueLimits(self._section.max_queued, self._section.max_pending)
        self._queue = Queue(self._queue_store, self._waiters, limits)
        self._keyring = KeyRing(self._key_store, self._offers)
        self._acceptance = ProofAcceptance(self._keyring, self._offers)
        self._registry = Registry(self._worker_store, self._assignment_store, policy)
        self._reports = Reports(
            self._assignment_store,
            Notes(PostgresNotes(self._database, self._witnesses), self._metrics, self._lease),
            self._worker_store,
            ByType({PREFIX: self._acceptance}, AsReported()),
            policy,
            self._metrics,
            Times(self._lease, self._section.quarantine.total_seconds()),
        )
        self._delivery = Delivery(
            self._assignment_store, self._worker_store, policy, self._identity, self._poll
        )
        self._leader = Leader(
            self._leader_store,
            self._worker_store,
            STRATEGIES[self._section.strategy](),
            policy,
            LeaderSettings(
                poll=self._poll,
                cleanup=self._section.cleanup_interval.total_seconds(),
                lease=self._lease,
                patience=self._config.leader_election.timings.renew_deadline,
                batch=self._section.batch_size,
                limits=health_limits(self._config),
                retention=self._section.task_retention.total_seconds(),
            ),
            self._metrics,
            duties=[self._keyring.tend],
        )
        self._queue.hand_over = self._leader.hand_over
        self._leader.on_assigned = self._assigned
        self._reports.on_ended = self._delivery.finished

    def _assigned(self, moved: Sequence[Moved]) -> None:
        self._reports.assigned(one for one in moved if self._delivery.holds(one.worker_id))
        self._delivery.assigned(moved)

    def _make_broker(self) -> broker.BrokerFace | None:
        section = self._config.broker
        if not section.enabled:
            return None
        made = broker.BrokerFace(
            Access(section),
            Keeping(section.stream_replicas, section.stream_bytes),
            broker.Engine(
                self._registry,
                self._delivery,
                self._reports,
                Keys(self._key_store, self._keyring, self._offers),
            ),
            broker.Terms(
                self._identity,
                heartbeat_seconds(self._section.heartbeat_timeout),
                round(self._lease * _WORKERS_SHARE_OF_THE_LEASE * 1000),
            ),
            BrokerMetrics(self._metrics.registry),
            self._tracer,
        )
        self._ops.broker = made
        return made

    async def run(self, stop: asyncio.Event, version: str) -> int:
        """Serve until `stop` is set; the exit status.

        Raises:
            OSError, RuntimeError: a port is taken.
        """
        ops = OpsServer(
            service="muster-coordinator",
            version=version,
            port=self._section.ops_port,
            registry=self._metrics.registry,
            health=self._ops.health,
            ready=self._ops.ready,
            routes={"/queue": self._ops.queue, "/workers": self._ops.workers},
        )
        ops.describe(coordinator_id=self._identity)
        async with ops:
            try:
                if not await prepared(self._prepare, stop, away=Unavailable):
                    return 0 if stop.is_set() else 1
                async with self._elector() as elector, self._security() as security:
                    self._ops.elector = elector
                    await self._serve(elector, security, stop, ops.bound_port)
            finally:
                await self._database.close()
        return 0

    async def _prepare(self) -> None:
        await migrate(self._dsn)
        await self._database.open()
        await self._worker_store.replica_started(self._identity)

    def _elector(self) -> AbstractAsyncContextManager[Elector]:
        return open_elector(
            self._config.leader_election,
            self._identity,
            dsn=self._dsn,
            lock="muster-coordinator",
            namespace=self._env.get("POD_NAMESPACE", "default"),
        )

    @contextlib.asynccontextmanager
    async def _security(self) -> AsyncIterator[Security]:
        tls, auth = credentials(self._config.grpc_tls), self._config.auth
        if auth.mode == "disabled":
            yield Security(tls)
            return
        from muster_coordinator.grpc_face.token_review import TokenReviews
        from muster_runtime.kube import connect

        async with connect() as api:
            reviews = TokenReviews(api, auth.audience)
            yield Security(tls, Authentication(reviews, auth.allowed_service_accounts))

    async def _serve(
        self, elector: Elector, security: Security, stop: asyncio.Event, ops_port: int
    ) -> None:
        customers = self._faces()
        services = (coordinator_service(self._service()), workload_service(customers.service()))
        grpc = GrpcServer(services, self._metrics, self._section.grpc_port, security)
        drain = self._section.drain_timeout.total_seconds()
        http = HttpServer(
            traced(customers.web(self._metrics.requested), self._tracer),
            self._section.http_port,
            drain,
            encryption(self._config.http_tls),
        )
        async with self._scaler() as scaler_port, asyncio.TaskGroup() as group:
            background = [
                group.create_task(work)
                for work in (
                    self._listener().run(),
                    self._ops.sample(self._queue, self._poll),
                    self._keyring.run(),
                    self._delivery.run(),
                    self._delivery.hold(),
                )
            ]
            if self._broker is not None:
                background.append(group.create_task(self._broker.run()))
            election = group.create_task(elector.run(self._lead))
            web = group.create_task(http.run())
            await grpc.start()
            self.ports = Ports(grpc.bound_port, http.bound_port, ops_port, scaler_port)
            calm_the_collector(20_000, 50, 20)
            log.info(
                "serving",
                extra={"coordinator_id": self._identity, "ports": asdict(self.ports)},
            )
            await stop.wait()
            await self._drain(election, web, http, grpc, time.monotonic() + drain)
            for task in background:
                task.cancel()

    @contextlib.asynccontextmanager
    async def _scaler(self) -> AsyncIterator[int | None]:
        """Answer KEDA, where that is wanted; the port.

        It can show no token, and what it learns the operations port tells as well, so that this
        port is as open as that one.
        """
        port = self._section.scaler_port
        if port is None:
            yield None
            return
        scaler = ExternalScaler(self._queue_store, self._offers, self._poll)
        server = GrpcServer([scaler_service(scaler)], self._metrics, port, Security())
        await server.start()
        try:
            yield server.bound_port
        finally:
            await server.stop(0)

    async def _drain(
        self,
        election: asyncio.Task[None],
        web: asyncio.Task[None],
        http: HttpServer,
        grpc: GrpcServer,
        deadline: float,
    ) -> None:
        """Stop in order: readiness, leadership, streams, then what is under way to its end."""
        log.info("stopping")
        self._ops.stopping = True
        self._database.leave()
        await grpc.leave()
        election.cancel()
        await asyncio.wait({election})
        self._waiters.close()
        http.stop()
        if self._broker is not None:
            await self._broker.leave()
        await self._delivery.stop()
        await grpc.stop(max(0.0, deadline - time.monotonic()))
        try:
            async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                await asyncio.wait({web})
                for part in (self._queue, self._reports, self._registry):
                    await part.idle()
                await self._delivery.leave()
        except (TimeoutError, Unavailable) as error:
            log.warning("stopped before all was done", extra={"error": repr(error)})
            web.cancel()
        self._acceptance.close()
        log.info("stopped")

    async def _lead(self, term: Term) -> None:
        await self._leader.lead(term.holder)

    def _service(self) -> CoordinatorService:
        engine = Engine(
            self._registry,
            self._delivery,
            self._reports,
            self._key_store,
            self._keyring,
            self._offers,
        )
        heartbeat = heartbeat_seconds(self._section.heartbeat_timeout)
        timeout = self._lease * _WORKERS_SHARE_OF_THE_LEASE
        terms = Terms(round(heartbeat * 1000), round(timeout * 1000))
        return CoordinatorService(engine, terms, self._tracer)

    def _faces(self) -> Faces:
        return Faces(
            faces.Engine(
                self._queue,
                self._registry,
                self._keyring,
                self._offers,
                self._queue_store,
                PostgresHistory(self._database),
                PostgresAccounts(self._database),
                PostgresConfigs(self._database),
            ),
            self._config,
            self.watches,
        )

    def _listener(self) -> Notifications:
        return Notifications(
            self._dsn,
            SERVER_SETTINGS,
            {
                signals.WORK: lambda what: self._leader.wake(workers=what == signals.WORKERS),
                signals.ASSIGNED: self._delivery.wake,
                signals.ORDERS: self._delivery.wake_orders,
                signals.DONE: self._waiters.wake_named,
                signals.KEYS: lambda _: self._keyring.wake(),
            },
            self._look_again,
        )

    def _look_again(self) -> None:
        """Notifications may have been missed."""
        self._leader.wake()
        self._delivery.wake_all()
        self._waiters.wake_all()
        self._keyring.wake()
