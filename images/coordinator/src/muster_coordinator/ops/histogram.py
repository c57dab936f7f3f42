"""A histogram that takes many values at once, which one by one cost more than what they measure."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

from muster_runtime.histograms import add_series


class Histogram(Collector):
    """Counts values of one kind by buckets.

    Args:
        labels: names of the labels, whose values each observation is for.
        bounds: upper bounds of the buckets, rising; what is above all of them counts as well.
    """

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._bounds = tuple(bounds)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def observe(self, values: Sequence[float], *labels: str) -> None:
        """Count values in; none of them makes the series exist."""
        counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
        for value in values:
            counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + sum(values)

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The name, for the registry."""
        yield HistogramMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """All series as they are now."""
        series = ((labels, counts, self._sums[labels]) for labels, counts in self._counts.items())
        (family,) = self.describe()
        yield add_series(family, self._bounds, series)
