"""Clocks compare and join as a partial order with joins must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_kv.clock import (
    Dot,
    Order,
    VectorClock,
    compare,
    covers,
    descends,
    increment,
    increment_from,
    join,
    with_dot,
)

clocks = st.dictionaries(st.sampled_from("abc"), st.integers(0, 4), max_size=3)
_OPPOSITE = {
    Order.BEFORE: Order.AFTER,
    Order.AFTER: Order.BEFORE,
    Order.EQUAL: Order.EQUAL,
    Order.CONCURRENT: Order.CONCURRENT,
}


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        ({"c1": 1}, {"c1": 2}, Order.BEFORE),
        ({"c1": 3}, {"c1": 2}, Order.AFTER),
        ({"c1": 6}, {"c1": 5, "c2": 1}, Order.CONCURRENT),
        ({"c1": 5, "c2": 1}, {"c2": 1, "c1": 5}, Order.EQUAL),
        ({}, {"c1": 1}, Order.BEFORE),
        ({"c1": 0}, {}, Order.EQUAL),
    ],
)
def test_comparison(one: VectorClock, other: VectorClock, order: Order) -> None:
    assert compare(one, other) is order


@given(clocks, clocks)
def test_comparison_is_the_other_way_round_from_the_other_side(
    one: VectorClock, other: VectorClock
) -> None:
    assert compare(other, one) is _OPPOSITE[compare(one, other)]


@given(clocks, clocks, clocks)
def test_join_is_the_least_clock_above_both(
    one: VectorClock, other: VectorClock, third: VectorClock
) -> None:
    joined = join(one, other)
    assert descends(joined, one)
    assert descends(joined, other)
    assert compare(joined, join(other, one)) is Order.EQUAL
    if descends(third, one) and descends(third, other):
        assert descends(third, joined)
    assert compare(join(joined, third), join(join(third, other), one)) is Order.EQUAL


@given(clocks, st.sampled_from("abc"), st.integers(0, 6))
def test_the_next_dot_is_new_to_the_clock_and_above_the_floor(
    clock: VectorClock, actor: str, floor: int
) -> None:
    dot = increment(clock, actor, floor=floor)
    assert not covers(clock, dot)
    assert dot.counter > floor
    after = increment_from(clock, actor, floor=floor)
    assert compare(after, clock) is Order.AFTER
    assert after == with_dot(clock, dot)


def test_a_clock_is_never_changed_in_place() -> None:
    clock = {"a": 1}
    with_dot(clock, Dot("a", 2))
    join(clock, {"b": 1})
    assert clock == {"a": 1}
