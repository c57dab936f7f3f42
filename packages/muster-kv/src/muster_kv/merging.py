"""How replicas' records join, and how a replica takes a write.

`merge` is the join of a semilattice: commutative, associative, idempotent. A version lives on in a
join if both sides have it, or if one has it and the other's context does not cover its dot; and if
its operation is not dead. An operation is dead when any version of it was replaced. That is for one
that two replicas took (the first did not answer in time): a writer that saw one of the two copies
replaced the operation, not only that copy.
"""

from enum import Enum

import msgspec

from muster_kv.clock import Dot, VectorClock, covers, descends, increment, join, with_dot
from muster_kv.memory import LWW, Memory, death_of_op, memory_includes, memory_of
from muster_kv.record import ABSENT, Applied, Record, Version


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


class OverclaimError(ValueError):
    """A writer's context names writes of this replica that it has never made."""


def take(record: Record, intent: Intent, actor: str, *, floor: int = 0) -> Taken:
    """Apply a write at the replica `actor`, which makes its dot.

    `floor` is the greatest counter that the replica may have used in records it has forgotten.
    The write is stamped later than all that it replaces. Raises OverclaimError where the writer's
    context names dots of `actor` that are yet to come.
    """
    known = knows(record, intent)
    if known is not Outcome.NEW:
        return Taken(record, known, clock_of(record, intent.op))
    context = record.context if intent.context is None else intent.context
    if context.get(actor, 0) > max(record.context.get(actor, 0), floor):
        raise OverclaimError(
            f"context: {actor} has counter {context[actor]}; allowed: at most "
            f"{max(record.context.get(actor, 0), floor)}, the last one made"
        )
    replaced: list[Version] = []
    kept: list[Version] = []
    stamp = intent.timestamp_us
    for version in record.versions:
        if covers(context, version.dot):
            replaced.append(version)
            stamp = max(stamp, version.timestamp_us + 1)
        else:
            kept.append(version)
    dot = increment(record.context, actor, floor=floor)
    version = Version(dot, intent.value, stamp, intent.op, intent.expires_at_us)
    versions = (*kept, version)
    clock = with_dot(join(record.context, context), dot)
    told = written_clock(versions, dot, clock, context)
    memory = memory_of(record)
    if intent.remember_until_us:
        entry = Applied(intent.op, intent.digest, dot, told, intent.remember_until_us)
        memory = memory.remember(entry)
    memory = memory.bury(replaced, version.timestamp_us)
    return Taken(_settle(list(versions), memory, clock), Outcome.NEW, told)


def merge(ours: Record, theirs: Record) -> Record:
    """Return the least record that knows what either knows."""
    if ours is theirs or theirs == ABSENT:
        return ours
    if ours == ABSENT:
        return theirs
    if _includes(theirs, ours):
        return theirs
    if _includes(ours, theirs):
        return ours
    versions = _join_versions(ours, theirs)
    alive = {version.dot for version in versions}
    memory = memory_of(ours).join(memory_of(theirs))
    # The other side may know its dot only from a writer that had seen it elsewhere.
    memory = memory.bury(
        version for side in (ours, theirs) for version in side.versions if version.dot not in alive
    )
    return _settle(versions, memory, join(ours.context, theirs.context))


def knows(record: Record, intent: Intent) -> Outcome:
    """Tell whether the intent's operation has happened here.

    With an idempotency key until its entry expires, by the intent's timestamp, so that all replicas
    judge alike.
    """
    conflict = False
    for entry in record.applied:
        if entry.op == intent.op and intent.timestamp_us < entry.expires_at_us:
            if entry.digest == intent.digest:
                return Outcome.DUPLICATE
            conflict = True
    if conflict:
        return Outcome.CONFLICT
    if not intent.digest and (
        any(version.op == intent.op for version in record.versions)
        or death_of_op(record.dead, intent.op)
    ):
        return Outcome.DUPLICATE
    return Outcome.NEW


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


def written_clock(
    versions: tuple[Version, ...], dot: Dot, clock: VectorClock, context: VectorClock
) -> VectorClock:
    """Return the clock to tell the writer of the version `dot`: what it may claim to have seen.

    `clock` is the record's, `context` the writer's. Where siblings stay that the writer has not
    seen, its next write must not cover them; a clock can't name a dot without all below it, so the
    writer's own is left out where a sibling lies below.
    """
    others = [version for version in versions if version.dot != dot]
    if not others:
        return clock
    if any(version.dot.actor == dot.actor for version in others):
        return context
    return with_dot(context, dot)


def clock_of(record: Record, op: bytes) -> VectorClock:
    """Return the clock that the writer of `op` was told, or the most that it may be told now."""
    for entry in record.applied:
        if entry.op == op:
            return entry.clock
    for version in record.versions:
        if version.op == op:
            return written_clock(record.versions, version.dot, record.context, {})
    return {}


def _includes(large: Record, small: Record) -> bool:
    """Tell, cheaply, whether joining would only give `large` again; may miss it.

    It is what nearly every merge finds: the record of a write that replaced what is here.
    """
    if not descends(large.context, small.context):
        return False
    if small.applied and small.applied != large.applied:
        return False
    if not memory_includes(large.dead, small.dead):
        return False
    kept = {version.dot: version for version in large.versions}
    for version in small.versions:
        if version.dot in kept:
            if kept.pop(version.dot).op != version.op:
                return False
        elif death_of_op(large.dead, version.op) <= version.timestamp_us:
            return False
    return not any(covers(small.context, dot) for dot in kept)


def _join_versions(ours: Record, theirs: Record) -> list[Version]:
    mine = {version.dot: version for version in ours.versions}
    joined = []
    for version in theirs.versions:
        same = mine.pop(version.dot, None)
        if same is not None:
            # They differ only where two writes that win by time have the same microsecond.
            joined.append(version if version.op > same.op else same)
        elif not covers(ours.context, version.dot):
            joined.append(version)
    joined += [version for version in mine.values() if not covers(theirs.context, version.dot)]
    return joined


def _settle(versions: list[Version], memory: Memory, clock: VectorClock) -> Record:
    """Return the record of these parts, without versions of dead operations."""
    while dead := [version for version in versions if memory.is_dead(version)]:
        memory = memory.bury(dead)
        versions = [version for version in versions if version not in dead]
    if len(versions) > 1:
        versions.sort(key=_by_dot)
    return Record(tuple(versions), clock, memory.applied, memory.dead)


def _by_dot(version: Version) -> tuple[str, int]:
    return version.dot.actor, version.dot.counter
