"""From what was measured to figures."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.figures import Figure
from bench.kv.load import Sample

WRITES_PER_SECOND = 10_000.0
"""What is promised of durable writes by a quorum, on two cores in all."""

WRITE_P95_MS = 50.0
READ_P95_MS = 30.0
"""What is promised of reads, while so many come that are promised of writes."""

CACHE_HITS = 0.9
"""What is promised of look-ups of tenants."""

Samples = Mapping[str, Sequence[Sample]]
"""By contender, one for each round."""


def comparison(writes: Samples, reads: Samples, paced: Samples) -> list[Figure]:
    """Muster beside each of the others; medians over the rounds.

    Args:
        writes, reads: as many as go.
        paced: reads at a given rate.
    """
    figures = []
    for other in ("etcd", "cassandra"):
        if other not in writes:
            continue
        both = ("muster", other)
        name = f"{other}3"

        def pair(samples: Samples, what: str, both: tuple[str, str] = both) -> tuple[float, float]:
            ours, anchor = (
                statistics.median(getattr(one, what) for one in samples[each]) for each in both
            )
            return ours, anchor

        below_etcd = 1.0 if other == "etcd" else None
        figures += [
            Figure(
                f"quorum_writes_vs_{name}", "1/s", *pair(writes, "rate"), name,
                floor=WRITES_PER_SECOND,
            ),
            Figure(
                f"cpu_per_write_vs_{name}", "us", *pair(writes, "server_cpu"), name,
                limit=below_etcd,
            ),
            Figure(
                f"write_p95_ms_vs_{name}", "ms", *pair(writes, "p95"), name, most=WRITE_P95_MS
            ),
            Figure(f"quorum_reads_vs_{name}", "1/s", *pair(reads, "rate"), name),
            Figure(f"cpu_per_read_vs_{name}", "us", *pair(reads, "server_cpu"), name),
            Figure(
                f"paced_read_p95_ms_vs_{name}", "ms", *pair(paced, "p95"), name, most=READ_P95_MS
            ),
        ]  # fmt: skip
    return figures


def price(name: str, with_it: Sample, plain: Sample) -> Figure:
    """CPU of a write with a guarantee, or without, beside that of a write as it is by default."""
    metric = f"cpu_per_write_{name.replace(' ', '_').lower()}"
    return Figure(metric, "us", with_it.server_cpu, plain.server_cpu, "as by default")


def cache(lookups: float, hits: float) -> Figure:
    """The part of look-ups of tenants that the cache answered, beside what is promised."""
    return Figure("cache_hit_ratio", "", hits / lookups, CACHE_HITS, "the promise", least=1.0)


def as_json(sample: Sample) -> dict[str, Any]:
    """All of a sample, in units that one can read."""
    return {
        "per_second": round(sample.rate),
        "p50_ms": round(sample.p50, 2),
        "p95_ms": round(sample.p95, 2),
        "p99_ms": round(sample.p99, 2),
        "server_cpu_us": round(sample.server_cpu, 1),
        "client_cpu_us": round(sample.client_cpu, 1),
        "operations": sample.operations,
        "failures": sample.failures,
        "load_average": round(sample.load_average, 1),
        "others_cores": round(sample.others_cores, 2),
    }
