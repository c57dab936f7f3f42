"""Calls and how long they took: those that are counted here, and those that a front counts."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from muster_runtime.histograms import add_series

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Upper ends, seconds."""

Tally = tuple[str, Sequence[int], float]
"""Of a method: calls that went well by the buckets they fall into, the last without an end; and the
seconds of all."""


class CallMetrics(Collector):
    """Counts of calls and of the tenants that they name, by the names of the contract."""

    def __init__(self, methods: Iterable[str], codes: Sequence[str]) -> None:
        self._counts = {(method, code): 0 for method in methods for code in codes}
        self._times = {method: [0] * (len(BUCKETS) + 1) for method, _ in self._counts}
        self._seconds = dict.fromkeys(self._times, 0.0)
        self._hits = 0
        self._plain: Callable[[], Iterable[Tally]] = tuple

    def count_plain(self, tallies: Callable[[], Iterable[Tally]]) -> None:
        """Count those calls too that a front answers by itself; each names a tenant it knows."""
        self._plain = tallies

    def ended(self, method: str, code: str, seconds: float) -> None:
        """A call ended with a code of the contract, or `OK`."""
        self._counts[method, code] += 1
        self._times[method][bisect_left(BUCKETS, seconds)] += 1
        self._seconds[method] += seconds

    def hit(self) -> None:
        """A tenant was in the cache."""
        self._hits += 1

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        counts, seconds, hits = dict(self._counts), dict(self._seconds), self._hits
        times = {method: list(found) for method, found in self._times.items()}
        for method, found, took in self._plain():
            counts[method, "OK"] += sum(found)
            times[method] = [ours + plain for ours, plain in zip(times[method], found, strict=True)]
            seconds[method] += took
            hits += sum(found)
        requests = CounterMetricFamily(
            "coordinator_requests",
            "Requests by method and code: OK, or that of the error.",
            labels=("method", "code"),
        )
        for labels, count in counts.items():
            requests.add_metric(labels, count)
        yield requests
        duration = HistogramMetricFamily(
            "coordinator_request_duration_seconds",
            "From a request's arrival to its answer.",
            labels=("method",),
        )
        series = (((method,), found, seconds[method]) for method, found in times.items())
        yield add_series(duration, BUCKETS, series)
        yield CounterMetricFamily(
            "coordinator_cache_hits", "Tenants found in the cache.", value=hits
        )
