"""Forgetting: what may go from a record, and when.

A tombstone may go only when every replica has it, or what it deleted comes back from one that was
away. So `before_us` is the start of the last anti-entropy round that all replicas of the range took
part in, and never later than now minus the grace.
"""

from collections.abc import Collection

from muster_kv.clock import VectorClock
from muster_kv.memory import DEAD_BYTES, LWW
from muster_kv.record import Record, Version

# A context is pruned of actors that are gone only when it has more entries than this.
CLOCK_LIMIT = 32


def died_at(version: Version) -> int | None:
    """Return when the version stopped being shown (µs), None while it has no end.

    A value with an end dies then, also where that is in the future.
    """
    if version.value is None:
        return version.timestamp_us
    return version.expires_at_us or None


def is_dead(record: Record, before_us: int) -> bool:
    """Tell whether all of the record died before `before_us`, so that it may go whole.

    A replica that has purged up to `before_us` need not take such a record in again.
    """
    return (
        not any(_stays(version, before_us) for version in record.versions)
        and all(entry.expires_at_us < before_us for entry in record.applied)
        and not _remembered(record.dead, before_us)
    )


def purge(record: Record, before_us: int, actors: Collection[str]) -> Record | None:
    """Return the record without what died before `before_us`; None where nothing is left.

    `actors` are the incarnations of all members since before that time; a context with more than
    CLOCK_LIMIT entries loses others, whose writes every replica has seen by now. The caller raises
    its counter floor to its own entry of a context that goes.
    """
    if is_dead(record, before_us):
        return None
    versions = tuple(version for version in record.versions if _stays(version, before_us))
    return Record(
        versions,
        _prune(record.context, versions, actors),
        tuple(entry for entry in record.applied if entry.expires_at_us >= before_us),
        _remembered(record.dead, before_us),
    )


def _stays(version: Version, before_us: int) -> bool:
    end = died_at(version)
    return end is None or end >= before_us


def _remembered(dead: bytes, before_us: int) -> bytes:
    # Greatest timestamp first, so what is forgotten is a tail.
    at = 0
    while at < len(dead) and int.from_bytes(dead[at : at + 8], "big") >= before_us:
        at += DEAD_BYTES
    return dead[:at]


def _prune(
    clock: VectorClock, versions: tuple[Version, ...], actors: Collection[str]
) -> VectorClock:
    if len(clock) <= CLOCK_LIMIT:
        return clock
    needed = {LWW, *actors, *(version.dot.actor for version in versions)}
    return {actor: counter for actor, counter in clock.items() if actor in needed}
