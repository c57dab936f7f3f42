"""Histograms whose counts were kept elsewhere, as Prometheus reads them."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily


def add_series(
    family: HistogramMetricFamily,
    bounds: Sequence[float],
    series: Iterable[tuple[Sequence[str], Sequence[int], float]],
) -> HistogramMetricFamily:
    """The family, with series of label values, counts and the sum of what was counted.

    Args:
        bounds: upper bounds of the buckets, rising; the counts are those of each bucket alone, and
            one more for what is above all of them.
    """
    ends = [*(str(float(bound)) for bound in bounds), "+Inf"]
    for labels, counts, total in series:
        family.add_metric(labels, list(zip(ends, accumulate(counts), strict=True)), total)
    return family
