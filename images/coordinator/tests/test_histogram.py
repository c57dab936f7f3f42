"""A histogram that takes many values at once counts as the library's own does."""

import prometheus_client
import pytest

from muster_coordinator.ops.histogram import Histogram

BOUNDS = (0.005, 0.5, 1, 30)
VALUES = (0.0, 0.005, 0.0051, 0.5, 1, 1.5, 30, 31, 1000)


def _series(registry: prometheus_client.CollectorRegistry) -> list[str]:
    text = prometheus_client.generate_latest(registry).decode()
    return [line for line in text.splitlines() if "_created" not in line]


@pytest.mark.parametrize("values", [VALUES, ()])
def test_it_says_what_the_librarys_own_says(values: tuple[float, ...]) -> None:
    ours, theirs = (prometheus_client.CollectorRegistry() for _ in range(2))
    made = Histogram("seconds", "How long.", ("pool", "kind"), BOUNDS, ours)
    other = prometheus_client.Histogram(
        "seconds", "How long.", ("pool", "kind"), buckets=BOUNDS, registry=theirs
    )
    made.observe(values, "a", "b")
    made.observe((), "c", "d")
    for value in values:
        other.labels("a", "b").observe(value)
    other.labels("a", "b")
    other.labels("c", "d")
    assert _series(ours) == _series(theirs)


def test_one_without_labels_is_one_series() -> None:
    registry = prometheus_client.CollectorRegistry()
    made = Histogram("seconds", "How long.", (), BOUNDS, registry)
    made.observe((2.0, 0.1))
    assert registry.get_sample_value("seconds_bucket", {"le": "0.5"}) == 1
    assert registry.get_sample_value("seconds_count") == 2
