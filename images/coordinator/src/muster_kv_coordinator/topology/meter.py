"""Metrics of the maintenance leader; all exist at 0 on every coordinator."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from muster_kv_coordinator.core.model import MigrationStatus, MigrationType

_OUTCOMES = (MigrationStatus.COMPLETED, MigrationStatus.CANCELLED)
ROUNDS = ("complete", "incomplete")


class TopologyMeter:
    """Counts what a leader does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.leading = Gauge(
            "coordinator_maintenance_leader", "1 on the coordinator that leads.", registry=registry
        )
        self.at_work = Gauge(
            "coordinator_migrations_in_progress", "Migrations begun, on the leader.",
            registry=registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "coordinator_migrations_pending", "Migrations not begun, on the leader.",
            registry=registry,
        )  # fmt: skip
        self.under_replicated = Gauge(
            "coordinator_under_replicated_ranges",
            "Pieces of the ring with an owner that is away or has yet to get its data, on the "
            "leader.",
            registry=registry,
        )
        self._ended = Counter(
            "coordinator_migrations", "Migrations ended, by type and outcome.",
            ("type", "outcome"), registry=registry,
        )  # fmt: skip
        self.keys = Counter(
            "coordinator_migration_keys", "Records copied by migrations.", registry=registry
        )
        self._rounds = Counter(
            "coordinator_repair_rounds", "Anti-entropy rounds, by outcome.", ("outcome",),
            registry=registry,
        )  # fmt: skip
        self.differing = Counter(
            "coordinator_repair_ranges_differing",
            "Parts of ranges in which an anti-entropy round found replicas unlike each other.",
            registry=registry,
        )
        self.repaired = Counter(
            "coordinator_repair_records", "Records that anti-entropy brought to a replica.",
            registry=registry,
        )  # fmt: skip
        self.purged = Counter(
            "coordinator_purged_records", "Records forgotten whole after a complete round.",
            registry=registry,
        )  # fmt: skip
        for kind in MigrationType:
            for outcome in _OUTCOMES:
                self._ended.labels(kind.value, outcome.value)
        for round_outcome in ROUNDS:
            self._rounds.labels(round_outcome)

    def idle(self) -> None:
        """This coordinator leads no more."""
        for gauge in (self.leading, self.at_work, self.waiting, self.under_replicated):
            gauge.set(0)

    def ended(self, kind: MigrationType, outcome: MigrationStatus) -> None:
        """A migration has ended."""
        self._ended.labels(kind.value, outcome.value).inc()

    def round(self, *, complete: bool) -> None:
        """An anti-entropy round has ended."""
        self._rounds.labels(ROUNDS[0] if complete else ROUNDS[1]).inc()
