"""Up to when what died is forgotten, range by range."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from muster_kv.ranges import WHOLE_RING, TokenRange
from muster_storage.horizon import NOTHING_FORGOTTEN, Horizon, pack, unpack

LAST = WHOLE_RING.last
edges = st.sampled_from([0, 1, 2, 5, LAST // 2, LAST - 1, LAST])
ranges = st.tuples(edges, edges).map(lambda both: TokenRange(min(both), max(both)))
purges = st.lists(st.tuples(ranges, st.integers(-3, 9)), max_size=8)


def _after(done: list[tuple[TokenRange, int]]) -> Horizon:
    horizon = NOTHING_FORGOTTEN
    for tokens, before_us in done:
        horizon = horizon.raised(tokens, before_us)
    return horizon


@given(purges, edges)
def test_each_token_has_the_latest_moment_of_its_purges(
    done: list[tuple[TokenRange, int]], token: int
) -> None:
    latest = max((before for tokens, before in done if token in tokens), default=0)
    assert _after(done).at(token) == max(0, latest)


@given(purges, st.permutations(range(8)))
def test_the_order_of_purges_does_not_matter_and_it_is_kept_whole(
    done: list[tuple[TokenRange, int]], order: list[int]
) -> None:
    horizon = _after(done)
    assert _after([done[at] for at in order if at < len(done)]) == horizon
    assert unpack(pack(horizon)) == horizon
    # No more is kept than there are changes.
    moments = [moment for _, moment in horizon.steps]
    assert all(one != other for one, other in itertools.pairwise(moments))


def test_what_holds_for_the_whole_ring_is_the_least() -> None:
    assert unpack(None).least == 0
    half = NOTHING_FORGOTTEN.raised(TokenRange(0, 9), 5)
    assert half.least == 0
    assert half.raised(WHOLE_RING, 3).least == 3
