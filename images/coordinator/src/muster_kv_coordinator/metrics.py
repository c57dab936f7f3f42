"""Prometheus metrics. Counters exist at 0 from the start, so that a rate never misses the first."""

from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from muster_kv_coordinator.call_metrics import BUCKETS, CallMetrics
from muster_kv_coordinator.core.errors import ErrorCode

_HINTS = ("stored", "dropped")
_REPAIRS = ("done", "failed", "dropped")
_QUORUMS = ("read", "write", "scan")


class Metrics:
    """All metrics of a coordinator, in a registry of their own."""

    def __init__(self, methods: Sequence[str]) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._make_requests()
        self._make_replicas()
        self._make_database()
        codes = ("OK", "CANCELLED", *(code.name for code in ErrorCode))
        self.calls = CallMetrics(methods, codes)
        self.registry.register(self.calls)

    def _make_requests(self) -> None:
        registry = self.registry
        self._misses = Counter(
            "coordinator_cache_misses", "Tenants that had to be asked for.", registry=registry
        )
        self._evictions = Counter(
            "coordinator_cache_evictions",
            "Tenants that gave way to others, as the cache was full.",
            registry=registry,
        )
        self._redis = Counter(
            "coordinator_redis_failures",
            "Look-ups of retries that Redis did not answer; replicas were asked instead.",
            registry=registry,
        )

    def _make_replicas(self) -> None:
        registry = self.registry
        self._conflicts = Counter(
            "coordinator_conflicts_detected",
            "Reads that found siblings.",
            registry=registry,
        )
        self._triggered = Counter(
            "coordinator_repairs_triggered",
            "Reads that found replicas unlike each other.",
            registry=registry,
        )
        self._repairs = Counter(
            "coordinator_repairs", "Replicas repaired, by outcome.", ("outcome",), registry=registry
        )
        self._quorum = Counter(
            "coordinator_quorum_failures",
            "Requests that too few replicas answered in time.",
            ("operation",),
            registry=registry,
        )
        self._hedges = Counter(
            "coordinator_hedged_requests",
            "Replicas asked because another was slow.",
            registry=registry,
        )
        self._duplicates = Counter(
            "coordinator_duplicate_writes", "Writes that had happened before.", registry=registry
        )
        self._hints = Counter(
            "coordinator_hints", "Hints for absent replicas, by outcome.", ("outcome",),
            registry=registry,
        )  # fmt: skip
        self._stale = Counter(
            "coordinator_stale_ring", "Requests tried again with a newer ring.", registry=registry
        )
        self._ring = Gauge("coordinator_ring_version", "Of the ring in use.", registry=registry)
        self._nodes = Gauge(
            "coordinator_storage_nodes", "Members of the ring, by health.", ("health",),
            registry=registry,
        )  # fmt: skip
        for outcome in _HINTS:
            self._hints.labels(outcome)
        for outcome in _REPAIRS:
            self._repairs.labels(outcome)
        for operation in _QUORUMS:
            self._quorum.labels(operation)
        for health in ("healthy", "away"):
            self._nodes.labels(health)

    def _make_database(self) -> None:
        self._database = Histogram(
            "coordinator_database_seconds",
            "One use of the metadata store, from asking for a connection to giving it back.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._database_failures = Counter(
            "coordinator_database_failures",
            "Uses of the metadata store while it was away.",
            registry=self.registry,
        )
        self._connections = Gauge(
            "coordinator_database_connections",
            "Open connections to the metadata store, by state.",
            ("state",),
            registry=self.registry,
        )
        for state in ("used", "idle"):
            self._connections.labels(state)

    def request(self, method: str, code: str, seconds: float) -> None:
        """A call ended with a code of the contract, or `OK`."""
        self.calls.ended(method, code, seconds)

    def cache(self, *, hit: bool) -> None:
        """One tenant was looked up, and was in the cache or not."""
        if hit:
            self.calls.hit()
        else:
            self._misses.inc()

    def evicted(self) -> None:
        """A tenant gave way to another in the cache."""
        self._evictions.inc()

    def asked_database(self, seconds: float) -> None:
        """The metadata store was used for so long, waiting for a connection among it."""
        self._database.observe(seconds)

    def database_failed(self) -> None:
        """The metadata store was away."""
        self._database_failures.inc()

    def watch_connections(self, name: str, read: Callable[[], float]) -> None:
        """Read how many connections to the metadata store are in a state, whenever asked."""
        self._connections.labels(name).set_function(read)

    def redis_failed(self) -> None:
        """Redis did not answer."""
        self._redis.inc()

    def conflict(self) -> None:
        """A read found siblings."""
        self._conflicts.inc()

    def repair_triggered(self) -> None:
        """A read found replicas unlike each other."""
        self._triggered.inc()

    def repaired(self, outcome: str, count: int = 1) -> None:
        """Replicas were repaired: done, failed or dropped."""
        self._repairs.labels(outcome).inc(count)

    def quorum_failed(self, operation: str) -> None:
        """Too few replicas answered a read, a write or a scan."""
        self._quorum.labels(operation).inc()

    def hedged(self) -> None:
        """Another replica was asked, as one was slow."""
        self._hedges.inc()

    def duplicate(self) -> None:
        """A write had happened before."""
        self._duplicates.inc()

    def hinted(self, outcome: str, count: int) -> None:
        """Hints were stored or dropped."""
        self._hints.labels(outcome).inc(count)

    def stale_ring(self) -> None:
        """A request was tried again with a newer ring."""
        self._stale.inc()

    def ring_version(self, version: int) -> None:
        """Another ring is in use."""
        self._ring.set(version)

    def nodes(self, healthy: int, away: int) -> None:
        """How many members of the ring answer."""
        self._nodes.labels("healthy").set(healthy)
        self._nodes.labels("away").set(away)
