"""Token buckets."""

from muster_kv_coordinator.core.ratelimit import NO_LIMIT, Buckets


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _taken(buckets: Buckets, tenant: str = "t", *, write: bool = True, tokens: int = 1) -> bool:
    taken = buckets.take(tenant, write=write, per_minute=60, tokens=tokens)
    return taken.retry_after is None


def test_a_minute_s_worth_at_once_and_then_one_by_one() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    assert all(_taken(buckets) for _ in range(60))
    assert not _taken(buckets)
    clock.now += 1.0
    assert _taken(buckets)
    assert not _taken(buckets)


def test_tenants_and_kinds_do_not_slow_each_other() -> None:
    buckets = Buckets(Clock())
    assert _taken(buckets, tokens=60)
    assert not _taken(buckets)
    assert _taken(buckets, write=False)
    assert _taken(buckets, "u")


def test_a_batch_is_let_in_whole_or_not_at_all() -> None:
    buckets = Buckets(Clock())
    assert _taken(buckets, tokens=50)
    refused = buckets.take("t", write=True, per_minute=60, tokens=20)
    assert (refused.retry_after, refused.remaining) == (10.0, 10)
    assert _taken(buckets, tokens=10)


def test_what_is_left_and_when_it_is_full_again() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    first = buckets.take("t", write=True, per_minute=60)
    assert (first.limit, first.remaining, first.reset) == (60, 59, 1)
    clock.now += 0.5
    second = buckets.take("t", write=True, per_minute=60)
    assert (second.remaining, second.reset) == (58, 2)


def test_no_limit() -> None:
    buckets = Buckets(Clock())
    assert buckets.take("t", write=True, per_minute=-1, tokens=10**9) is NO_LIMIT
    assert len(buckets) == 0


def test_full_buckets_are_forgotten() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    for n in range(100):
        _taken(buckets, f"t{n}")
    assert len(buckets) == 100
    clock.now += 61
    _taken(buckets, "u")
    assert len(buckets) == 1


def test_another_rate_counts_at_once() -> None:
    buckets = Buckets(Clock())
    assert buckets.take("t", write=True, per_minute=1000).remaining == 999
    assert buckets.take("t", write=True, per_minute=10).remaining == 8
