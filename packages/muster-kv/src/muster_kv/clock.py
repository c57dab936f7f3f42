"""Dots and version vectors: who knew what when a write was made.

Preguiça et al., "Dotted Version Vectors" (2010); Almeida et al., "Scalable and Accurate Causality
Tracking for Eventually Consistent Stores" (DAIS 2014).
"""

from collections.abc import Mapping
from enum import Enum

import msgspec

# Actor -> greatest counter. An entry (a, n) says that every write with a dot (a, m), m <= n, is
# known: it is at hand, or was replaced. Never changed in place.
VectorClock = Mapping[str, int]

EMPTY: VectorClock = {}


class Dot(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """The name of one write: the storage node's incarnation that took it, and its count there."""

    actor: str
    counter: int


class Order(Enum):
    """How one clock stands to another."""

    BEFORE = "before"
    AFTER = "after"
    EQUAL = "equal"
    CONCURRENT = "concurrent"


def covers(clock: VectorClock, dot: Dot) -> bool:
    """Tell whether `clock` knows the write named `dot`."""
    return clock.get(dot.actor, 0) >= dot.counter


def descends(clock: VectorClock, other: VectorClock) -> bool:
    """Tell whether `clock` knows all that `other` knows."""
    if clock is other:
        return True
    return all(clock.get(actor, 0) >= counter for actor, counter in other.items())


def compare(clock: VectorClock, other: VectorClock) -> Order:
    """Return how `clock` stands to `other`; an entry of 0 is the same as none."""
    after, before = descends(clock, other), descends(other, clock)
    if after and before:
        return Order.EQUAL
    if after:
        return Order.AFTER
    return Order.BEFORE if before else Order.CONCURRENT


def join(clock: VectorClock, other: VectorClock) -> VectorClock:
    """Return the least clock that knows what either knows."""
    if clock is other or not other:
        return clock
    if not clock:
        return other
    joined = dict(clock)
    for actor, counter in other.items():
        if joined.get(actor, 0) < counter:
            joined[actor] = counter
    return joined


def increment(clock: VectorClock, actor: str, *, floor: int = 0) -> Dot:
    """Return the next dot of `actor`.

    Its counter is above the clock's and above `floor`, the greatest counter that the actor may have
    used in records that it has forgotten. Gaps are harmless, a counter used twice is not.
    """
    return Dot(actor, max(clock.get(actor, 0), floor) + 1)


def increment_from(clock: VectorClock, actor: str, *, floor: int = 0) -> VectorClock:
    """Return `clock` with the next dot of `actor` in it."""
    return with_dot(clock, increment(clock, actor, floor=floor))


def with_dot(clock: VectorClock, dot: Dot) -> VectorClock:
    """Return `clock` with `dot` known."""
    return clock if covers(clock, dot) else {**clock, dot.actor: dot.counter}
