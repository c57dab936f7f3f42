"""Token buckets as the core sees them; that they fill evenly is shown where they are."""

from collections.abc import Iterator

import pytest

from muster_front import Nodes
from muster_kv_coordinator.core.ratelimit import NO_LIMIT
from muster_kv_coordinator.nodes.rates import SharedBuckets


@pytest.fixture
def buckets() -> Iterator[SharedBuckets]:
    """The buckets of a front that nobody calls."""
    nodes = Nodes(node_id="c", cluster="muster", token=b"", hedge_seconds=1.0, buckets=())
    yield SharedBuckets(nodes.plain)
    nodes.stop()


def _taken(
    buckets: SharedBuckets, tenant: str = "t", *, write: bool = True, tokens: int = 1
) -> bool:
    taken = buckets.take(tenant, write=write, per_minute=1000, tokens=tokens)
    return taken.retry_after is None


def test_tenants_and_kinds_do_not_slow_each_other(buckets: SharedBuckets) -> None:
    assert _taken(buckets, tokens=1000)
    assert not _taken(buckets, tokens=1000)
    assert _taken(buckets, write=False, tokens=1000)
    assert _taken(buckets, "u", tokens=1000)


def test_what_is_left_and_when_there_is_more(buckets: SharedBuckets) -> None:
    first = buckets.take("t", write=True, per_minute=2)
    assert (first.limit, first.remaining, first.reset, first.retry_after) == (2, 1, 30, None)
    # Of a batch that there is no room for, none is counted.
    refused = buckets.take("t", write=True, per_minute=2, tokens=3)
    assert refused.remaining == 1
    assert refused.retry_after is not None
    assert 0 < refused.retry_after <= 60
    assert buckets.take("t", write=True, per_minute=2).retry_after is None


def test_no_limit(buckets: SharedBuckets) -> None:
    assert buckets.take("t", write=True, per_minute=-1, tokens=10**9) is NO_LIMIT
