"""How replicas' records join, and how a replica takes a write.

`merge` is the join of a semilattice: commutative, associative, idempotent. A version lives on in a
join if both sides have it, or if one has it and the other's context does not cover its dot; and if
its operation is not dead. An operation is dead when any version of it was replaced. That is for one
that two replicas took (the first did not answer in time): a writer that saw one of the two copies
replaced the operation, not only that copy.

The rules are in `native/records/src/merging.rs`, where whole batches are done by them; here they
are called for single records.
"""

from enum import Enum

import msgspec

import muster_records
from muster_kv.clock import Dot, VectorClock
from muster_kv.record import Applied, Record, Version, pack, unpack
from muster_records import DEAD_LIMIT, LWW, OverclaimError

__all__ = [
    "DEAD_LIMIT",
    "LWW",
    "Intent",
    "Outcome",
    "OverclaimError",
    "Taken",
    "clock_of",
    "knows",
    "lww_record",
    "merge",
    "take",
]


class Intent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A write as its taker gets it.

    `value` None deletes. `context` is what the writer has seen and replaces; None is blind:
    whatever the taker has at that moment. `digest` is empty where the client gave no idempotency
    key; `remember_until_us` is 0 unless the op must be remembered: it has an idempotency key, or
    another replica may have taken it before.
    """

    op: bytes
    value: bytes | None
    timestamp_us: int
    context: VectorClock | None = None
    expires_at_us: int = 0
    digest: bytes = b""
    remember_until_us: int = 0


class Outcome(Enum):
    """What became of an intent, or what is known of an operation."""

    NEW = 0  # taken now; or: never seen here
    DUPLICATE = 1  # happened before, nothing changed
    CONFLICT = 2  # the same idempotency key came with another value before


class Taken(msgspec.Struct, frozen=True, gc=False):
    """The record after a take, and the clock to tell the writer."""

    record: Record
    outcome: Outcome
    clock: VectorClock


_encode = msgspec.msgpack.Encoder().encode
_decode_clock = msgspec.msgpack.Decoder(dict[str, int]).decode


def take(record: Record, intent: Intent, actor: str, *, floor: int = 0) -> Taken:
    """Apply a write at the replica `actor`, which makes its dot.

    `floor` is the greatest counter that the replica may have used in records it has forgotten.
    The write is stamped later than all that it replaces. Raises OverclaimError where the writer's
    context names dots of `actor` that are yet to come.
    """
    after, outcome, clock = muster_records.take(pack(record), _encode(intent), actor, floor)
    changed = record if after is None else unpack(after)
    return Taken(changed, Outcome(outcome), _decode_clock(clock))


def merge(ours: Record, theirs: Record) -> Record:
    """Return the least record that knows what either knows."""
    one, other = pack(ours), pack(theirs)
    found = muster_records.merge(one, other)
    if found is one:
        return ours
    return theirs if found is other else unpack(found)


def knows(record: Record, intent: Intent) -> Outcome:
    """Tell whether the intent's operation has happened here.

    With an idempotency key until its entry expires, by the intent's timestamp, so that all replicas
    judge alike.
    """
    return Outcome(muster_records.knows(pack(record), _encode(intent)))


def lww_record(intent: Intent) -> Record:
    """Return what every replica merges where the last write wins.

    The timestamp is the counter of one actor that all writers share, so the later write covers the
    earlier; of two in the same microsecond the greater op stays.
    """
    dot = Dot(LWW, intent.timestamp_us)
    version = Version(dot, intent.value, intent.timestamp_us, intent.op, intent.expires_at_us)
    clock = {LWW: intent.timestamp_us}
    applied: tuple[Applied, ...] = ()
    if intent.remember_until_us:
        applied = (Applied(intent.op, intent.digest, dot, clock, intent.remember_until_us),)
    return Record((version,), clock, applied)


def clock_of(record: Record, op: bytes) -> VectorClock:
    """Return the clock that the writer of `op` was told, or the most that it may be told now.

    Where siblings stay that the writer has not seen, its next write must not cover them; a clock
    can't name a dot without all below it, so the writer's own is left out where a sibling lies
    below.
    """
    return _decode_clock(muster_records.clock_of(pack(record), op))
