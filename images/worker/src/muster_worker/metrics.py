"""The worker's metrics, with the names that its dashboards and alerts know; all start at 0."""

import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from muster_protos import coordinator_pb2 as pb
from muster_worker.tasks import Reason
from muster_worker.workloads import PROOFS

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300)
_DROPPED = ("fenced", "unknown")
_WORKER = ("worker_id",)


class Metrics:
    """What this worker counts and measures."""

    def __init__(self, worker_id: str, concurrency: int) -> None:
        self.registry = CollectorRegistry()
        self._worker_id = worker_id
        self._connected = self._gauge("connected", "Whether this worker takes tasks (1) or not.")
        self._heartbeat = self._gauge(
            "last_heartbeat_seconds", "Unix time of the last heartbeat that was answered."
        )
        self._gauge("pool_concurrency", "Tasks that can be executed at once.").set(concurrency)
        self._active = self._gauge("active_tasks", "Tasks that are being executed.")
        self._queued = self._gauge("queued_tasks", "Tasks that wait for a free process.")
        self._reports = self._gauge("pending_reports", "Results not yet accepted or refused.")
        self._completed = Counter(
            "worker_tasks_completed",
            "Results that the coordinator accepted.",
            _WORKER,
            registry=self.registry,
        ).labels(worker_id)
        self._failed = Counter(
            "worker_tasks_failed",
            "Tasks that failed here, by reason.",
            (*_WORKER, "reason"),
            registry=self.registry,
        )
        self._dropped = Counter(
            "worker_results_dropped",
            "Results that nobody wanted any more: the task had moved on, or is not known.",
            (*_WORKER, "reason"),
            registry=self.registry,
        )
        self._replaced = Counter(
            "worker_executors_replaced",
            "Executing processes that ended or were killed, and were replaced.",
            _WORKER,
            registry=self.registry,
        ).labels(worker_id)
        self._duration = Histogram(
            "worker_proof_duration_seconds",
            "Time to execute one task, by circuit, or by workload type where it is no proof.",
            ("circuit_type",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._calls = Counter(
            "grpc_client_calls",
            "Calls to the coordinator, by method and status.",
            ("method", "status"),
            registry=self.registry,
        )
        self._streams = Histogram(
            "grpc_client_stream_duration_seconds",
            "Lifetime of ended streams, by method.",
            ("method",),
            buckets=(1, 10, 60, 600, 1800, 3600),
            registry=self.registry,
        )
        for reason in Reason:
            self._failed.labels(worker_id, reason)
        for dropped in _DROPPED:
            self._dropped.labels(worker_id, dropped)
        for method in pb.DESCRIPTOR.services_by_name["CoordinatorService"].methods:
            self._calls.labels(method.name, "OK")
        for stream in ("ReceiveTasks", "Session"):
            self._streams.labels(stream)

    def seed_types(self, types: Iterable[str]) -> None:
        """Show these workload types from the start."""
        for name in types:
            self._duration.labels(_circuit(name))

    def watch_tasks(
        self, active: Callable[[], int], queued: Callable[[], int], reports: Callable[[], int]
    ) -> None:
        """Read the numbers of tasks from their source whenever metrics are asked for."""
        self._active.set_function(active)
        self._queued.set_function(queued)
        self._reports.set_function(reports)

    def connected(self, connected: bool) -> None:
        """The stream of assignments opened or closed."""
        self._connected.set(connected)

    def heartbeat_answered(self) -> None:
        """The coordinator answered a heartbeat just now."""
        self._heartbeat.set(time.time())

    def executed(self, task_type: str, seconds: float) -> None:
        """A task gave a result."""
        self._duration.labels(_circuit(task_type)).observe(seconds)

    def completed(self) -> None:
        """A result was accepted."""
        self._completed.inc()

    def failed(self, reason: Reason) -> None:
        """A task failed."""
        self._failed.labels(self._worker_id, reason).inc()

    def dropped(self, reason: str) -> None:
        """A result was dropped: `fenced` or `unknown`."""
        self._dropped.labels(self._worker_id, reason).inc()

    def executor_replaced(self) -> None:
        """An executing process is gone."""
        self._replaced.inc()

    def called(self, method: str, status: str) -> None:
        """A call to the coordinator ended."""
        self._calls.labels(method, status).inc()

    def stream_ended(self, method: str, seconds: float) -> None:
        """A stream from the coordinator ended."""
        self._streams.labels(method).observe(seconds)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        gauge = Gauge(f"worker_{name}", documentation, _WORKER, registry=self.registry)
        return gauge.labels(self._worker_id)


def _circuit(task_type: str) -> str:
    return task_type.removeprefix(PROOFS)
