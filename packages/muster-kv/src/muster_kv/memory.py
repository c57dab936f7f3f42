"""What a record remembers of operations, beyond the versions that are alive."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from muster_kv.clock import Dot
from muster_kv.ops import is_remembered
from muster_kv.record import Applied, Record, Version, value_digest

# How many replaced operations a record remembers; of those with an Applied entry, all.
DEAD_LIMIT = 32
DEAD_BYTES = 24
# The actor of tenants for whom the last write wins; its counter is the timestamp.
LWW = "lww"


class Memory(NamedTuple):
    """The fields of a record that remember: they only grow, until they are purged."""

    applied: tuple[Applied, ...]
    dead: bytes

    def join(self, other: "Memory") -> "Memory":
        """Return what either remembers."""
        return Memory(_join_applied(self.applied, other.applied), _join_dead(self.dead, other.dead))

    def remember(self, entry: Applied) -> "Memory":
        """Return the memory with one more take."""
        return Memory(_join_applied(self.applied, (entry,)), self.dead)

    def bury(self, replaced: Iterable[Version], died_us: int = 0) -> "Memory":
        """Return the memory of the replaced versions' operations as dead.

        `died_us` is the timestamp of what replaced them, 0 where it is not known. Where the last
        write wins nothing is remembered: there the later write covers the earlier.
        """
        dead = self.dead
        buried: list[tuple[Dot, int]] = []
        for version in replaced:
            if version.dot.actor == LWW:
                continue
            died = max(died_us, version.timestamp_us + 1)
            buried.append((version.dot, died))
            if not is_remembered(version.op):
                dead = _join_dead(dead, died.to_bytes(8, "big") + version.op)
        if not buried:
            return self
        return Memory(_superseded(self.applied, dict(buried)) if self.applied else (), dead)

    def is_dead(self, version: Version) -> bool:
        """Tell whether the version's operation was replaced, under this dot or another.

        A take of the operation that is stamped later than what replaced it stands: it replaced,
        perhaps, what replaced the other take, and of the two one must stay.
        """
        if version.dot.actor == LWW:
            return False
        return death_of_op(self.dead, version.op) > version.timestamp_us or any(
            entry.superseded_us > version.timestamp_us and _same_operation(entry, version)
            for entry in self.applied
        )


def memory_of(record: Record) -> Memory:
    """Return what a record remembers."""
    return Memory(record.applied, record.dead)


def death_of_op(dead: bytes, op: bytes) -> int:
    """Return when `Record.dead` has the operation replaced, 0 where it does not have it."""
    at = dead.find(op)
    while at >= 0:
        if at % DEAD_BYTES == 8:
            # The greatest comes first.
            return int.from_bytes(dead[at - 8 : at], "big")
        at = dead.find(op, at + 1)
    return 0


def memory_includes(large: bytes, small: bytes) -> bool:
    """Tell, cheaply, whether joining two `Record.dead` would only give `large`; may miss it.

    New entries come first, so the other is most often the same list from some place on.
    """
    if not small or large == small:
        return True
    at = large.find(small[:DEAD_BYTES])
    if at < 0 or at % DEAD_BYTES:
        return False
    shared = len(large) - at
    full = len(large) == DEAD_LIMIT * DEAD_BYTES
    return large[at:] == small[:shared] and (shared >= len(small) or full)


def _superseded(applied: tuple[Applied, ...], buried: dict[Dot, int]) -> tuple[Applied, ...]:
    return tuple(
        msgspec.structs.replace(entry, superseded_us=max(entry.superseded_us, buried[entry.dot]))
        if entry.dot in buried
        else entry
        for entry in applied
    )


def _same_operation(entry: Applied, version: Version) -> bool:
    return (
        entry.op == version.op
        and version.timestamp_us < entry.expires_at_us
        and (not entry.digest or entry.digest == value_digest(version.value))
    )


def _join_applied(ours: tuple[Applied, ...], theirs: tuple[Applied, ...]) -> tuple[Applied, ...]:
    if not theirs or ours == theirs:
        return ours
    if not ours:
        return theirs
    joined = {_by_take(entry): entry for entry in ours}
    for entry in theirs:
        other = joined.get(_by_take(entry))
        if other is None or entry.superseded_us > other.superseded_us:
            joined[_by_take(entry)] = entry
    return tuple(joined[key] for key in sorted(joined))


def _by_take(entry: Applied) -> tuple[bytes, bytes, str, int]:
    return entry.op, entry.digest, entry.dot.actor, entry.dot.counter


def _join_dead(ours: bytes, theirs: bytes) -> bytes:
    if not theirs or ours == theirs:
        return ours
    # One more, and the newest: what nearly every write brings.
    if len(theirs) == DEAD_BYTES and theirs > ours[:DEAD_BYTES] and theirs[8:] not in ours:
        return (theirs + ours)[: DEAD_LIMIT * DEAD_BYTES]
    if memory_includes(theirs, ours):
        return theirs
    latest: dict[bytes, bytes] = {}
    for dead in (ours, theirs):
        for at in range(0, len(dead), DEAD_BYTES):
            died, op = dead[at : at + 8], dead[at + 8 : at + DEAD_BYTES]
            latest[op] = max(died, latest.get(op, b""))
    entries = sorted((died + op for op, died in latest.items()), reverse=True)
    return b"".join(entries[:DEAD_LIMIT])
