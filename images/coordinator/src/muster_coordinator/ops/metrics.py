"""Prometheus metrics. Counters exist at 0 from the start, so that a rate never misses the first."""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import prometheus_client
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)

from muster_coordinator.engine.model import Moved, QueueDepth, Requirement, Worker
from muster_coordinator.engine.states import State, WorkerStatus
from muster_coordinator.ops.histogram import Histogram
from muster_coordinator.proving.offers import PREFIX, Offers
from muster_protos import coordinator_pb2, workload_pb2

_TASK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_FAST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_WORK = ("pool", "circuit")

# Most of what moves at once is of one kind: parts of it, one after the other, are few.
_NEED = attrgetter("requirement")
_END = attrgetter("requirement", "after")

_METHODS = ("GET", "POST", "PUT", "DELETE", "other")
_STATUSES = (200, 201, 202, 204, 400, 401, 403, 404, 405, 409, 413, 429, 500, 503)


class Metrics:
    """All metrics of a coordinator, in a registry of their own."""

    def __init__(self, offers: Offers) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._make_fleet()
        self._make_tasks()
        self._make_calls()
        self._depths: set[tuple[str, str]] = set()
        self._seed(offers)

    def _make_fleet(self) -> None:
        registry = self.registry
        self._workers = {
            name: Gauge(f"coordinator_workers_{name}", text, registry=registry)
            for name, text in (
                ("total", "Known workers."),
                ("active", "Workers that live."),
                ("suspect", "Workers that are silent, or too slow."),
                ("dead", "Workers that have been silent for long."),
                ("draining", "Workers that take nothing new."),
                ("quarantined", "Workers that reported a wrong proof."),
            )
        }
        self._capacity = {
            name: Gauge(f"coordinator_capacity_{name}", text, registry=registry)
            for name, text in (
                ("total", "Tasks that the living workers can work on at once."),
                ("used", "Tasks that they hold, up to their capacity."),
                ("available", "Tasks that they have room for."),
            )
        }
        self._leader = Gauge(
            "coordinator_is_leader", "1 where this replica leads.", registry=registry
        )
        self._quarantines = Counter(
            "coordinator_quarantines_total", "Wrong proofs reported.", registry=registry
        )
        self._retired = Counter(
            "coordinator_tasks_deleted_total",
            "Finished tasks deleted, as they were kept long enough.",
            registry=registry,
        )

    def _make_tasks(self) -> None:
        registry = self.registry
        self._queue = Gauge(
            "coordinator_queue_tasks",
            "Tasks that wait for a worker (pending), for its start (assigned), or run.",
            (*_WORK, "state"),
            registry=registry,
        )
        self._oldest = Gauge(
            "coordinator_queue_oldest_pending_seconds",
            "Age of the task that has waited longest.",
            _WORK,
            registry=registry,
        )
        self._assigned = Counter(
            "coordinator_tasks_assigned_total",
            "Tasks given to workers, each time they were.",
            _WORK,
            registry=registry,
        )
        self._completed = Counter(
            "coordinator_tasks_completed_total",
            "Tasks with an accepted result.",
            _WORK,
            registry=registry,
        )
        self._failed = Counter(
            "coordinator_tasks_failed_total", "Tasks given up.", _WORK, registry=registry
        )
        self._returned = Counter(
            "coordinator_tasks_returned_total",
            "Tasks that went back into the queue: retried, handed back, or their worker lost.",
            _WORK,
            registry=registry,
        )
        self._ends = {State.COMPLETED: self._completed, State.FAILED: self._failed}
        self._duration = Histogram(
            "coordinator_task_duration_seconds",
            "From submission to an accepted result.",
            _WORK,
            _TASK_BUCKETS,
            registry,
        )
        self._work = Histogram(
            "coordinator_task_work_seconds",
            "What a worker took for an accepted result.",
            _WORK,
            _TASK_BUCKETS,
            registry,
        )
        self._latency = Histogram(
            "coordinator_assignment_latency_seconds",
            "From submission to assignment.",
            (),
            _FAST_BUCKETS,
            registry,
        )
        self._polls = Counter(
            "coordinator_scheduler_polls_total", "Rounds of scheduling.", registry=registry
        )
        self._assigning_failures = Counter(
            "coordinator_assignments_failed_total",
            "Rounds of scheduling that could not be stored.",
            registry=registry,
        )
        self._notes = Counter(
            "coordinator_notes_total",
            "What workers told on the way: progress, checkpoints, lines of logs.",
            ("kind",),
            registry=registry,
        )
        self._fenced = Counter(
            "coordinator_fenced_writes_total",
            "Writes refused: of an old generation, or of a leader's old epoch.",
            ("kind",),
            registry=registry,
        )

    def _make_calls(self) -> None:
        labels = ("grpc_service", "grpc_method", "grpc_type")
        self._handled = Counter(
            "grpc_server_handled_total",
            "Calls ended, by status code.",
            (*labels, "grpc_code"),
            registry=self.registry,
        )
        self._handling = prometheus_client.Histogram(
            "grpc_server_handling_seconds",
            "How long unary calls took.",
            labels,
            buckets=_FAST_BUCKETS,
            registry=self.registry,
        )
        self._requests = Counter(
            "coordinator_http_requests_total",
            "HTTP requests answered, by status.",
            ("method", "status"),
            registry=self.registry,
        )
        self._request_seconds = prometheus_client.Histogram(
            "coordinator_http_request_seconds",
            "How long HTTP requests took, long polls included.",
            ("method",),
            buckets=_FAST_BUCKETS,
            registry=self.registry,
        )

    def _seed(self, offers: Offers) -> None:
        self._seed_work(offers)
        for kind in ("progress", "checkpoint", "log"):
            self._notes.labels(kind)
        for kind in ("generation", "epoch"):
            self._fenced.labels(kind)
        self._latency.observe(())
        self._seed_calls()
        self.sampled([], [], leading=False)

    def _seed_work(self, offers: Offers) -> None:
        for pool in offers.pools.values():
            for spec in pool.circuits:
                work = (pool.name, spec.name)
                self._depths.add(work)
                for metric in (self._assigned, self._completed, self._failed, self._returned):
                    metric.labels(*work)
                for histogram in (self._duration, self._work):
                    histogram.observe((), *work)

    def _seed_calls(self) -> None:
        for service, method, kind in _methods():
            self._handled.labels(service, method, kind, "OK")
            if kind == "unary":
                self._handling.labels(service, method, kind)
        for verb in _METHODS:
            self._request_seconds.labels(verb)
            for status in _STATUSES:
                self._requests.labels(verb, str(status))

    def assigned(self, moved: Sequence[Moved]) -> None:
        """See `Meter.assigned`."""
        for need, part in groupby(moved, _NEED):
            waited = [(one.at - one.created_at).total_seconds() for one in part]
            self._assigned.labels(*_work(need)).inc(len(waited))
            self._latency.observe(waited)

    def assigning_failed(self) -> None:
        """See `Meter.assigning_failed`."""
        self._assigning_failures.inc()

    def polled(self) -> None:
        """See `Meter.polled`."""
        self._polls.inc()

    def ended(self, moved: Sequence[Moved]) -> None:
        """See `Meter.ended`."""
        for (need, after), found in groupby(moved, _END):
            part = list(found)
            work = _work(need)
            self._ends.get(after, self._returned).labels(*work).inc(len(part))
            if after is State.COMPLETED:
                taken = [(one.at - one.created_at).total_seconds() for one in part]
                self._duration.observe(taken, *work)
                self._work.observe([one.duration_ms / 1000 for one in part], *work)

    def noted(self, kind: str, count: int) -> None:
        """See `Meter.noted`."""
        self._notes.labels(kind).inc(count)

    def fenced(self, kind: str) -> None:
        """See `Meter.fenced`."""
        self._fenced.labels(kind).inc()

    def quarantined(self, _worker_id: str) -> None:
        """See `Meter.quarantined`."""
        self._quarantines.inc()

    def retired(self, count: int) -> None:
        """See `Meter.retired`."""
        self._retired.inc(count)

    def handled(self, method: str, kind: str, code: str, seconds: float) -> None:
        """See `CallMeter.handled`."""
        service, _, name = method.lstrip("/").partition("/")
        self._handled.labels(service, name, kind, code).inc()
        if kind == "unary":
            self._handling.labels(service, name, kind).observe(seconds)

    def requested(self, method: str, status: int, seconds: float) -> None:
        """An HTTP request was answered."""
        # A client may make up any number of methods.
        method = method if method in _METHODS else "other"
        self._requests.labels(method, str(status)).inc()
        self._request_seconds.labels(method).observe(seconds)

    def sampled(
        self, workers: Collection[Worker], depths: Collection[QueueDepth], *, leading: bool
    ) -> None:
        """The fleet and the queue as they are now."""
        self._leader.set(leading)
        self._workers["total"].set(len(workers))
        for status in WorkerStatus:
            count = sum(worker.status is status for worker in workers)
            self._workers[status.lower()].set(count)
        for name, value in capacity(workers).items():
            self._capacity[name].set(value)
        self._sample_queue(depths)

    def _sample_queue(self, depths: Collection[QueueDepth]) -> None:
        now: dict[tuple[str, str], list[float]] = {}
        for depth in depths:
            work = (depth.pool, depth.type.removeprefix(PREFIX))
            sums = now.setdefault(work, [0, 0, 0, 0.0])
            sums[0] += depth.pending
            sums[1] += depth.assigned
            sums[2] += depth.in_progress
            sums[3] = max(sums[3], depth.oldest_pending_seconds)
        self._depths.update(now)
        for work in self._depths:
            pending, assigned, in_progress, oldest = now.get(work, [0, 0, 0, 0.0])
            self._queue.labels(*work, "pending").set(pending)
            self._queue.labels(*work, "assigned").set(assigned)
            self._queue.labels(*work, "in_progress").set(in_progress)
            self._oldest.labels(*work).set(oldest)

    def scheduler(self) -> dict[str, int]:
        """The scheduler's part of `/health`."""
        return {
            "tasks_assigned": int(_sum(self._assigned)),
            "assignments_failed": int(_sum(self._assigning_failures)),
            "poll_cycles": int(_sum(self._polls)),
        }


def capacity(workers: Collection[Worker]) -> dict[str, int]:
    """Total, used and available places of the living workers."""
    living = [worker for worker in workers if worker.status is WorkerStatus.ACTIVE]
    total = sum(worker.capacity for worker in living)
    used = sum(min(worker.load, worker.capacity) for worker in living)
    return {"total": total, "used": used, "available": total - used}


def _work(need: Requirement) -> tuple[str, str]:
    return need.pool, need.type.removeprefix(PREFIX)


def _sum(counter: Counter) -> float:
    return sum(
        sample.value
        for metric in counter.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def _methods() -> Iterator[tuple[str, str, str]]:
    """Service, method and kind of all that is served over gRPC."""
    for file in (coordinator_pb2, workload_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                streams = "bidi_stream" if method.client_streaming else "server_stream"
                kind = streams if method.server_streaming else "unary"
                yield service.full_name, method.name, kind
