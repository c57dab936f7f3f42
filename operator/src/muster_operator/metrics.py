"""What the operator counts; every series is there from the start, at 0."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from muster_operator.reconcile.reconciler import RESULTS
from muster_operator.resources import CUSTOM, Key

FAILED = "failed"
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Condition(NamedTuple):
    """A condition of a custom object, without its message."""

    type: str
    status: str
    reason: str


class _Conditions(Collector):
    """A series for each condition; they are looked up when asked for, so that none outlives it."""

    def __init__(self, read: Callable[[], Iterable[tuple[Key, Condition]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        # Not `namespace`: that is where the operator itself runs, for who scrapes it.
        names = ["kind", "object_namespace", "object_name", "condition", "status", "reason"]
        family = GaugeMetricFamily(
            "muster_operator_object_condition",
            "1 for each condition in the status of a custom object.",
            labels=names,
        )
        for key, condition in self._read():
            family.add_metric([*key, *condition], 1)
        yield family


class OperatorMetrics:
    """The operator's series, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "muster_operator_reconcile",
            "Reconcilings, by kind and by how they ended.",
            ["kind", "result"],
            registry=self.registry,
        )
        self.durations = Histogram(
            "muster_operator_reconcile_duration_seconds",
            "Time that one reconciling took.",
            ["kind"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.depth = Gauge(
            "muster_operator_queue_depth",
            "Objects that wait to be reconciled.",
            registry=self.registry,
        )
        self.objects = Gauge(
            "muster_operator_objects",
            "Custom objects that are known.",
            ["kind"],
            registry=self.registry,
        )
        self.leading = Gauge(
            "muster_operator_leading", "1 while this replica leads.", registry=self.registry
        )
        self.polls = Counter(
            "muster_operator_coordinator_polls",
            "Questions to coordinators about their queues, by how they ended.",
            ["result"],
            registry=self.registry,
        )
        self.metric_requests = Counter(
            "muster_operator_metrics_api_requests",
            "Requests to the external metrics API, by status code.",
            ["code"],
            registry=self.registry,
        )
        self._seed()

    def _seed(self) -> None:
        for resource in CUSTOM:
            self.durations.labels(resource.kind)
            self.objects.labels(resource.kind)
            for result in (*RESULTS, FAILED):
                self.reconciles.labels(resource.kind, result)
        for result in ("ok", FAILED):
            self.polls.labels(result)
        for code in ("200", "401", "403", "404", "503"):
            self.metric_requests.labels(code)

    def watch_depth(self, depth: Callable[[], float]) -> None:
        """Ask `depth` for the number of waiting objects whenever it is read."""
        self.depth.set_function(depth)

    def watch_conditions(self, conditions: Callable[[], Iterable[tuple[Key, Condition]]]) -> None:
        """Ask `conditions` for those of all custom objects whenever they are read."""
        self.registry.register(_Conditions(conditions))
