"""Dots and version vectors: who knew what when a write was made.

Preguiça et al., "Dotted Version Vectors" (2010); Almeida et al., "Scalable and Accurate Causality
Tracking for Eventually Consistent Stores" (DAIS 2014). The rules are those of `muster_records`.
"""

from collections.abc import Mapping
from enum import Enum

import msgspec

import muster_records

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


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, int]).decode
_ORDERS = {-1: Order.BEFORE, 0: Order.EQUAL, 1: Order.AFTER, None: Order.CONCURRENT}


def covers(clock: VectorClock, dot: Dot) -> bool:
    """Tell whether `clock` knows the write named `dot`."""
    return clock.get(dot.actor, 0) >= dot.counter


def compare(clock: VectorClock, other: VectorClock) -> Order:
    """Return how `clock` stands to `other`; an entry of 0 is the same as none."""
    return _ORDERS[muster_records.compare(_encode(clock), _encode(other))]


def descends(clock: VectorClock, other: VectorClock) -> bool:
    """Tell whether `clock` knows all that `other` knows."""
    return compare(clock, other) in {Order.AFTER, Order.EQUAL}


def join(clock: VectorClock, other: VectorClock) -> VectorClock:
    """Return the least clock that knows what either knows."""
    return _decode(muster_records.join(_encode(clock), _encode(other)))


def increment(clock: VectorClock, actor: str, *, floor: int = 0) -> Dot:
    """Return the next dot of `actor`.

    Its counter is above the clock's and above `floor`, the greatest counter that the actor may have
    used in records that it has forgotten. Gaps are harmless, a counter used twice is not.
    """
    return Dot(actor, muster_records.increment(_encode(clock), actor, floor))


def increment_from(clock: VectorClock, actor: str, *, floor: int = 0) -> VectorClock:
    """Return `clock` with the next dot of `actor` in it."""
    return with_dot(clock, increment(clock, actor, floor=floor))


def with_dot(clock: VectorClock, dot: Dot) -> VectorClock:
    """Return `clock` with `dot` known."""
    return join(clock, {dot.actor: dot.counter})
