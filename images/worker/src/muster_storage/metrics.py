"""The storage node's metrics; all start at 0."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from muster_storage.disk import Fill, Usage

HINT_OUTCOMES: Final = ("delivered", "superseded", "expired", "dropped")
SWEPT: Final = ("expired", "purged", "forgotten")
"""Values whose time to live was over, tombstones before the horizon, idempotency records."""
STATES: Final = ("STARTING", "NORMAL", "DRAINING", "DECOMMISSIONED")
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)


class Metrics:
    """What this node counts and measures.

    Args:
        operations: names of the requests that can be answered.
        errors: codes that an answer can have.
    """

    def __init__(self, operations: list[str], errors: list[str]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "storage_requests",
            "Requests answered, by operation.",
            ("operation",),
            registry=self.registry,
        )
        self._errors = Counter(
            "storage_errors", "Requests refused, by code.", ("code",), registry=self.registry
        )
        self._hints = Counter(
            "storage_hints",
            "Hints that came to an end, by how.",
            ("outcome",),
            registry=self.registry,
        )
        self._swept = Counter(
            "storage_swept", "What the sweeper removed.", ("kind",), registry=self.registry
        )
        self._passes = Counter(
            "storage_sweeps",
            "Passes of the sweeper that came to their end.",
            registry=self.registry,
        )
        self._corrupt = Counter(
            "storage_corrupt_records",
            "Records found that are not what was written.",
            registry=self.registry,
        )
        self._batch = Histogram(
            "storage_commit_requests",
            "Requests in one durable batch.",
            buckets=_BATCHES,
            registry=self.registry,
        )
        self._commit = Histogram(
            "storage_commit_seconds",
            "Time to apply and fsync one batch.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._state = Gauge(
            "storage_state", "1 for the node's state.", ("state",), registry=self.registry
        )
        self._fill = Gauge(
            "storage_disk_step",
            "How full the disk is: 0 fine, 1 warns, 2 refuses large values, 3 refuses writes.",
            registry=self.registry,
        )
        self._used = Gauge(
            "storage_disk_used_percent", "How full the disk is.", registry=self.registry
        )
        self._backup = Gauge(
            "storage_last_backup_timestamp_seconds",
            "Unix time of the last finished backup.",
            registry=self.registry,
        )
        self._reopened = Counter(
            "storage_reopened",
            "Times that RocksDB was opened anew, as it refused writes without need.",
            registry=self.registry,
        )
        for operation in operations:
            self._requests.labels(operation)
        for code in errors:
            self._errors.labels(code)
        for outcome in HINT_OUTCOMES:
            self._hints.labels(outcome)
        for kind in SWEPT:
            self._swept.labels(kind)
        self.entered("STARTING")

    def watch(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Read the gauge `storage_<name>` from its source whenever metrics are asked for."""
        Gauge(f"storage_{name}", documentation, registry=self.registry).set_function(read)

    def answered(self, operation: str, count: int = 1) -> None:
        """Requests of one operation were answered, well or not."""
        self._requests.labels(operation).inc(count)

    def refused(self, code: str, count: int = 1) -> None:
        """Requests were refused."""
        self._errors.labels(code).inc(count)

    def hints_ended(self, outcome: str, count: int) -> None:
        """Hints were `delivered`, `superseded`, `expired` or `dropped`."""
        self._hints.labels(outcome).inc(count)

    def swept(self, kind: str, count: int) -> None:
        """The sweeper removed something."""
        self._swept.labels(kind).inc(count)

    def passed(self) -> None:
        """The sweeper came to the end of a range."""
        self._passes.inc()

    def corrupted(self, count: int = 1) -> None:
        """Records were found damaged."""
        self._corrupt.inc(count)

    def committed(self, requests: int, seconds: float) -> None:
        """A batch is durable."""
        self._batch.observe(requests)
        self._commit.observe(seconds)

    def reopened(self) -> None:
        """RocksDB was opened anew."""
        self._reopened.inc()

    def entered(self, state: str) -> None:
        """The node is in this state now."""
        for known in STATES:
            self._state.labels(known).set(known == state)

    def disk(self, fill: Fill, usage: Usage) -> None:
        """The disk is this full."""
        self._fill.set(fill)
        self._used.set(usage.percent)

    def backed_up(self) -> None:
        """A backup was finished just now."""
        self._backup.set_to_current_time()
