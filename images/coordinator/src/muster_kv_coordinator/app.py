"""Putting the parts together, and the order in which they start and stop."""

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

from prometheus_client import CollectorRegistry

from muster_front import Nodes
from muster_kv.ring import Ring
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import Item
from muster_kv_coordinator.api.admin import AdminCalls
from muster_kv_coordinator.api.keyvalues import KeyValueCalls
from muster_kv_coordinator.api.service import METHODS, Service
from muster_kv_coordinator.call_metrics import BUCKETS
from muster_kv_coordinator.config import KvConfig
from muster_kv_coordinator.core.administration import Administration
from muster_kv_coordinator.core.errors import UnavailableError
from muster_kv_coordinator.core.hints import Hints
from muster_kv_coordinator.core.keyvalues import KeyValues
from muster_kv_coordinator.core.model import Policy
from muster_kv_coordinator.core.reads import Reads, ReadSettings
from muster_kv_coordinator.core.repairs import Repairs
from muster_kv_coordinator.core.scans import Scans
from muster_kv_coordinator.core.tenants import Tenants
from muster_kv_coordinator.core.writes import Writes
from muster_kv_coordinator.grpc_face.certificates import Certificates
from muster_kv_coordinator.grpc_face.server import GrpcFace, Transport
from muster_kv_coordinator.health import HealthState
from muster_kv_coordinator.http_face.server import HttpFace
from muster_kv_coordinator.metrics import Metrics
from muster_kv_coordinator.nodes.cluster import NodeSettings, StorageCluster
from muster_kv_coordinator.nodes.connections import Connections
from muster_kv_coordinator.nodes.plain import PlainCalls
from muster_kv_coordinator.nodes.rates import SharedBuckets
from muster_kv_coordinator.redis_memory import RedisMemory
from muster_kv_coordinator.store import signals
from muster_kv_coordinator.store.database import SERVER_SETTINGS, Database, PoolLimits
from muster_kv_coordinator.store.migrate import migrate
from muster_kv_coordinator.store.nodes import PostgresNodes
from muster_kv_coordinator.store.ring import PostgresRing
from muster_kv_coordinator.store.tenants import PostgresTenants
from muster_kv_coordinator.tokens import Tokens
from muster_kv_coordinator.topology.leader import Leader, Pace
from muster_kv_coordinator.topology.meter import TopologyMeter
from muster_kv_coordinator.topology.report import Report
from muster_runtime.config import ConfigError
from muster_runtime.election.configured import open_elector
from muster_runtime.http_certificates import encryption
from muster_runtime.notifications import Notifications
from muster_runtime.ops import OpsServer
from muster_runtime.preparation import prepared
from muster_runtime.process import calm_the_collector

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where this process listens."""

    grpc: int
    http: int
    ops: int


class KvCoordinator:
    """One replica of the coordinator.

    Raises:
        ConfigError: files that the configuration names can't be used.
    """

    def __init__(self, config: KvConfig, env: Mapping[str, str], version: str) -> None:
        self._config = config
        self._version = version
        self._identity = config.server.identity(env)
        self._namespace = env.get("POD_NAMESPACE", "default")
        self._dsn = config.database.dsn()
        try:
            self._tokens = Tokens(config.auth)
        except ValueError as error:
            raise ConfigError([str(error)]) from error
        self._certificates = _certificates(config)
        self._metrics = Metrics((*METHODS, "Stream"))
        self._memory = (
            RedisMemory(config.redis, self._metrics.redis_failed) if config.redis.host else None
        )
        self._storage = _node_settings(config, self._identity)
        self._nodes = _nodes(config, self._storage.identity)
        self.ports: Ports | None = None

    async def run(self, stop: asyncio.Event) -> int:
        """Serve until `stop` is set; the exit status."""
        parts = _Parts(
            self._config, self._dsn, self._storage, self._nodes, self._metrics, self._memory
        )
        state = HealthState(self._identity, parts.database, parts.cluster, self._memory)
        metrics = self._config.metrics
        ops = OpsServer(
            service="muster-kv-coordinator",
            version=self._version,
            port=metrics.port,
            registry=self._metrics.registry if metrics.enabled else CollectorRegistry(),
            health=state.health,
            ready=state.ready,
            routes={"/topology": Report(parts.database, parts.cluster).topology},
        )
        ops.add_check("/health/live", state.health)
        ops.add_check("/health/ready", state.ready)
        ops.add_metrics(metrics.path)
        async with ops:
            try:
                prepare = partial(self._prepare, parts)
                if not await prepared(prepare, stop, away=UnavailableError):
                    return 0 if stop.is_set() else 1
                state.prepared = True
                await self._serve(parts, state, stop, ops.bound_port)
            finally:
                await parts.close()
        return 0

    async def _prepare(self, parts: "_Parts") -> None:
        await migrate(self._dsn)
        await parts.database.open()
        await parts.cluster.reload()
        if self._memory is not None:
            await self._memory.open()

    async def _serve(
        self, parts: "_Parts", state: HealthState, stop: asyncio.Event, ops_port: int
    ) -> None:
        service = parts.service(self._tokens)
        server = self._config.server
        grpc = GrpcFace(service, server.host, server.port, self._transport(), parts.nodes)
        http = HttpFace(
            service,
            self._version,
            address=(server.host, server.http_port),
            seconds=max(server.read_timeout, server.write_timeout).total_seconds(),
            encryption=encryption(self._config.tls),
            ready=state.is_ready,
        )
        interval = self._config.hash_ring.update_interval.total_seconds()
        try:
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(parts.cluster.run(interval)),
                    group.create_task(parts.signals(self._dsn).run()),
                    group.create_task(state.sample(self._metrics)),
                ]
                if self._config.topology.enabled:
                    background.append(group.create_task(self._maintain(parts)))
                await grpc.start()
                watching = group.create_task(grpc.failed())
                await http.start()
                self.ports = Ports(grpc.bound_port, http.bound_port, ops_port)
                calm_the_collector(50_000, 20, 50)
                log.info(
                    "serving",
                    extra={"coordinator_id": self._identity, "ports": asdict(self.ports)},
                )
                await stop.wait()
                watching.cancel()
                await self._drain(parts, state, grpc, http)
                for task in background:
                    task.cancel()
        finally:
            # Also where it began to serve and could not go on.
            await asyncio.gather(grpc.stop(0), http.stop())

    async def _maintain(self, parts: "_Parts") -> None:
        """Campaign for ever, and maintain the cluster while leading."""
        section = self._config.leader_election
        async with open_elector(
            section,
            self._identity,
            dsn=self._dsn,
            lock=section.lease_name,
            namespace=self._namespace,
        ) as elector:
            await elector.run(parts.leader.lead)

    async def _drain(
        self, parts: "_Parts", state: HealthState, grpc: GrpcFace, http: HttpFace
    ) -> None:
        """Stop in order: readiness, requests under way to their end, hints and repairs."""
        log.info("stopping")
        state.stopping = True
        end = time.monotonic() + self._config.server.shutdown_timeout.total_seconds()
        await grpc.leave()
        await asyncio.gather(grpc.stop(max(0.0, end - time.monotonic())), http.stop())
        try:
            async with asyncio.timeout(max(0.1, end - time.monotonic())):
                await parts.hints.idle()
                await parts.repairs.idle()
        except TimeoutError:
            log.warning("stopped before all hints and repairs were done")
        log.info("stopped")

    def _transport(self) -> Transport:
        tls, auth = self._config.tls, self._config.auth
        return Transport(
            certificates=self._certificates,
            tokens=auth.mode == "jwt",
            names=tls.mode == "mutual" and bool(auth.admin_common_names),
            most=self._config.server.max_connections,
        )


class _Parts:
    """What serves requests, from the metadata to the service."""

    def __init__(
        self,
        config: KvConfig,
        dsn: str,
        storage: NodeSettings,
        nodes: Nodes,
        metrics: Metrics,
        memory: RedisMemory | None,
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._memory = memory
        section = config.database
        self.database = Database(
            dsn,
            PoolLimits(
                section.max_connections,
                section.min_connections,
                section.conn_max_lifetime.total_seconds(),
            ),
            metrics,
        )
        self.hints = Hints(metrics, config.consistency.hint_queue)
        self.repairs = Repairs(metrics, config.consistency.repair_queue)
        self.nodes = nodes
        self.connections = Connections(nodes, metrics, self._missed)
        metrics.calls.count_plain(nodes.plain.tallies)
        self.plain = PlainCalls(nodes.plain, lambda: self.cluster.ring)
        self.cluster = StorageCluster(
            storage, self.connections, PostgresRing(self.database).ring, self._changed
        )
        self.tenants = Tenants(
            PostgresTenants(self.database),
            metrics,
            time.monotonic,
            ttl=config.cache.tenant_config_ttl.total_seconds(),
            size=config.cache.max_size,
            oldest=lambda: self.cluster.factors_version,
            mirror=self.plain,
        )
        topology = config.topology
        self.leader = Leader(
            self.database,
            storage,
            Pace(
                topology.keys_per_second,
                topology.repair_interval.total_seconds(),
                topology.disk_limit,
            ),
            TopologyMeter(metrics.registry),
        )

    def _missed(self, target: str, holder: str, item: Item) -> None:
        self.hints.add(target, self.cluster.replica(holder), item)

    def _changed(self, ring: Ring) -> None:
        self._metrics.ring_version(ring.version)
        self.plain.changed(ring)

    def service(self, tokens: Tokens) -> Service:
        """The service over these parts."""
        config, cluster, together = self._config, self.cluster, self.connections
        section, metrics = config.consistency, self._metrics
        reading = min(section.read_timeout, config.server.read_timeout).total_seconds()
        writing = min(section.write_timeout, config.server.write_timeout).total_seconds()
        if config.auth.mode == "disabled" and not log.isEnabledFor(logging.DEBUG):
            # Nothing is to be judged or told of a call that is plain.
            self.nodes.plain.open(section.default_level.value, writing, reading)
        key_values = KeyValues(
            self.tenants,
            SharedBuckets(self.nodes.plain),
            Writes(cluster, together, metrics, self._memory, writing),
            Reads(
                cluster,
                together,
                metrics,
                self.repairs,
                ReadSettings(reading, section.repair_async),
            ),
            Scans(cluster, metrics, reading),
        )
        default = Policy(
            writes_per_minute=config.limits.writes_per_minute,
            reads_per_minute=config.limits.reads_per_minute,
        )
        administration = Administration(
            self.tenants,
            PostgresNodes(self.database),
            cluster,
            default,
            redis=self._memory is not None,
            disk_limit=config.topology.disk_limit,
            changed=cluster.reload,
        )
        return Service(
            KeyValueCalls(key_values, tokens, section.default_level),
            AdminCalls(administration, tokens, config.hash_ring.virtual_nodes),
            metrics,
        )

    def signals(self, dsn: str) -> Notifications:
        """What is heard of changes elsewhere."""
        return Notifications(
            dsn,
            SERVER_SETTINGS,
            {
                signals.TENANTS: self.tenants.changed,
                signals.RING: self.cluster.wake,
                signals.MIGRATIONS: self.leader.wake,
                signals.REPAIRS: self.leader.wake,
            },
            self._look_again,
        )

    def _look_again(self) -> None:
        """Notifications may have been missed."""
        self.tenants.all_changed()
        self.cluster.wake()
        self.leader.wake()

    async def close(self) -> None:
        """Close every connection."""
        await self.cluster.close()
        self.connections.close()
        if self._memory is not None:
            await self._memory.close()
        await self.database.close()


def _certificates(config: KvConfig) -> Certificates | None:
    """What the gRPC port shows and asks for; None without TLS."""
    files = config.tls.files
    if files is None:
        return None
    try:
        return Certificates(files)
    except (ValueError, OSError) as error:
        raise ConfigError([f"tls.cert_file, key_file, ca_file: {error}"]) from error


def _node_settings(config: KvConfig, identity: str) -> NodeSettings:
    storage = config.storage
    context = None
    if storage.ca_file is not None:
        try:
            context = ssl.create_default_context(cafile=storage.ca_file)
            if storage.cert_file is not None:
                context.load_cert_chain(storage.cert_file, storage.key_file)
        except (OSError, ssl.SSLError) as error:
            text = f"storage.ca_file, cert_file, key_file: {error}; allowed: PEM files"
            raise ConfigError([text]) from error
    return NodeSettings(
        Identity(identity, Role.COORDINATOR, storage.cluster, storage.token().encode()),
        context,
        config.consistency.suspect_after.total_seconds(),
    )


def _nodes(config: KvConfig, identity: Identity) -> Nodes:
    storage, tls = config.storage, None
    try:
        if storage.ca_file is not None:
            own = None
            if storage.cert_file is not None and storage.key_file is not None:
                own = storage.cert_file.read_bytes(), storage.key_file.read_bytes()
            tls = storage.ca_file.read_bytes(), own
        return Nodes(
            node_id=identity.node_id,
            cluster=identity.cluster,
            token=identity.token,
            hedge_seconds=config.consistency.hedge_after.total_seconds(),
            buckets=BUCKETS,
            tls=tls,
        )
    except (OSError, ValueError) as error:
        text = f"storage.ca_file, cert_file, key_file: {error}"
        raise ConfigError([text]) from error
